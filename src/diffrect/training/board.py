"""TensorBoard's copy of the log."""

import threading
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from diffrect.atomic import naming


class Board:
    """Writes numbers for TensorBoard into a folder.

    The writer has a thread of its own. When the disk is full, that thread fails with a traceback on
    the screen, and the next call of `write` raises the same error: while a board is open, only the
    latter is seen.
    """

    def __init__(self, folder: Path, first: int) -> None:
        """Open a folder and drop what was written after iteration `first`."""
        self.folder = folder
        with naming(folder):
            self.writer = SummaryWriter(str(folder), purge_step=first + 1 if first else None)
        self.before = threading.excepthook
        threading.excepthook = self._leave_to_writer

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers as `kind/name`."""
        with naming(self.folder):
            for name, value in values.items():
                self.writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Write what is left in the buffer."""
        try:
            self.writer.close()
        finally:
            threading.excepthook = self.before

    def _leave_to_writer(self, arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            self.before(arguments)
