"""The numbers of a report as CSV, unrounded: scores, tests and cost."""

import math

from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.sections import COSTS
from diffrect.comparison.report.statistics import MEAN
from diffrect.evaluation.metrics import METRICS
from diffrect.text_files import csv_text

_SCORES = "split,checkpoint,labelled,method,class,metric,unit,seeds,mean,sd,undefined,values"
_TESTS = (
    "split,labelled,method,against,metric,seeds,patients,mean_difference,low,high,better,p,p_holm"
)


def scores_csv(comparison: Comparison) -> str:
    """Return one line per number: all metrics, overlaps from 0 to 1."""
    checkpoint = comparison.protocol["checkpoint"]
    rows = []
    for row in comparison.rows:
        for name, scores in row.scores.items():
            for metric in METRICS.values():
                value = scores[metric.name]
                undefined = "" if name == MEAN else row.undefined[name][metric.name]
                rows.append(
                    (
                        *(comparison.split, checkpoint, row.condition.labelled),
                        *(row.condition.name, name, metric.name, metric.unit, len(row.seeds)),
                        *(_plain(value.mean), _plain(value.deviation), undefined, row.values),
                    )
                )
    return csv_text(_SCORES.split(","), rows)


def tests_csv(comparison: Comparison) -> str:
    """Return one line per test."""
    rows = [
        (
            *(comparison.split, test.condition.labelled, test.condition.name),
            *(test.against, test.metric, test.seeds, test.patients),
            *(*test.difference, test.better, test.p, test.p_holm),
        )
        for test in comparison.tests
    ]
    return csv_text(_TESTS.split(","), rows)


def cost_csv(comparison: Comparison) -> str:
    """Return one line per row of the table: means over its cells."""
    rows = [
        (
            *(row.condition.labelled_words, row.condition.name, len(row.seeds)),
            *(_plain(row.cost[name].mean) if name in row.cost else "" for name in COSTS),
        )
        for row in comparison.rows
    ]
    return csv_text(["labelled", "method", "seeds", *COSTS], rows)


def _plain(value: float) -> float | str:
    """Return a number without a needless ".0", or nothing for NaN."""
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() else value
