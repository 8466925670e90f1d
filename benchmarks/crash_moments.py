"""Moments at which `crash_matrix.py` makes a process kill itself."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffrect import atomic
from diffrect.comparison import cell
from diffrect.comparison.report import report
from diffrect.data.preparation import write_case
from diffrect.runs import log
from diffrect.training import loop, validation
from diffrect.training.checkpoints import saving


def die() -> None:
    """End this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """Make this process kill itself at a call of a function.

    Args:
        owner: module or class that holds the function.
        name: name of the function.
        call: number of the call, from 1.
        after: kill after the call instead of before it.
    """
    original, calls = getattr(owner, name), iter(range(1, call + 1))

    def fatal(*arguments: Any, **named: Any) -> Any:
        last = next(calls, None) == call
        if last and not after:
            die()
        result = original(*arguments, **named)
        if last:
            die()
        return result

    setattr(owner, name, fatal)


def die_in_a_line(call: int) -> None:
    """Make this process kill itself when half a line of metrics.jsonl is on the disk."""
    original, calls = log.Log.append, iter(range(1, call + 1))

    def fatal(self: log.Log, line: Any) -> None:
        if next(calls, None) == call:
            text = json.dumps(dict(line))
            self.file.write(text[: len(text) // 2])
            self.file.flush()
            die()
        original(self, line)

    log.Log.append = fatal  # type: ignore[method-assign]


MOMENTS: dict[str, Callable[[int], None]] = {
    "in the middle of a file": lambda n: die_at(os, "fsync", n),
    "before a file gets its name": lambda n: die_at(Path, "replace", n),
    "after a file got its name": lambda n: die_at(Path, "replace", n, after=True),
    "in a line of metrics.jsonl": die_in_a_line,
    "before a validation": lambda n: die_at(loop, "validate", n),
    "after a validation": lambda n: die_at(loop, "validate", n, after=True),
    "in a validation": lambda n: die_at(validation, "case_dice", n),
    "before a checkpoint": lambda n: die_at(saving, "save_checkpoint", n),
    "between two checkpoints": lambda n: die_at(saving, "save_checkpoint", n, after=True),
}
MOMENTS_OF_PREPARE: dict[str, Callable[[int], None]] = {
    "in the middle of a case": lambda n: die_at(write_case, "write_sealed", n),
    "before a file gets its name": lambda n: die_at(Path, "replace", n),
    "after a file got its name": lambda n: die_at(Path, "replace", n, after=True),
}
MOMENTS_OF_COMPARE = {
    **MOMENTS,
    "before a cell is scored": lambda n: die_at(cell, "evaluate", 1 + n % 2),
    "before a cell is finished": lambda n: die_at(cell, "training_cost", 1 + n % 2),
    "in the report": lambda n: die_at(report, "write_atomic", n % 5 + 1),
}
MOMENTS_OF_PREDICT: dict[str, Callable[[int], None]] = {
    "in the middle of a file": lambda n: die_at(os, "fsync", n),
    "before a file gets its name": lambda n: die_at(atomic.Path, "replace", n),
}
