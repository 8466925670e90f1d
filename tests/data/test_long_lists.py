"""Lists, tables and checkpoints longer than the memory are refused in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import SOURCES
from diffrect.errors import InputError
from diffrect.runs.checkpoint import load_checkpoint
from support.tiny import write_nifti, write_ssl4mis


def huge(file: Path) -> Path:
    """Make a file of 4 TiB without a byte on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.truncate(2**42)
    return file


def read_list(folder: Path) -> Any:
    write_ssl4mis(folder, ["patient028", "patient099"])
    huge(folder / "val.list")
    return SOURCES["ssl4mis"].list(folder)


def read_table(folder: Path) -> Any:
    write_nifti(folder / "images" / "a.nii", np.zeros((4, 4, 4), "u1"))
    options = SourceOptions(table=huge(folder / "table.csv"))
    return SOURCES["folder"].list(folder, options)


def read_checkpoint(folder: Path) -> Any:
    return load_checkpoint(huge(folder / "last.pt"))


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (read_list, r"val\.list: expected a readable list of cases, found more than 256 MiB"),
        (read_table, r"table\.csv: expected a readable table in UTF-8, found more than 256 MiB"),
        (read_checkpoint, r"last\.pt: expected a checkpoint, found more bytes than there is"),
    ],
)
def test_they_are_refused(read: Callable[[Path], Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=line):
        read(tmp_path / "data")
