"""A stop that a training can wait for: the iteration ends and the state is saved first."""

import signal
from contextlib import ExitStack
from types import FrameType, TracebackType

from diffrect.distributed.signals import handled


class StopRequest:
    """While the context lasts, Ctrl-C and SIGTERM ask for a stop; a second Ctrl-C stops at once.

    Attributes:
        requested: whether a stop has been asked for.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signals = ExitStack()

    def __enter__(self) -> "StopRequest":
        self.signals.enter_context(handled(self.handle, signal.SIGINT, signal.SIGTERM))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.signals.close()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the request; this is the signal handler.

        Raises:
            KeyboardInterrupt: a second Ctrl-C.
        """
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
