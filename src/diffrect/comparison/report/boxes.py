"""The box plot of a report: Dice of the cases for each class."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrect.comparison.report.figures import POINTS, WIDTH, new_figure, set_title, style_axes
from diffrect.comparison.report.sections import Report
from diffrect.comparison.report.statistics import Group, group_results, spread
from diffrect.evaluation.metrics import METRICS

_DICE = METRICS["dice"]


def by_class(report: Report) -> Figure:
    """Dice of the cases, a box per variant; a row of panels per number of labelled patients.

    Classes that find no room side by side go on in further rows.
    """
    groups = group_results(report.results)
    kinds = list(dict.fromkeys((group.labelled, group.complete) for group in groups))
    members = {kind: [g for g in groups if (g.labelled, g.complete) == kind] for kind in kinds}
    classes = report.results[0].classes
    columns = _columns(classes)
    lines = [
        (kind, classes[first : first + columns])
        for kind in kinds
        for first in range(0, len(classes), columns)
    ]
    heights = [0.24 * len(members[kind]) + 0.05 for kind, _ in lines]
    figure = new_figure(WIDTH, sum(heights) + 0.25 * len(lines) + 0.8)
    panels = figure.subplots(len(lines), columns, squeeze=False, sharex=True, height_ratios=heights)
    for line, (kind, names) in enumerate(lines):
        lowest = line == len(lines) - 1
        for column, axes in enumerate(panels[line]):
            axes.set_visible(column < len(names))
            if column < len(names):
                _boxes(axes, report, members[kind], names[column], first=column == 0)
                last = lowest or column >= len(lines[line + 1][1])
                style_axes(axes, names[column], _DICE.label if last else "", "")
                axes.tick_params(labelbottom=last)
        words = f"{'all ' if kind[1] else ''}{kind[0]} labelled"
        aside = {"textcoords": "offset points", "ha": "right", "fontsize": POINTS + 0.5}
        panels[line, 0].annotate(words, (0, 1), (-7, 5), xycoords="axes fraction", **aside)
    grey = f"; grey: {report.against}" if report.against else ""
    set_title(
        figure,
        f"Dice of the cases, {report.split_words}: median, quartiles, whiskers to 1.5 times their "
        f"distance\ncross: mean over cases{grey}",
    )
    return figure


def _columns(classes: Sequence[str]) -> int:
    """How many panels fit side by side with their titles and about an inch of plot each."""
    wide = max(1.2, 0.085 * max(map(len, classes)))
    return max(1, min(len(classes), int((WIDTH - 1.3) / wide)))


def _boxes(axes: Axes, report: Report, groups: Sequence[Group], name: str, first: bool) -> None:
    found = group_results(report.results)
    values = []
    for group in groups:
        cases: dict[str, list[float]] = {}
        for result in found[group]:
            for case, scores in result.cases.items():
                cases.setdefault(case, []).append(_DICE.scale * scores[name][_DICE.name])
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
            box.set(facecolor="#b8b8b8")
    axes.set_yticks(range(1, len(groups) + 1), [g.name for g in groups] if first else [])
    axes.set_ylim(len(groups) + 0.6, 0.4)  # the first on top
