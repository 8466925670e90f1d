"""Whether the files of a store are what `prepare` wrote: checksums of everything, down to a bit.

`store.json` and each `case.json` carry a checksum of themselves, and `case.json` those of the
arrays beside it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from diffrect.atomic import write_atomic

CASES_FOLDER = "cases"
CASE_FILE = "case.json"
SEAL = "checksum"


def write_sealed(path: Path, content: dict[str, Any], *, sync: bool = True) -> None:
    """Write a JSON file that carries a checksum of itself."""
    sealed = {**content, SEAL: _digest(content)}
    write_atomic(path, json.dumps(sealed, indent=1), sync=sync)


def is_intact(content: dict[str, Any]) -> bool:
    """Whether what was read is what `write_sealed` wrote."""
    return content.get(SEAL) == _digest({k: v for k, v in content.items() if k != SEAL})


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(content: bytes) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def find_fault(store: Path, case_id: str, *, sealed: bool = True) -> str | None:
    """What is wrong with a case's files in one line, None if nothing is.

    Args:
        store: folder of the store.
        case_id: the case to look at.
        sealed: whether its case.json has to carry a checksum of itself, as from version 2 on.
    """
    folder = store / CASES_FOLDER / case_id
    checksums = _checksums(folder, sealed)
    if checksums is None:
        return f"{folder / CASE_FILE}: expected the description of a case, it is damaged or absent"
    return next(
        filter(None, (_fault_of(folder / name, checksums[name]) for name in checksums)), None
    )


def find_array_fault(store: Path, case_id: str, name: str, *, sealed: bool = True) -> str | None:
    """The same of one of its arrays, and of case.json, which vouches for it."""
    folder = store / CASES_FOLDER / case_id
    checksums = _checksums(folder, sealed)
    if checksums is None or name not in checksums:
        return f"{folder / CASE_FILE}: expected the description of a case, it is damaged or absent"
    return _fault_of(folder / name, checksums[name])


def _checksums(folder: Path, sealed: bool) -> dict[str, str] | None:
    try:
        description = json.loads((folder / CASE_FILE).read_text(encoding="utf-8"))
        if sealed and not is_intact(description):
            return None
        return dict(description["checksums"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _fault_of(file: Path, expected: str) -> str | None:
    if not file.is_file():
        return f"{file}: expected an array of the store, found no such file"
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        return f"{file}: expected the contents written by prepare, they have changed"
    return None


def seal_case(store: Path, case_id: str) -> None:
    """Gives the case.json of an intact case, from before version 2, a checksum of itself."""
    file = store / CASES_FOLDER / case_id / CASE_FILE
    description = json.loads(file.read_text(encoding="utf-8"))
    if not is_intact(description):
        write_sealed(file, {k: v for k, v in description.items() if k != SEAL})


def plain_name(name: Any) -> bool:
    """Whether a case's id can be the name of a folder of its own, and of no other one."""
    if not isinstance(name, str) or not name or name.startswith("."):
        return False  # a leading dot marks what is not finished
    return name.isprintable() and not set(name) & set('/\\:*?"')
