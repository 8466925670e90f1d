"""Plots of a report, told apart without colour: markers, line styles and direct labels."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from diffrect.comparison.report.boxes import by_class
from diffrect.comparison.report.figures import (
    POINTS,
    WIDTH,
    new_figure,
    save,
    set_title,
    style_axes,
)
from diffrect.comparison.report.sections import Report, labelled_words
from diffrect.comparison.report.statistics import MEAN, Row, Spread
from diffrect.evaluation.metrics import METRICS

# Okabe & Ito's colours, dark ones first: they differ in grey too, and thin lines stay visible.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "d", "p")
LINES: tuple[tuple[float, tuple[float, ...]] | str, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
)
_DICE = METRICS["dice"]
PLOTS = ("dice_by_labelled", "dice_by_class", "dice_by_minutes")


# names of classes and methods are no formulas, whatever they hold
@rc_context({"text.parse_math": False})
def draw_plots(report: Report, folder: Path) -> list[str]:
    """Writes the plots as PNG and PDF into a folder; returns the names of the PNG files.

    The plot against minutes is left out where no cell tells its minutes.
    """
    drawn: tuple[Callable[[Report], Figure | None], ...] = (by_labelled, by_class, by_minutes)
    written = []
    for name, draw in zip(PLOTS, drawn, strict=True):
        figure = draw(report)
        if figure is None:
            for suffix in ("png", "pdf"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            continue
        for suffix in ("png", "pdf"):
            save(figure, folder / f"{name}.{suffix}")
        written.append(f"{name}.png")
    return written


def _names(report: Report) -> list[str]:
    return list(dict.fromkeys(row.group.name for row in report.rows))


def _marks(report: Report, name: str) -> dict[str, Any]:
    """Marker, line style and colour of a variant; no two of the first 65 share all of them."""
    index = _names(report).index(name)
    return {
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
        "color": COLOURS[index % len(COLOURS)],
        "markerfacecolor": "white" if index % 2 else COLOURS[index % len(COLOURS)],
        "markersize": 6,
        "linewidth": 1.3,
    }


def by_labelled(report: Report) -> Figure:
    """Mean Dice against the number of labelled patients; bars: standard deviation over seeds.

    Of one number of labelled patients, a line per variant instead of a curve.
    """
    partial = [row for row in report.rows if not row.group.complete]
    counts = sorted({row.group.labelled for row in partial})
    if len(counts) < 2:
        return _dots(report)
    names = [name for name in _names(report) if any(row.group.name == name for row in partial)]
    figure = new_figure(WIDTH, max(3.6, 0.2 * len(names) + 0.8))
    axes = figure.subplots()
    for index, name in enumerate(names):
        rows = [row for row in partial if row.group.name == name]
        shift = (index - (len(names) - 1) / 2) * min(0.05, 0.5 / len(names))
        places = [counts.index(row.group.labelled) + shift for row in rows]
        dice = [_per_cent(row) for row in rows]
        bars = _bars([value.deviation for value in dice])
        means = [value.mean for value in dice]
        axes.errorbar(places, means, bars, capsize=3, label=name, **_marks(report, name))
    for row in report.rows:
        if row.group.complete:
            level = _per_cent(row).mean
            axes.axhline(level, color="black", linewidth=1, linestyle=(0, (8, 3)))
            words = f"{row.group.name}, all {row.group.labelled} labelled"
            place = (-0.38, level)
            axes.annotate(words, place, (0, 3), textcoords="offset points", fontsize=POINTS)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlim(-0.4, len(counts) - 0.6)
    style_axes(axes, "", "labelled patients", _DICE.label)
    set_title(figure, f"Mean Dice, {report.split_words}{_spread_words(report)}")
    last = {row.group.name: _per_cent(row).mean for row in partial}  # of most labels
    _legend(figure, axes, sorted(last, key=lambda name: -last[name]))
    return figure


def _dots(report: Report) -> Figure:
    """Mean Dice of every row of the table, the variants' names along the axis."""
    figure = new_figure(WIDTH, 0.9 + 0.24 * len(report.rows))
    axes = figure.subplots()
    for index, row in enumerate(report.rows):
        style = {**_marks(report, row.group.name), "linestyle": "none"}
        dice = _per_cent(row)
        axes.errorbar([dice.mean], [index], xerr=_bars([dice.deviation]), capsize=3, **style)
    several = len({row.group[:2] for row in report.rows}) > 1
    words = [
        f"{row.group.name}, {labelled_words(row.group)} labelled" if several else row.group.name
        for row in report.rows
    ]
    axes.set_yticks(range(len(words)), words)
    axes.set_ylim(len(words) - 0.4, -0.6)  # the first on top
    style_axes(axes, "", _DICE.label, "")
    labelled = "" if several else f", {labelled_words(report.rows[0].group)} labelled"
    set_title(figure, f"Mean Dice, {report.split_words}{labelled}{_spread_words(report)}")
    return figure


