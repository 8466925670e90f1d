"""The tables of a report as text, before they become Markdown or LaTeX."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.statistics import MEAN, Condition, PairedTest, Spread, TableRow
from diffrect.evaluation.metrics import METRICS, Metric


class CostColumn(NamedTuple):
    """How a table shows a number of `TrainingCost`: heading, factor and number of decimals."""

    heading: str
    factor: float
    decimals: int


COSTS = {
    "minutes": CostColumn("minutes by the clock", 1.0, 1),
    "processor_minutes": CostColumn("processor minutes", 1.0, 1),
    "seconds_per_iteration": CostColumn("ms per iteration by the clock", 1000.0, 0),
    "peak_memory_mib": CostColumn("peak memory MiB", 1.0, 0),
    "parameters": CostColumn("parameters, predicting", 1.0, 0),
    "trained_parameters": CostColumn("parameters, training", 1.0, 0),
}


class TableEntry(NamedTuple):
    """The text at one place of a table, shown in bold if it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Section:
    """A table with a title; the first `names` columns are text, the others numbers."""

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[TableEntry]]
    names: int = 2

    def starts_block(self, index: int) -> bool:
        """Return whether the first entry of a row differs from that of the row above."""
        return index > 0 and self.rows[index][0].text != self.rows[index - 1][0].text


def sections(comparison: Comparison) -> list[Section]:
    """Return the tables of a report: mean of the classes, each class, cost, tests."""
    names = [MEAN, *comparison.results[0].classes]
    found = [_scores_section(comparison, name) for name in names]
    if any(row.cost for row in comparison.rows):
        found.append(_cost_section(comparison))
    if comparison.tests:
        found.append(_tests_section(comparison))
    return found


def _scores_section(comparison: Comparison, name: str) -> Section:
    metrics = comparison.metrics
    title = "Mean of the classes" if name == MEAN else f"Class {name}"
    tested = [m for m in metrics if any(t.metric == m.name for t in comparison.tests)]
    if name != MEAN:
        tested = []
    rows = []
    for row in comparison.rows:
        entries = [*_first_entries(row.condition), TableEntry(str(len(row.seeds)))]
        for metric in metrics:
            text = format_score(metric, row.scores[name][metric.name])
            entries.append(TableEntry(text, _is_best(comparison.rows, row, name, metric)))
        entries.append(TableEntry(_undefined(row, name, f"hd95_{comparison.unit}")))
        entries += [TableEntry(_p_value(comparison.tests, row.condition, m.name)) for m in tested]
        rows.append(entries)
    heading = ["labelled", "method", "seeds", *(metric.heading for metric in metrics)]
    heading += ["no distance", *(f"p {metric.title}" for metric in tested)]
    return Section(f"{title}, {comparison.split_words}", heading, rows)


def _cost_section(comparison: Comparison) -> Section:
    known = [name for name in COSTS if any(name in row.cost for row in comparison.rows)]
    rows = []
    for row in comparison.rows:
        entries = _first_entries(row.condition)
        for name in known:
            _, factor, decimals = COSTS[name]
            value = row.cost.get(name, Spread(math.nan, math.nan, 0))
            entries.append(TableEntry(_format(value, factor, decimals)))
        rows.append(entries)
    heading = ["labelled", "method", *(COSTS[name].heading for name in known)]
    return Section("Cost of training", heading, rows)


def _tests_section(comparison: Comparison) -> Section:
    rows = []
    for test in comparison.tests:
        metric = METRICS[test.metric]
        if metric not in comparison.metrics:
            continue
        mean, low, high = (metric.scale * value for value in test.difference)
        texts = [metric.heading, f"{test.seeds}", f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        texts += [f"{test.better} of {test.patients}", format_p(test.p), format_p(test.p_holm)]
        rows.append([*_first_entries(test.condition), *map(TableEntry, texts)])
    heading = ["labelled", "method", "metric", "seeds", "difference", "95 % interval", "better in"]
    title = f"Against {comparison.against}, patient by patient, {comparison.split_words}"
    return Section(title, [*heading, "p", "p Holm"], rows, names=3)


def _first_entries(condition: Condition) -> list[TableEntry]:
    return [TableEntry(condition.labelled_words), TableEntry(condition.name)]


def format_score(metric: Metric, value: Spread) -> str:
    """Return text such as "80.12 ± 0.34", without a spread for one seed; overlaps in per cent."""
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
    """Return p with three decimals, or that it is smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _p_value(tests: Sequence[PairedTest], condition: Condition, metric: str) -> str:
    found = [t.p_holm for t in tests if (t.condition, t.metric) == (condition, metric)]
    return format_p(found[0]) if found else "–"


def _undefined(row: TableRow, name: str, metric: str) -> str:
    """Return text such as "2 of 40": in how many of the values a distance is undefined."""
    classes = list(row.undefined) if name == MEAN else [name]
    count = sum(row.undefined[each][metric] for each in classes)
    return f"{count} of {row.values * len(classes)}"


def _is_best(rows: Sequence[TableRow], row: TableRow, name: str, metric: Metric) -> bool:
    """Return whether no row with as many labels shows a better number; False without a rival."""
    rivals = [r for r in rows if r.condition.labels == row.condition.labels]
    shown = [round(r.scores[name][metric.name].mean, 4) for r in rivals]
    shown = [value for value in shown if not math.isnan(value)]
    if len(shown) < 2:
        return False
    best = max(shown) if metric.higher_is_better else min(shown)
    return round(row.scores[name][metric.name].mean, 4) == best
