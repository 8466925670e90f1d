"""Signals: who hears which, and what ends when its parent does.

Ctrl-C in a terminal sends SIGINT to every process of a job; `scancel` and `kill` send SIGTERM, to
one of them or to all.

    process                  Ctrl-C (SIGINT)      SIGTERM              its parent ends
    -----------------------  -------------------  -------------------  --------------------------
    command, while it loads  exits, code 130      exits, code 130      not noticed
    any command              KeyboardInterrupt    KeyboardInterrupt    not noticed
    training, first process  asks for a stop,     asks for a stop      not noticed
                             twice: interrupts
    training, the others     as the first         as the first         exits (`end_with_parent`)
    reader of slices         blocked (`held`)     blocked (`held`)     exits (`end_with_parent`)
    worker of prepare        ignored              interrupts its case  exits (`end_with_parent`)
    decoder                  ignored              ignored              ended by the kernel
    cell of a comparison     as a training        as a training        stops (`stop_with_parent`)

The handlers are set in `cli.main`, `training.stop`, `data.loader`, `data.workers`,
`comparison.cell_process` and `imaging.decoders.worker`. A prepare that is interrupted sends its
workers SIGTERM, and whoever waits for a decoder ends it. A comparison that is interrupted sends its
cell SIGTERM, and a command that finds its lock lost sends it to itself (`distributed.locks`).

A training, and with it a cell, needs its readers until it has saved, so these must not hear the
signals that go to all.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from diffrect.processes import parent_pid, speaker

Handler = Callable[[int, FrameType | None], None]
STOPS = (signal.SIGINT, signal.SIGTERM)
WATCH_SECONDS = 0.5


@contextmanager
def handled(handler: Handler, *numbers: int) -> Iterator[None]:
    """Have a function called for some signals while the context lasts.

    Python runs handlers in the main thread; in any other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end a command that has done nothing yet: a line, and exit code 130.

    An exception would be lost, or seen as a traceback, where it hits the import of a package. A
    signal that the command was started to ignore, as by nohup, is ignored.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        rank = speaker()
        who = "diffrect" if rank == "0" else f"diffrect (process {rank})"
        os.write(2, f"{who}: interrupted\n".encode())
        os._exit(130)

    with handled(leave, *(one for one in STOPS if signal.getsignal(one) is not signal.SIG_IGN)):
        yield


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end a command as Ctrl-C does: it tidies up, reports, and keeps what is done.

    A second SIGTERM is ignored, so that tidying up is not interrupted. Training has a way of its
    own, see `diffrect.training.stop`.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with handled(interrupt, signal.SIGTERM):
        yield


@contextmanager
def held() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM in the processes that are started while the context lasts."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # starting it would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore Ctrl-C and SIGTERM from now on; the parent, which hears them too, decides."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def stop_self() -> None:
    """Ask this process to stop, as `kill` would."""
    os.kill(os.getpid(), signal.SIGTERM)


def is_child() -> bool:
    """Return whether multiprocessing started this process; it is not imported for that."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def end_with_parent() -> None:
    """Exit at once when the parent of this process ends, even if it is killed."""
    _when_parent_ends(lambda: os._exit(1))


def stop_with_parent() -> None:
    """Ask this process to stop when its parent ends, so that it saves first."""
    _when_parent_ends(stop_self)


def _when_parent_ends(action: Callable[[], None]) -> None:
    """Watch the parent in a thread and call `action` once it has gone."""
    import multiprocessing  # slow to import, and a command that only prints its help needs none

    parent, known = parent_pid(), multiprocessing.parent_process()

    def watch() -> None:
        if known is not None:
            known.join()
        else:  # started without multiprocessing
            while os.getppid() == parent:
                time.sleep(WATCH_SECONDS)
        action()

    threading.Thread(target=watch, daemon=True).start()