def _per_cent(row: Row) -> Spread:
    """Mean Dice of a row in per cent; a spread that is not known is NaN, which draws no bar."""
    mean, deviation, number = row.scores[MEAN][_DICE.name]
    return Spread(_DICE.scale * mean, _DICE.scale * deviation, number)


def _bars(deviations: Sequence[float]) -> Sequence[float] | None:
    """Lengths of error bars; None where none is known, so that the legend shows none either."""
    return None if all(map(math.isnan, deviations)) else deviations


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """Right of the plots, in the order of the names."""
    handles, labels = axes.get_legend_handles_labels()
    ordered = [handles[labels.index(name)] for name in names]
    figure.legend(
        ordered,
        names,
        loc="outside right upper",
        fontsize=POINTS,
        frameon=False,
        handlelength=3.4,
    )


def _spread_words(report: Report) -> str:
    several = any(len(row.seeds) > 1 for row in report.rows)
    return "; bars: standard deviation over seeds" if several else "; one seed"


def by_minutes(report: Report) -> Figure | None:
    """Mean Dice against minutes of training; a panel per number of labelled patients."""
    known = [row for row in report.rows if "minutes" in row.cost]
    rows = [row for row in known if not row.group.complete] or known
    if not rows:
        return None
    kinds = list(dict.fromkeys(row.group[:2] for row in rows))
    names = [name for name in _names(report) if any(row.group.name == name for row in rows)]
    columns = len(kinds) if len(kinds) <= 3 else 2
    lines = math.ceil(len(kinds) / columns)
    figure = new_figure(WIDTH, max(2.3 * lines + 0.9, 0.2 * len(names) + 0.8))
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for index, axes in enumerate(panels):
        axes.set_visible(index < len(kinds))
        members = [row for row in rows if row.group[:2] == kinds[min(index, len(kinds) - 1)]]
        for row in members:
            _point(axes, report, row)
        words = f"{labelled_words(members[0].group)} labelled"
        below = "minutes by the clock" if index + columns >= len(kinds) else ""
        style_axes(axes, words, below, "" if index % columns else _DICE.label)
        axes.tick_params(labelbottom=True)
        axes.set_xscale("log")
        axes.set_xlim(*_minutes(rows))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(y=0.1)
    set_title(figure, f"Mean Dice and time, {report.split_words}{_spread_words(report)}")
    for name in names:  # every variant once, whatever panel shows it
        style = {**_marks(report, name), "linestyle": "none"}
        panels[0].errorbar([], [], label=name, **style)
    _legend(figure, panels[0], names)
    return figure


def _minutes(rows: Sequence[Row]) -> tuple[float, float]:
    """Limits of a logarithmic axis of minutes."""
    spans = [row.cost["minutes"] for row in rows]
    bars = [0.0 if math.isnan(span.deviation) else span.deviation for span in spans]
    ends = [(span.mean, bar) for span, bar in zip(spans, bars, strict=True)]
    low = min(max(mean - bar, mean / 2) for mean, bar in ends)
    return low / 1.25, 1.25 * max(mean + bar for mean, bar in ends)


def _point(axes: Axes, report: Report, row: Row) -> None:
    dice, minutes = _per_cent(row), row.cost["minutes"]
    style = {**_marks(report, row.group.name), "linestyle": "none", "elinewidth": 0.9}
    bars = _bars([dice.deviation]), _bars([minutes.deviation])
    axes.errorbar([minutes.mean], [dice.mean], *bars, capsize=2, **style)
