"""Plots of a report that need no colour: markers, line styles and labels distinguish variants."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from diffrect.comparison.report.axes import PAGE_WIDTH, set_title, style_axes
from diffrect.comparison.report.boxes import by_class
from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.statistics import MEAN, Spread, TableRow
from diffrect.evaluation.colours import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
)
from diffrect.evaluation.figures import TEXT_POINTS, literal_names, new_figure, save_figure
from diffrect.evaluation.metrics import METRICS

# Dark colours come first: they differ in grey too, and thin lines stay visible.
COLOURS = (BLACK, BLUE, VERMILION, GREEN, PURPLE, SKY_BLUE, ORANGE)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "d", "p")
LINES: tuple[tuple[float, tuple[float, ...]] | str, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
)
_DICE = METRICS["dice"]
SUFFIXES = ("png", "pdf", "svg")
PLOTS = ("dice_by_labelled", "dice_by_class", "dice_by_minutes")


@literal_names()
def draw_plots(comparison: Comparison, folder: Path) -> list[str]:
    """Write the plots as PNG, PDF and SVG into a folder; return the names of the PNG files.

    The plot against minutes is left out if the minutes of no cell are known.
    """
    drawn: tuple[Callable[[Comparison], Figure | None], ...] = (by_labelled, by_class, by_minutes)
    written = []
    for name, draw in zip(PLOTS, drawn, strict=True):
        figure = draw(comparison)
        if figure is None:
            for suffix in SUFFIXES:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            continue
        for suffix in SUFFIXES:
            save_figure(figure, folder / f"{name}.{suffix}")
        written.append(f"{name}.png")
    return written


def _names(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(row.condition.name for row in comparison.rows))


def _marks(comparison: Comparison, name: str) -> dict[str, Any]:
    """Return marker, line style and colour of a variant; no two of the first 65 share them all."""
    index = _names(comparison).index(name)
    return {
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
        "color": COLOURS[index % len(COLOURS)],
        "markerfacecolor": "white" if index % 2 else COLOURS[index % len(COLOURS)],
        "markersize": 6,
        "linewidth": 1.3,
    }


def by_labelled(comparison: Comparison) -> Figure:
    """Draw mean Dice against the number of labelled patients, with bars for the spread over seeds.

    If there is only one number of labelled patients, each variant gets a line of its own instead of
    a curve.
    """
    # With all patients labelled there is a level, not a point of a curve.
    partial = [row for row in comparison.rows if not row.condition.complete]
    counts = sorted({row.condition.labelled for row in partial})
    if len(counts) < 2:
        return _dots(comparison)
    names = [
        name for name in _names(comparison) if any(row.condition.name == name for row in partial)
    ]
    figure = new_figure(PAGE_WIDTH, max(3.6, 0.2 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(names):
        rows = [row for row in partial if row.condition.name == name]
        shift = (index - (len(names) - 1) / 2) * min(0.05, 0.5 / len(names))
        places = [counts.index(row.condition.labelled) + shift for row in rows]
        dice = [_mean_dice(row) for row in rows]
        bars = _bars([value.deviation for value in dice])
        means = [value.mean for value in dice]
        axes.errorbar(places, means, bars, capsize=3, label=name, **_marks(comparison, name))
    for row in comparison.rows:
        if row.condition.complete:
            level = _mean_dice(row).mean
            axes.axhline(level, color="black", linewidth=1, linestyle=(0, (8, 3)))
            words = f"{row.condition.name}, all {row.condition.labelled} labelled"
            place = (-0.38, level)
            axes.annotate(words, place, (0, 3), textcoords="offset points", fontsize=TEXT_POINTS)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlim(-0.4, len(counts) - 0.6)
    style_axes(axes, "", "labelled patients", _DICE.label)
    set_title(figure, f"Mean Dice, {comparison.split_words}{_spread_words(comparison)}")
    last = {row.condition.name: _mean_dice(row).mean for row in partial}  # of most labels
    _legend(figure, axes, sorted(last, key=lambda name: -last[name]))
    return figure


def _dots(comparison: Comparison) -> Figure:
    """Draw mean Dice of every row of the table, with the names of the variants along the axis."""
    figure = new_figure(PAGE_WIDTH, 0.9 + 0.24 * len(comparison.rows), layout="constrained")
    axes = figure.subplots()
    for index, row in enumerate(comparison.rows):
        style = {**_marks(comparison, row.condition.name), "linestyle": "none"}
        dice = _mean_dice(row)
        axes.errorbar([dice.mean], [index], xerr=_bars([dice.deviation]), capsize=3, **style)
    several = len({row.condition.labels for row in comparison.rows}) > 1
    words = [
        f"{row.condition.name}, {row.condition.labelled_words} labelled"
        if several
        else row.condition.name
        for row in comparison.rows
    ]
    axes.set_yticks(range(len(words)), words)
    axes.set_ylim(len(words) - 0.4, -0.6)  # the first on top
    style_axes(axes, "", _DICE.label, "")
    labelled = "" if several else f", {comparison.rows[0].condition.labelled_words} labelled"
    set_title(figure, f"Mean Dice, {comparison.split_words}{labelled}{_spread_words(comparison)}")
    return figure


def _mean_dice(row: TableRow) -> Spread:
    """Return mean Dice of a row in per cent; a spread that is not known is NaN and draws no bar."""
    mean, deviation, number = row.scores[MEAN][_DICE.name]
    return Spread(_DICE.scale * mean, _DICE.scale * deviation, number)


def _bars(deviations: Sequence[float]) -> Sequence[float] | None:
    """Return lengths of error bars; None if none is known, so that the legend shows none either."""
    return None if all(map(math.isnan, deviations)) else deviations


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """Draw the legend right of the plots, in the order of the names."""
    handles, labels = axes.get_legend_handles_labels()
    ordered = [handles[labels.index(name)] for name in names]
    figure.legend(
        ordered,
        names,
        loc="outside right upper",
        fontsize=TEXT_POINTS,
        frameon=False,
        handlelength=3.4,
    )


def _spread_words(comparison: Comparison) -> str:
    several = any(len(row.seeds) > 1 for row in comparison.rows)
    return "; bars: standard deviation over seeds" if several else "; one seed"


def by_minutes(comparison: Comparison) -> Figure | None:
    """Draw mean Dice against minutes of training, with a panel per number of labelled patients.

    Returns None if the minutes of no cell are known.
    """
    known = [row for row in comparison.rows if "minutes" in row.cost]
    rows = [row for row in known if not row.condition.complete] or known
    if not rows:
        return None
    kinds = list(dict.fromkeys(row.condition.labels for row in rows))
    names = [name for name in _names(comparison) if any(row.condition.name == name for row in rows)]
    columns = len(kinds) if len(kinds) <= 3 else 2
    lines = math.ceil(len(kinds) / columns)
    figure = new_figure(
        PAGE_WIDTH, max(2.3 * lines + 0.9, 0.2 * len(names) + 0.8), layout="constrained"
    )
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for index, axes in enumerate(panels):
        axes.set_visible(index < len(kinds))
        members = [row for row in rows if row.condition.labels == kinds[min(index, len(kinds) - 1)]]
        for row in members:
            _point(axes, comparison, row)
        words = f"{members[0].condition.labelled_words} labelled"
        below = "minutes by the clock" if index + columns >= len(kinds) else ""
        style_axes(axes, words, below, "" if index % columns else _DICE.label)
        axes.tick_params(labelbottom=True)
        axes.set_xscale("log")
        axes.set_xlim(*_minutes(rows))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(y=0.1)
    set_title(figure, f"Mean Dice and time, {comparison.split_words}{_spread_words(comparison)}")
    for name in names:  # every variant once, whichever panel shows it
        style = {**_marks(comparison, name), "linestyle": "none"}
        panels[0].errorbar([], [], label=name, **style)
    _legend(figure, panels[0], names)
    return figure


def _minutes(rows: Sequence[TableRow]) -> tuple[float, float]:
    """Return the limits of a logarithmic axis of minutes."""
    spans = [row.cost["minutes"] for row in rows]
    bars = [0.0 if math.isnan(span.deviation) else span.deviation for span in spans]
    ends = [(span.mean, bar) for span, bar in zip(spans, bars, strict=True)]
    low = min(max(mean - bar, mean / 2) for mean, bar in ends)
    return low / 1.25, 1.25 * max(mean + bar for mean, bar in ends)


def _point(axes: Axes, comparison: Comparison, row: TableRow) -> None:
    dice, minutes = _mean_dice(row), row.cost["minutes"]
    style = {**_marks(comparison, row.condition.name), "linestyle": "none", "elinewidth": 0.9}
    bars = _bars([dice.deviation]), _bars([minutes.deviation])
    axes.errorbar([minutes.mean], [dice.mean], *bars, capsize=2, **style)
