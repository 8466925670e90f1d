"""What a report says, before it becomes Markdown, LaTeX or CSV: tables of text cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from diffrect.comparison.report.results import Result
from diffrect.comparison.report.statistics import (
    MEAN,
    Group,
    Row,
    Spread,
    Test,
    paired_tests,
    summarise_rows,
)
from diffrect.evaluation.metrics import METRICS, Metric

SPLIT_NAMES = {"val": "validation", "test": "test"}
COSTS = {
    "minutes": ("minutes by the clock", 1.0, 1),
    "processor_minutes": ("processor minutes", 1.0, 1),
    "seconds_per_iteration": ("ms per iteration by the clock", 1000.0, 0),
    "peak_memory_mib": ("peak memory MiB", 1.0, 0),
    "parameters": ("parameters, predicting", 1.0, 0),
    "trained_parameters": ("parameters, training", 1.0, 0),
}


class Entry(NamedTuple):
    """A cell of a table; the best of its column stands out."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Section:
    """A titled table; the first `names` columns are text, the rest numbers."""

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    names: int = 2


@dataclass(frozen=True)
class Report:
    """Everything that tables and plots are made of.

    Attributes:
        results: the cells.
        rows: their means and spreads.
        tests: every variant against `against`.
        against: the variant that others are tested against; None if it has no rival.
        unit: of the distances shown, "mm" where it is known, else "voxel".
        missing: planned cells that are not there.
    """

    results: Sequence[Result]
    rows: Sequence[Row]
    tests: Sequence[Test]
    against: str | None
    unit: str
    missing: Sequence[str]

    @property
    def split(self) -> str:
        """The split's name, such as val."""
        return str(self.results[0].protocol["split"])

    @property
    def split_words(self) -> str:
        """Such as "validation split"; every title has it."""
        return f"{SPLIT_NAMES[self.split]} split"

    @property
    def metrics(self) -> list[Metric]:
        """The metrics shown: the overlaps, and the distances in `unit`."""
        return [m for m in METRICS.values() if m.percent or m.unit == self.unit]


def make_report(
    results: Sequence[Result], against: str | None = None, missing: Sequence[str] = ()
) -> Report:
    """Works out rows and tests.

    `against` defaults to diffrect where it is there, else to the first variant.
    """
    names = [result.name for result in results]
    against = against or ("diffrect" if "diffrect" in names else names[0])
    tests = paired_tests(results, against)
    rows = summarise_rows(results)
    known = any(not math.isnan(row.scores[MEAN]["hd95_mm"].mean) for row in rows)
    return Report(
        results, rows, tests, against if tests else None, "mm" if known else "voxel", missing
    )


def sections(report: Report) -> list[Section]:
    """The tables of a report: mean of the classes, each class, cost, tests."""
    names = [MEAN, *report.results[0].classes]
    found = [_scores_section(report, name) for name in names]
    if any(row.cost for row in report.rows):
        found.append(_cost_section(report))
    if report.tests:
        found.append(_tests_section(report))
    return found


def _scores_section(report: Report, name: str) -> Section:
    metrics = report.metrics
    title = "Mean of the classes" if name == MEAN else f"Class {name}"
    tested = [m for m in metrics if any(t.metric == m.name for t in report.tests)]
    if name != MEAN:
        tested = []
    rows = []
    for row in report.rows:
        entries = [Entry(labelled_words(row.group)), Entry(row.group.name)]
        entries.append(Entry(str(len(row.seeds))))
        entries += [
            Entry(format_score(m, row.scores[name][m.name]), _is_best(report.rows, row, name, m))
            for m in metrics
        ]
        entries.append(Entry(_undefined(row, name, f"hd95_{report.unit}")))
        entries += [Entry(_p_value(report.tests, row.group, metric.name)) for metric in tested]
        rows.append(entries)
    p = [f"p {metric.title}" for metric in tested]
    headings = [metric.heading for metric in metrics]
    heading = ["labelled", "method", "seeds", *headings, "no distance", *p]
    return Section(f"{title}, {report.split_words}", heading, rows)


def _cost_section(report: Report) -> Section:
    known = [name for name in COSTS if any(name in row.cost for row in report.rows)]
    rows = []
    for row in report.rows:
        entries = [Entry(labelled_words(row.group)), Entry(row.group.name)]
        for name in known:
            _, factor, decimals = COSTS[name]
            value = row.cost.get(name, Spread(math.nan, math.nan, 0))
            entries.append(Entry(_format(value, factor, decimals)))
        rows.append(entries)
    heading = ["labelled", "method", *(COSTS[name][0] for name in known)]
    return Section("Cost of training", heading, rows)


def _tests_section(report: Report) -> Section:
    rows = []
    for test in report.tests:
        metric = METRICS[test.metric]
        if metric not in report.metrics:
            continue
        entries = [labelled_words(test.group), test.group.name, metric.heading]
        entries += [f"{test.cases}", f"{metric.scale * test.difference:+.2f}"]
        entries += [f"{test.better} of {test.cases}", format_p(test.p), format_p(test.p_holm)]
        rows.append([Entry(entry) for entry in entries])
    heading = ["labelled", "method", "metric", "cases", "median difference", "better in"]
    title = f"Against {report.against}, case by case, {report.split_words}"
    return Section(title, [*heading, "p", "p Holm"], rows, names=3)


def labelled_words(group: Group) -> str:
    """Number of labelled patients as text, such as "3" or "70 (all)"."""
    return f"{group.labelled} (all)" if group.complete else str(group.labelled)


def format_score(metric: Metric, value: Spread) -> str:
    """ "80.12 ± 0.34", without a spread for one seed; overlaps in per cent."""
    return _format(value, metric.scale, 2)


def _format(value: Spread, factor: float, decimals: int) -> str:
    if math.isnan(value.mean):
        return "–"
    text = f"{factor * value.mean:,.{decimals}f}"
    spread = factor * value.deviation
    if math.isnan(spread) or (decimals == 0 and spread == 0):
        return text
    return f"{text} ± {spread:,.{decimals}f}"


def format_p(p: float) -> str:
    """Three decimals, or that it is smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _p_value(tests: Sequence[Test], group: Group, metric: str) -> str:
    found = [test.p_holm for test in tests if (test.group, test.metric) == (group, metric)]
    return format_p(found[0]) if found else "–"


def _undefined(row: Row, name: str, metric: str) -> str:
    """In how many values a distance is undefined, of how many."""
    classes = list(row.undefined) if name == MEAN else [name]
    count = sum(row.undefined[each][metric] for each in classes)
    return f"{count} of {row.values * len(classes)}"


def _is_best(rows: Sequence[Row], row: Row, name: str, metric: Metric) -> bool:
    """Whether no other row with as many labels shows a better number; False without a rival."""
    rivals = [r for r in rows if r.group[:2] == row.group[:2]]
    shown = [round(r.scores[name][metric.name].mean, 4) for r in rivals]
    shown = [value for value in shown if not math.isnan(value)]
    if len(shown) < 2:
        return False
    best = max(shown) if metric.higher_is_better else min(shown)
    return round(row.scores[name][metric.name].mean, 4) == best
