"""Read and write JSON files: one object per file, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from diffrect.atomic import write_atomic
from diffrect.checks import regular_file
from diffrect.errors import InputError


def read_json(path: Path, expected: str = "readable JSON") -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        expected: what it should hold, for the message.

    Raises:
        InputError: the file cannot be read, or holds something else than an object.
    """
    regular_file(path, expected)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, expected, reason=error) from None
    if not isinstance(content, dict):
        raise InputError(path, "an object", got=type(content).__name__)
    return content


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file in one step: readers see the old file or the new one."""
    write_atomic(path, json.dumps(content, indent=1))
