"""The log of a training, metrics.jsonl: the only code that reads it or writes it.

The file holds one JSON object per line. The first line holds the version of the format; every other
line belongs to an iteration. When a training resumes, the lines after the iteration that it resumes
from are dropped and written again, so the file has no gap and no duplicate however a session ended.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrect.atomic import naming, write_atomic
from diffrect.errors import InputError
from diffrect.json_files import parse_json
from diffrect.text_files import read_text

FORMAT_VERSION = 1


class Log:
    """metrics.jsonl, opened for appending."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the file and drop the lines after iteration `step`.

        Raises:
            InputError: a later version of diffrect wrote it.
        """
        kept = _lines_until(path, step) if step and path.exists() else []
        header = {"kind": "format", "step": 0, "version": FORMAT_VERSION}
        content = [json.dumps(header), *kept]
        write_atomic(path, "".join(f"{line}\n" for line in content))
        self.path = path
        with naming(path):
            self.file = path.open("a", encoding="utf-8")

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line, which other processes see at once."""
        with naming(self.path):
            self.file.write(json.dumps(entry) + "\n")
            self.file.flush()

    def sync(self) -> None:
        """Make the lines survive a power cut, as a checkpoint saved afterwards does."""
        with naming(self.path):
            os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines, without one that a crash has cut; none if there is no such file."""
    try:
        text = read_text(path, "the log of a training", errors="replace")
    except InputError:
        return []
    return [entry for entry in map(_parse, text.splitlines()) if entry]


def last_value(path: Path, name: str) -> float | None:
    """Return the number called `name` in the last line that has it, None if none has."""
    lines = reversed(read_log(path))
    numbers = (line[name] for line in lines if isinstance(line.get(name), int | float))
    return next((float(number) for number in numbers if number), None)


def last_steps(path: Path) -> dict[str, int]:
    """Return the last iteration of each kind of line."""
    return {entry["kind"]: entry["step"] for entry in read_log(path)}


def has_ended(path: Path, step: int) -> bool:
    """Return whether the line that closes a training of `step` iterations is there.

    Raises:
        InputError: a later version of diffrect wrote the file.
    """
    if not path.exists():
        return False
    entries = map(_parse, _lines_until(path, step))
    return any(entry["kind"] == "end" and entry["step"] == step for entry in entries)


def _lines_until(path: Path, step: int) -> list[str]:
    """Return the lines of iterations up to `step`, without the header."""
    kept = []
    for line in read_text(path, "the log of a training", errors="replace").splitlines():
        entry = _parse(line)
        if entry.get("kind") == "format":
            _check_version(path, entry.get("version"))
        elif entry.get("step", step + 1) <= step:
            kept.append(line)
    return kept


def _check_version(path: Path, version: Any) -> None:
    """Refuse the log of a later diffrect; files from before versions were written are fine."""
    if version != FORMAT_VERSION:
        raise InputError(
            path,
            f"metrics format {FORMAT_VERSION}",
            got=version,
            hint="resume with the version of diffrect that wrote it, or a later one",
        )


def _parse(line: str) -> dict[str, Any]:
    """Return what a line says, an empty dict if it is not a whole line."""
    try:
        entry = parse_json(line, finite=False)
    except ValueError:
        return {}
    whole = isinstance(entry, dict) and "kind" in entry and isinstance(entry.get("step"), int)
    return entry if whole else {}
