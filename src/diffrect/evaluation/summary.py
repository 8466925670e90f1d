"""Means of the scores of several cases, with undefined values left out and counted."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from diffrect.evaluation.metrics import Scores


class Summary(NamedTuple):
    """Means of the scores of several cases, without undefined values; a mean of nothing is NaN.

    Attributes:
        classes: per class the mean over the cases.
        mean: the mean of those over the classes.
        undefined: per class and metric the number of cases in which it is undefined.
    """

    classes: dict[str, Scores]
    mean: Scores
    undefined: dict[str, dict[str, int]]


def summarise(cases: Iterable[Mapping[str, Scores]]) -> Summary:
    """Return the means over cases, and over classes, of what `case_metrics` says of each case."""
    cases = list(cases)
    classes: dict[str, Scores] = {}
    undefined: dict[str, dict[str, int]] = {}
    for name in cases[0] if cases else ():
        columns = _columns([case[name] for case in cases])
        classes[name] = {metric: _mean_of_defined(values) for metric, values in columns.items()}
        undefined[name] = {metric: int(np.isnan(v).sum()) for metric, v in columns.items()}
    means = _columns(list(classes.values()))
    mean = {metric: _mean_of_defined(values) for metric, values in means.items()}
    return Summary(classes, mean, undefined)


def _columns(rows: Sequence[Scores]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the values of each metric in all rows."""
    return {metric: np.array([row[metric] for row in rows]) for metric in (rows[0] if rows else ())}


def _mean_of_defined(values: npt.NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
