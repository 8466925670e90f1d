"""The cases of an evaluation as a page shows them: a table that sorts, and those to look at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffrect.evaluation.metrics import METRICS, Metric, Scores
from diffrect.evaluation.result import CaseScores, Evaluation


class Cell(NamedTuple):
    """The text at one place of a table, and how it is shown.

    Attributes:
        text: what is shown.
        value: the number that sorts it.
        best: whether it is the best of its column.
        long: whether it is a sentence, which needs room.
    """

    text: str
    value: float | None = None
    best: bool = False
    long: bool = False


@dataclass(frozen=True)
class Table:
    """A table that a page shows; the first `names` columns are text, the others numbers."""

    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    names: int = 1


def mean_score(classes: Mapping[str, Scores], metric: str) -> float:
    """Return the mean of a metric over the classes in which it is defined; NaN if there is none."""
    known = [scores[metric] for scores in classes.values() if not math.isnan(scores[metric])]
    return float(np.mean(known)) if known else math.nan


def shown_metrics(result: Evaluation) -> list[Metric]:
    """Return the overlaps and the distances, in mm if any case has them, else in voxels."""
    known = any(
        not math.isnan(scores["hd95_mm"])
        for case in result.cases
        for scores in case.classes.values()
    )
    unit = "mm" if known else "voxel"
    return [metric for metric in METRICS.values() if metric.percent or metric.unit == unit]


def case_table(result: Evaluation) -> Table:
    """Return a row per case: the means over its classes, then Dice of each class."""
    metrics, dice = shown_metrics(result), METRICS["dice"]
    heading = ["case", "patient", *(f"mean {metric.heading}" for metric in metrics)]
    heading += [f"{dice.title} {name}" for name in result.classes]
    rows = []
    for case in result.cases:
        row = [Cell(case.id), Cell(case.patient)]
        row += [_cell(metric, mean_score(case.classes, metric.name)) for metric in metrics]
        row += [_cell(dice, case.classes[name]["dice"]) for name in result.classes]
        rows.append(row)
    return Table(heading, rows, names=2)


def class_table(result: Evaluation) -> Table:
    """Return a row per class and one of their means, with how many values are undefined."""
    metrics = shown_metrics(result)
    heading = ["class", *(metric.heading for metric in metrics), "undefined"]
    rows = []
    for name, scores in [*result.classes.items(), ("mean of the classes", result.mean)]:
        counts = result.undefined.get(name, {})
        missing = max((counts[metric.name] for metric in metrics), default=0) if counts else None
        total = f"{missing} of {len(result.cases)}" if missing else "0"
        last = Cell("", None) if missing is None else Cell(total, float(missing))
        rows.append([Cell(name), *(_cell(m, scores[m.name]) for m in metrics), last])
    return Table(heading, rows)


def _cell(metric: Metric, value: float) -> Cell:
    return Cell(metric.text(value), None if math.isnan(value) else value)


def telling_cases(cases: Sequence[CaseScores]) -> list[tuple[str, CaseScores]]:
    """Return the worst, the median and the best case by mean Dice, as far as there are so many.

    Cases without a defined Dice are none of them.
    """
    known = [(mean_score(case.classes, "dice"), case.id, case) for case in cases]
    ordered = [case for dice, _, case in sorted(known, key=lambda k: k[:2]) if not math.isnan(dice)]
    if not ordered:
        return []
    named = {"worst": ordered[0], "median": ordered[len(ordered) // 2], "best": ordered[-1]}
    names: dict[str, list[str]] = {}
    for name, case in named.items():
        names.setdefault(case.id, []).append(name)
    by_id = {case.id: case for case in ordered}
    return [(" and ".join(words), by_id[case]) for case, words in names.items()]
