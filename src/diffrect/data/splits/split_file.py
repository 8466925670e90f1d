"""Read a split file: the parts as JSON, or one fold of nnU-Net's splits_final.json."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.json_files import parse_json
from diffrect.text_files import read_text

_FOLD = re.compile(r"(?P<file>.+):(?P<fold>\d{1,9})$")


def read_split(file: Path, patients: Mapping[str, str]) -> Split:
    """Return the split of a file.

    Args:
        file: JSON as `Split.to_json` writes it; or a list of folds, each with the cases under train
            and val, as nnU-Net writes it, and then FILE:N for fold N.
        patients: case -> patient, for files that list cases.

    Raises:
        InputError: the file is unreadable, is no split, or has no such fold.
    """
    match = None if file.exists() else _FOLD.match(str(file))
    fold = int(match["fold"]) if match else None
    path = Path(match["file"]) if match else file
    try:
        text = read_text(path, "a readable split file")
        folds = _folds(text)
        if folds is None and fold is None:
            return Split.from_json(text)
        chosen = _choose(path, folds or [], fold)
        split = Split.from_json(json.dumps(chosen))
    except InputError as error:
        raise error.about(file) from None
    parts = split.to_dict()
    return Split.from_dict(
        {name: dict.fromkeys(patients.get(one, one) for one in ids) for name, ids in parts.items()}
    )


def _folds(text: str) -> list[Any] | None:
    """Return the folds in a file, None if it holds something else."""
    try:
        content = parse_json(text)
    except ValueError:
        return None
    folds = isinstance(content, list) and all(isinstance(one, dict) for one in content)
    return content if folds and content else None


def _choose(path: Path, folds: list[Any], fold: int | None) -> Any:
    """Return one fold.

    Args:
        path: the file.
        folds: its folds.
        fold: the number of one; None takes the only one.

    Raises:
        InputError: there is no such fold, or a choice between several.
    """
    if not folds:
        raise InputError(path, "a list of folds", found="none")
    if fold is None and len(folds) > 1:
        hint = f"give the first as {path}:0"
        raise InputError(path, f"a fold from 0 to {len(folds) - 1}", got="none", hint=hint)
    if fold is not None and fold >= len(folds):
        raise InputError(path, f"a fold from 0 to {len(folds) - 1}", got=fold)
    return folds[fold or 0]
