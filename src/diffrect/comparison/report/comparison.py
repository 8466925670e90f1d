"""The content of a report: the results, their means and spreads, and the tests between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffrect.comparison.report.results import CellResult
from diffrect.comparison.report.statistics import (
    MEAN,
    PairedTest,
    TableRow,
    paired_tests,
    summarise_rows,
)
from diffrect.console import count, summary
from diffrect.evaluation.metrics import METRICS, Metric

SPLIT_NAMES = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Comparison:
    """Everything that the tables and plots of a report are made of.

    Attributes:
        results: the finished cells.
        rows: their means and spreads over seeds.
        tests: every variant against `against`.
        against: the variant that the others are tested against; None if it has no rival.
        unit: unit of the distances shown, "mm" if it is known, else "voxel".
        missing: folders of planned cells that are not there.
    """

    results: Sequence[CellResult]
    rows: Sequence[TableRow]
    tests: Sequence[PairedTest]
    against: str | None
    unit: str
    missing: Sequence[str]

    def __repr__(self) -> str:
        """Return the split and what is compared in one line."""
        names = ", ".join(dict.fromkeys(result.name for result in self.results))
        cells = count(len(self.results), "cell")
        return summary(self, f"{self.split_words}, {cells} of {names}, against {self.against}")

    @property
    def protocol(self) -> dict[str, Any]:
        """The settings that all cells share, by name."""
        return dict(self.results[0].protocol)

    @property
    def split(self) -> str:
        """The split's name, such as val."""
        return str(self.protocol["split"])

    @property
    def split_words(self) -> str:
        """The split as every title names it, such as "validation split"."""
        return f"{SPLIT_NAMES[self.split]} split"

    @property
    def metrics(self) -> list[Metric]:
        """The metrics shown: the overlaps, and the distances in `unit`."""
        return [m for m in METRICS.values() if m.percent or m.unit == self.unit]


def make_comparison(
    results: Sequence[CellResult], against: str | None = None, missing: Sequence[str] = ()
) -> Comparison:
    """Work out rows and tests.

    Args:
        results: finished cells of one protocol.
        against: the variant that the others are tested against; None takes diffrect if it is there,
            else the first.
        missing: folders of planned cells that are not there.
    """
    names = [result.name for result in results]
    against = against or ("diffrect" if "diffrect" in names else names[0])
    tests = paired_tests(results, against)
    rows = summarise_rows(results)
    known = any(not math.isnan(row.scores[MEAN]["hd95_mm"].mean) for row in rows)
    unit = "mm" if known else "voxel"
    return Comparison(results, rows, tests, against if tests else None, unit, missing)
