"""matrix.json, which lists the planned cells, so that a report can name those that are missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffrect.comparison.matrix import Cell
from diffrect.comparison.names import MATRIX_FILE, MATRIX_FORMAT
from diffrect.data.fields import Fields
from diffrect.json_files import read_json, write_json


def planned_cells(folder: Path) -> list[str]:
    """Return the names of the cells that comparisons in this folder have planned, in their order.

    Raises:
        InputError: the file cannot be read.
    """
    return list(_read_cells(folder))


def remember_cells(cells: Sequence[Cell], folder: Path) -> None:
    """Add cells to FOLDER/matrix.json, and make the folder if it is not there.

    Raises:
        InputError: the file is there and cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        cell.folder: {
            "name": cell.name,
            "labelled": cell.config.labelled,
            "seed": cell.config.seed,
        }
        for cell in cells
    }
    content = {"format": MATRIX_FORMAT, "cells": {**_read_cells(folder), **facts}}
    write_json(folder / MATRIX_FILE, content)


def _read_cells(folder: Path) -> dict[str, Any]:
    file = folder / MATRIX_FILE
    if not file.is_file():
        return {}
    content = Fields(read_json(file), file)
    content.whole("format", 1, MATRIX_FORMAT, default=1)
    return dict(content.fields("cells", {}).values)
