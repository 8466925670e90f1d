"""Read and write JSON files: one object per file, written whole or not at all."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from diffrect.atomic import write_atomic
from diffrect.errors import InputError
from diffrect.text_files import DEEPEST, LONGEST_TEXT, is_too_deep, read_text

_MOST_DIGITS = 20  # of a whole number; 64 bits have as many


def read_json(
    path: Path,
    expected: str = "readable JSON",
    *,
    longest: int = LONGEST_TEXT,
    finite: bool = True,
) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        expected: what it should hold, for the message.
        longest: bytes that it may have.
        finite: refuse NaN and Infinity, which JSON does not have.

    Raises:
        InputError: the file cannot be read, or holds something else than an object.
    """
    text = read_text(path, expected, longest=longest)
    try:
        content = parse_json(text, finite=finite)
    except ValueError as error:
        raise InputError(path, expected, reason=error) from None
    if not isinstance(content, dict):
        raise InputError(path, "an object", got=type(content).__name__)
    return content


def parse_json(text: str, *, finite: bool = True) -> Any:
    """Return the value that JSON spells.

    Args:
        text: the JSON.
        finite: refuse NaN and Infinity, which JSON does not have.

    Raises:
        ValueError: in one line, why the text cannot be read: it is no JSON, an object has a name
            twice, or a value is deeper or a number longer than anything that is meant.
    """
    constant = _refuse_constant if finite else float
    deep = f"more than {DEEPEST} levels of lists and objects"
    try:
        content = json.loads(
            text, object_pairs_hook=_each_once, parse_int=_integer, parse_constant=constant
        )
    except RecursionError:
        raise ValueError(deep) from None
    if is_too_deep(content):
        raise ValueError(deep)
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a name twice, of which JSON would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{name!r} is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file in one step: readers see the old file or the new one."""
    write_atomic(path, json.dumps(content, indent=1))
