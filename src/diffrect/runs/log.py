"""metrics.jsonl: one JSON object a line, without a gap or a duplicate however a training ended.

The first line holds the version of the format. A line belongs to an iteration; those after the
iteration that a training goes on from are dropped when it does, and written again.
"""

import json
from pathlib import Path
from typing import IO, Any

from diffrect.atomic import naming, write_atomic
from diffrect.errors import InputError

FORMAT_VERSION = 1


def reopen_metrics(path: Path, step: int) -> IO[str]:
    """metrics.jsonl opened for appending, without the lines after iteration `step`.

    Raises:
        InputError: a later version of diffrect wrote it.
    """
    kept = lines_until(path, step) if step and path.exists() else []
    header = {"kind": "format", "step": 0, "version": FORMAT_VERSION}
    content = [json.dumps(header), *kept]
    write_atomic(path, "".join(f"{line}\n" for line in content))
    with naming(path):
        return path.open("a", encoding="utf-8")


def lines_until(path: Path, step: int) -> list[str]:
    """The lines of iterations up to `step`, the header left out."""
    kept = []
    for line in path.read_text("utf-8", "replace").splitlines():
        entry = _parse(line)
        if entry.get("kind") == "format":
            check_version(path, entry.get("version"))
        elif entry.get("step", step + 1) <= step:
            kept.append(line)
    return kept


def has_ended(path: Path, step: int) -> bool:
    """Whether the line that closes a training of `step` iterations is there."""
    if not path.exists():
        return False
    entries = (_parse(line) for line in lines_until(path, step))
    return any(entry["kind"] == "end" and entry["step"] == step for entry in entries)


def check_version(path: Path, version: Any) -> None:
    """Refuses the metrics of a later diffrect; files from before versions were written are fine."""
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: expected metrics format {FORMAT_VERSION}, got {version}; go on with "
            "the version of diffrect that wrote it, or a later one"
        )


def _parse(line: str) -> dict[str, Any]:
    """What a line says; nothing if a crash has cut it."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    whole = isinstance(entry, dict) and "kind" in entry and isinstance(entry.get("step"), int)
    return entry if whole else {}
