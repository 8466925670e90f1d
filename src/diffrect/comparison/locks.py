"""A lock per cell, so that no two processes train one, on one machine or on several.

See `diffrect.distributed.locks` for what a lock is.
"""

import time
from pathlib import Path

from diffrect.comparison.names import LOCKS_FOLDER
from diffrect.distributed.locks import Lock, read_lock
from diffrect.distributed.owners import describe_owner, is_stale


class CellLock(Lock):
    """Hold the lock of a cell while the context lasts."""

    removes_folders = False  # the other locks are in it

    def __init__(self, folder: Path, cell: str) -> None:
        super().__init__(_lock_path(folder, cell), folder / cell)


def lock_owner(folder: Path, cell: str) -> str | None:
    """Return which process works on a cell at present, or None."""
    found = read_lock(_lock_path(folder, cell))
    if found is None or is_stale(found.text, time.time() - found.touched):
        return None
    return f"taken by {describe_owner(found.text)}"


def _lock_path(folder: Path, cell: str) -> Path:
    return folder / LOCKS_FOLDER / f"{cell}.json"
