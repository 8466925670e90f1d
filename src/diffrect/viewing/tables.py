"""What tables beside labels say of cases: how uncertain the prediction was."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from diffrect.errors import InputError
from diffrect.inference.outputs import PSEUDO_LABELS_FILE, STATISTICS_FILE
from diffrect.text_files import read_text

# By table: the column that names the case, and that of the weight of a row; None: one row each.
_COLUMNS: Mapping[str, tuple[str, str | None]] = {
    STATISTICS_FILE: ("scan", "voxels"),
    PSEUDO_LABELS_FILE: ("case", None),
}


def mean_entropies(folders: Sequence[Path]) -> dict[str, float]:
    """Return the mean entropy of each case, 0 to 1, as tables of `predict` have it.

    Args:
        folders: what may hold such tables; files are passed over.

    Raises:
        InputError: a table cannot be read.
    """
    means: dict[str, float] = {}
    for folder in folders:
        for name in _COLUMNS:
            file = folder / name
            if folder.is_dir() and file.is_file() and not file.is_symlink():
                means |= _means(file)
    return means


def _means(file: Path) -> dict[str, float]:
    sums: dict[str, tuple[float, float]] = {}
    for case, entropy, weight in _rows(file):
        total, number = sums.get(case, (0.0, 0.0))
        sums[case] = total + entropy * weight, number + weight
    return {case: total / number for case, (total, number) in sums.items() if number}


def _rows(file: Path) -> Iterable[tuple[str, float, float]]:
    """Return case, entropy and weight of each row that has them.

    Raises:
        InputError: it is no such table.
    """
    expected = "a table that predict writes"
    named, weighed = _COLUMNS[file.name]
    try:
        table = csv.DictReader(io.StringIO(read_text(file, expected)), strict=True)
        if not {named, "entropy", weighed or named} <= set(table.fieldnames or ()):
            raise InputError(file, expected, found="other columns")
        rows = [
            (row[named] or "", float(row["entropy"]), float(row[weighed] or 0) if weighed else 1.0)
            for row in table
            if row["entropy"]
        ]
    except InputError:
        raise
    except (csv.Error, ValueError, TypeError) as error:
        raise InputError(file, expected, reason=error) from None
    if not all(math.isfinite(entropy * weight) and weight >= 0 for _, entropy, weight in rows):
        raise InputError(file, expected, found="numbers that are not finite")
    return rows
