"""Calls shared out over processes that end with the one that started them."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from diffrect.distributed.signals import end_with_parent, leave_to_parent
from diffrect.errors import InputError

Result = TypeVar("Result")


class WorkerDiedError(InputError):
    """A process was killed, which says nothing about the input."""


def in_parallel(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[Result]:
    """The results of some calls of a function of a module, as they come.

    Raises:
        WorkerDiedError: a process was killed; the results before were had.
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
            f"--workers {workers}: expected processes that last, one was killed, perhaps for lack "
            "of memory; try fewer"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave signals to the parent and end with it: a killed prepare leaves no workers behind."""
    leave_to_parent()
    end_with_parent()
