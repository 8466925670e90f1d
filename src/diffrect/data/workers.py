"""Share calls out over processes that end with the one that started them."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from diffrect.console import speak_plainly
from diffrect.distributed.signals import end_with_parent, leave_to_parent
from diffrect.errors import InputError

Result = TypeVar("Result")


class WorkerDiedError(InputError):
    """Report that a process was killed, which says nothing about the input."""


def in_parallel(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[Result]:
    """Yield the results of several calls of a function, in the order in which they are done.

    Args:
        function: a function of a module, so that processes find it.
        calls: the arguments of each call.
        workers: number of processes.

    Raises:
        WorkerDiedError: a process was killed; earlier results have been yielded.
    """
    executor = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        jobs = [executor.submit(function, *arguments) for arguments in calls]
        for job in as_completed(jobs):
            yield job.result()
    except BrokenProcessPool:
        raise WorkerDiedError(
            f"--workers {workers}",
            "processes that last, one was killed, perhaps for lack of memory",
            hint="try fewer",
            setting="workers",
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave signals to the parent and end with it: a killed prepare leaves no workers behind."""
    speak_plainly()
    leave_to_parent()
    end_with_parent()
