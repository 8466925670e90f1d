"""How `crash_matrix.py` compares the end of a killed command with that of one left alone."""

import json
from pathlib import Path
from typing import Any

import torch

from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.names import LOG_FILE

# Entries of the log that depend on the clock.
COSTS = ("seconds_per_iteration", "minutes", "processor_minutes", "peak_memory_mib")
TABLES = ("scores.csv", "tests.csv")


def same(one: Any, other: Any) -> bool:
    """Return whether two states are equal bit for bit; NaN equals itself."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other or (one != one and other != other)


def lines(run: Path) -> list[dict[str, Any]]:
    """Return the log of a run without what depends on the clock."""
    parsed = [json.loads(line) for line in (run / LOG_FILE).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in COSTS} for line in parsed]


def run_differences(run: Path, whole: Path) -> list[str]:
    """Return how the checkpoints and the log of a run differ from those of another."""
    found = []
    try:
        for name in ("last", "best", "previous"):
            paths = [checkpoint_path(r, name) for r in (run, whole)]
            if name == "previous" and not any(path.exists() for path in paths):
                continue  # the run is too large to keep it
            mine, theirs = map(load_checkpoint, paths)
            if not same(mine, theirs):
                found.append(f"{name}.pt differs")
        if lines(run) != lines(whole):
            found.append("metrics.jsonl differs")
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
    return found + unfinished(run)


def comparison_differences(folder: Path, whole: Path) -> list[str]:
    """Return how the weights and scores of cells, and their tables, differ."""
    found = []
    for run in sorted(whole.glob("*-seed*")):
        found += run_differences(folder / run.name, run)
    for name in TABLES:
        mine, theirs = (f / "report_val" / name for f in (folder, whole))
        if not mine.is_file() or mine.read_bytes() != theirs.read_bytes():
            found.append(f"{name} differs")
    return found


def file_differences(folder: Path, whole: Path) -> list[str]:
    """Return which files of two folders differ."""
    mine, theirs = (
        {str(p.relative_to(f)): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (folder, whole)
    )
    names = mine.keys() | theirs.keys()
    return [f"{n} differs" for n in sorted(names) if mine.get(n) != theirs.get(n)]


def unfinished(folder: Path) -> list[str]:
    """Return the unfinished files that are left in a folder."""
    return [f"{path.name} is left" for path in folder.rglob(".*")]
