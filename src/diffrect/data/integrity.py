"""Check that the files of a store are what `prepare` wrote, by checksums that cover every bit.

`store.json` and each `case.json` carry a checksum of themselves, and `case.json` carries those of
the arrays beside it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from diffrect.atomic import write_atomic
from diffrect.data.record import CASE_FILE, CASES_FOLDER
from diffrect.errors import InputError
from diffrect.json_files import read_json

SEAL = "checksum"


def write_sealed(path: Path, content: dict[str, Any], *, sync: bool = True) -> None:
    """Write a JSON file that carries a checksum of itself.

    Args:
        path: the file.
        content: what it holds besides the checksum.
        sync: wait until it is on the disk, see `write_atomic`.
    """
    sealed = {**content, SEAL: digest(content)}
    write_atomic(path, json.dumps(sealed, indent=1), sync=sync)


def is_intact(content: dict[str, Any]) -> bool:
    """Return whether the content of a JSON file is what `write_sealed` wrote."""
    return content.get(SEAL) == digest({k: v for k, v in content.items() if k != SEAL})


def digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of plain values, whatever the order of their names."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def find_fault(
    store: Path, case_id: str, array: str | None = None, *, sealed: bool = True
) -> InputError | None:
    """Return what is wrong with a case's files, None if nothing is.

    Args:
        store: folder of the store.
        case_id: the case to look at.
        array: file name of the one array to look at, beside `case.json`, which vouches for it;
            None looks at all.
        sealed: whether `case.json` must carry a checksum of itself, as it does from version 2 on.

    Returns:
        An error to raise or to print. It names the first file that is missing or has changed.
    """
    folder = store / CASES_FOLDER / case_id
    checksums = _checksums(folder / CASE_FILE, sealed)
    if checksums is None or not (array is None or array in checksums):
        expected = "the description of a case, it is damaged or absent"
        return InputError(folder / CASE_FILE, expected)
    names = checksums if array is None else (array,)
    faults = (_fault_of(folder / name, checksums[name]) for name in names)
    return next(filter(None, faults), None)


def _checksums(file: Path, sealed: bool) -> dict[str, str] | None:
    try:
        description = read_json(file)
        if sealed and not is_intact(description):
            return None
        return dict(description["checksums"])
    except (ValueError, KeyError, TypeError):
        return None


def _fault_of(file: Path, expected: str) -> InputError | None:
    if not file.is_file():
        return InputError(file, "an array of the store", found="no such file")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        return InputError(file, "the contents written by prepare, they have changed")
    return None


def seal_case(store: Path, case_id: str) -> None:
    """Add to the `case.json` of an intact case of a version 1 store the checksum of itself."""
    file = store / CASES_FOLDER / case_id / CASE_FILE
    description = read_json(file)
    if not is_intact(description):
        write_sealed(file, {k: v for k, v in description.items() if k != SEAL})
