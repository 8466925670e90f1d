"""Plots of a report, told apart without colour: markers, line styles and direct labels.

Figures are made without matplotlib's global state, so a caller's own figures and settings stay as
they are.
"""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

from diffrect.compare.sections import Report
from diffrect.compare.statistics import MEAN, Group, Row, group_results, spread

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
WIDTH = 6.6  # inches, the text width of a page
POINTS = 8.5
GREY = "#d9d9d9"
Box = tuple[float, float, float, float]
PLOTS = ("dice_by_labelled", "dice_by_class", "dice_by_minutes")


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
            _save(figure, folder / f"{name}.{suffix}")
        written.append(f"{name}.png")
    return written


def _save(figure: Figure, path: Path) -> None:
    """In one step, and the same bytes for the same numbers."""
    content = io.BytesIO()
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    figure.savefig(content, format=path.suffix[1:], dpi=200, metadata=metadata)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content.getvalue())
    partial.replace(path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=POINTS + 0.5, loc="left")
    axes.set_xlabel(x, fontsize=POINTS)
    axes.set_ylabel(y, fontsize=POINTS)
    axes.tick_params(labelsize=POINTS)
    axes.grid(color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _names(report: Report) -> list[str]:
    return list(dict.fromkeys(row.group.name for row in report.rows))


def _marks(report: Report, name: str) -> dict[str, object]:
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
    """Mean Dice against the number of labelled patients; bars: standard deviation over seeds."""
    partial = [row for row in report.rows if not row.group.complete]
    counts = sorted({row.group.labelled for row in partial})
    names = [name for name in _names(report) if any(row.group.name == name for row in partial)]
    figure = _figure(WIDTH, 3.6)
    axes = figure.subplots()
    for index, name in enumerate(names):
        rows = [row for row in partial if row.group.name == name]
        shift = (index - (len(names) - 1) / 2) * min(0.05, 0.5 / len(names))
        places = [counts.index(row.group.labelled) + shift for row in rows]
        dice = [row.scores[MEAN]["dice"] for row in rows]
        spreads = [0 if math.isnan(d.deviation) else 100 * d.deviation for d in dice]
        means = [100 * d.mean for d in dice]
        style = _marks(report, name)
        axes.errorbar(places, means, spreads, capsize=3, label=name, **style)  # type: ignore[arg-type]
    for row in report.rows:
        if row.group.complete:
            label = f"{row.group.name}, all {row.group.labelled} labelled"
            level = 100 * row.scores[MEAN]["dice"].mean
            axes.axhline(level, color="black", linewidth=1, linestyle=(0, (8, 3)), label=label)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlim(-0.4, max(len(counts), 1) - 0.6)
    title = f"Mean Dice, {report.split_words}{_spread_words(report)}"
    _style(axes, title, "labelled patients", "Dice (%)")
    figure.legend(loc="outside right upper", fontsize=POINTS, frameon=False, handlelength=3.4)
    return figure


def _spread_words(report: Report) -> str:
    several = any(len(row.seeds) > 1 for row in report.rows)
    return "; bars: standard deviation over seeds" if several else "; one seed"


def by_class(report: Report) -> Figure:
    """Dice of the cases, a box per variant; a row of panels per number of labelled patients."""
    groups = group_results(report.results)
    kinds = list(dict.fromkeys((group.labelled, group.complete) for group in groups))
    classes = report.results[0].classes
    members = {kind: [g for g in groups if (g.labelled, g.complete) == kind] for kind in kinds}
    heights = [0.9 + 0.24 * len(members[kind]) for kind in kinds]
    figure = _figure(WIDTH, sum(heights) + 0.2)
    panels = figure.subplots(
        len(kinds), len(classes), squeeze=False, sharex=True, height_ratios=heights
    )
    for line, kind in enumerate(kinds):
        for column, name in enumerate(classes):
            _boxes(panels[line, column], report, members[kind], name, first=column == 0)
            words = f"all {kind[0]}" if kind[1] else str(kind[0])
            below = line == len(kinds) - 1
            _style(panels[line, column], f"{name}, {words} labelled", "", "")
            if below:
                panels[line, column].set_xlabel("Dice (%)", fontsize=POINTS)
    figure.suptitle(
        f"Dice of the cases, {report.split_words}: median, quartiles, whiskers to 1.5 x their "
        "distance; cross: mean",
        fontsize=POINTS + 0.5,
    )
    return figure


def _boxes(axes: Axes, report: Report, groups: Sequence[Group], name: str, first: bool) -> None:
    found = group_results(report.results)
    values = []
    for group in groups:
        cases: dict[str, list[float]] = {}
        for result in found[group]:
            for case, scores in result.cases.items():
                cases.setdefault(case, []).append(100 * scores[name]["dice"])
        means = [spread(seeds).mean for seeds in cases.values()]
        values.append([mean for mean in means if not math.isnan(mean)])
    boxes = axes.boxplot(
        values,
        orientation="horizontal",
        widths=0.6,
        patch_artist=True,
        showmeans=True,
        medianprops={"color": "black", "linewidth": 1.6},
        meanprops={"marker": "x", "markeredgecolor": "black", "markersize": 4},
        flierprops={"marker": "o", "markersize": 2.5, "markeredgecolor": "#555555"},
        whiskerprops={"linewidth": 0.8},
        boxprops={"linewidth": 0.8, "facecolor": "white"},
    )
    for group, box in zip(groups, boxes["boxes"], strict=True):
        if group.name == report.against:
            box.set(facecolor=GREY, hatch="////", edgecolor="black")
    axes.set_yticks(range(1, len(groups) + 1), [g.name for g in groups] if first else [])
    axes.set_ylim(len(groups) + 0.6, 0.4)  # the first on top


def by_minutes(report: Report) -> Figure | None:
    """Mean Dice against minutes of training, a point per row of the table."""
    rows = [row for row in report.rows if "minutes" in row.cost]
    if not rows:
        return None
    figure = _figure(WIDTH, 3.6)
    axes = figure.subplots()
    several = len({row.group[:2] for row in rows}) > 1
    for row in rows:
        dice, minutes = row.scores[MEAN]["dice"], row.cost["minutes"]
        style = {**_marks(report, row.group.name), "linestyle": "none", "elinewidth": 0.9}
        axes.errorbar(
            minutes.mean,
            100 * dice.mean,
            yerr=_bar(100 * dice.deviation),
            xerr=_bar(minutes.deviation),
            capsize=2,
            **style,  # type: ignore[arg-type]
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.4)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    title = f"Mean Dice and time, {report.split_words}{_spread_words(report)}"
    _style(axes, title, "minutes of training", "Dice (%)")
    _label_points(axes, rows, several)
    return figure


def _bar(deviation: float) -> float | None:
    return None if math.isnan(deviation) else deviation


def _label_points(axes: Axes, rows: Sequence[Row], several: bool) -> None:
    """Names beside the points, moved up or down where they would lie on each other."""
    axes.margins(0.12, 0.12)
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    taken: list[Box] = []
    for row in rows:
        place = (row.cost["minutes"].mean, 100 * row.scores[MEAN]["dice"].mean)
        text = row.group.name + (f" ({row.group.labelled})" if several else "")
        for offset in (0, 9, -9, 18, -18, 27, -27):
            note = axes.annotate(
                text, place, (7, offset), textcoords="offset points", va="center", fontsize=POINTS
            )
            box = note.get_window_extent().expanded(1.0, 1.05).extents  # left, bottom, right, top
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                break
            note.remove()


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share a point."""
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]
