"""Which of several processes this is, as torchrun, srun or Lightning Fabric say in its environment.

This is the only module that reads these variables, and it imports nothing heavy.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_PARENT = "DIFFRECT_PARENT"


def local_rank() -> int:
    """Return the number of this process on its machine, 0 if it is on its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def rank_and_world() -> tuple[int, int]:
    """Return this process's number and how many torchrun or srun started; (0, 1) on its own."""
    names = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))
    for rank, world in names:
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def speaker() -> str:
    """Return the number by which messages name this process; "0" needs no naming."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def as_parent() -> Iterator[None]:
    """Have the processes that are started while the context lasts know that this is their parent.

    One whose parent has died already would take the one that has adopted it for its parent.
    """
    before = os.environ.get(_PARENT)
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARENT]
        else:
            os.environ[_PARENT] = before


def parent_pid() -> int:
    """Return the id of the process that started this one, which may be dead."""
    named = os.environ.get(_PARENT)
    return int(named) if named and os.name == "posix" else os.getppid()
