"""Share calls out over processes that end with the one that started them."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

from diffrect.console import speak_plainly
from diffrect.distributed.signals import end_with_parent, leave_to_parent
from diffrect.errors import InputError

Result = TypeVar("Result")
PATIENCE_SECONDS = 2.0
"""How long a call that was interrupted may take to tidy up."""


class WorkerDiedError(InputError):
    """Report that a process was killed, which says nothing about the input."""


def in_parallel(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of several calls of a function, in the order in which they are done.

    Args:
        function: a function of a module, so that processes find it.
        calls: the arguments of each call.
        workers: number of processes.

    Raises:
        WorkerDiedError: a process was killed; earlier results have been yielded.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; calls under way are interrupted too.
    """
    others = multiprocessing.active_children()
    executor = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        jobs = [executor.submit(_interruptible, function, *arguments) for arguments in calls]
        for job in as_completed(jobs):
            yield job.result()
    except BrokenProcessPool:
        raise WorkerDiedError(
            f"--workers {workers}",
            "processes that last, one was killed, perhaps for lack of memory",
            hint="try fewer",
            setting="workers",
        ) from None
    except BaseException:  # bad input too: nobody waits for the other calls
        executor.shutdown(wait=False, cancel_futures=True)
        _interrupt(set(multiprocessing.active_children()) - set(others))
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _interrupt(processes: Collection[BaseProcess]) -> None:
    """Interrupt the calls under way, and end processes that do not notice, as in long C code."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + PATIENCE_SECONDS
    for process in processes:
        process.join(max(end - time.monotonic(), 0))
        process.kill()  # which nothing is told that has ended already


class _Calls:
    """Of a process: whether a call is under way, and whether the parent has asked for an end."""

    under_way = False
    unwanted = False


def _interruptible(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function, in which SIGTERM is a KeyboardInterrupt; after one, nothing is begun."""
    if _Calls.unwanted:
        raise KeyboardInterrupt
    _Calls.under_way = True
    try:
        return function(*arguments)
    finally:
        _Calls.under_way = False


def _hear_sigterm(number: int, frame: FrameType | None) -> None:
    again, _Calls.unwanted = _Calls.unwanted, True
    if _Calls.under_way and not again:
        raise KeyboardInterrupt


def _start_worker() -> None:
    """Leave Ctrl-C to the parent and end with it: a killed prepare leaves no workers behind."""
    speak_plainly()
    leave_to_parent()
    signal.signal(signal.SIGTERM, _hear_sigterm)
    end_with_parent()
