"""The box plot of a report: Dice of the cases for each class."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrect.comparison.report.axes import PAGE_WIDTH, TITLE_POINTS, set_title, style_axes
from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.statistics import Condition, by_condition, spread
from diffrect.evaluation.figures import new_figure
from diffrect.evaluation.metrics import METRICS

_DICE = METRICS["dice"]


def by_class(comparison: Comparison) -> Figure:
    """Draw Dice of the cases, one box per variant and one row of panels per number of labels.

    If there is not room for all classes side by side, they continue in further rows.
    """
    conditions = list(by_condition(comparison.results))
    kinds = list(dict.fromkeys(condition.labels for condition in conditions))
    members = {kind: [c for c in conditions if c.labels == kind] for kind in kinds}
    classes = comparison.results[0].classes
    columns = _columns(classes)
    lines = [
        (kind, classes[first : first + columns])
        for kind in kinds
        for first in range(0, len(classes), columns)
    ]
    heights = [0.24 * len(members[kind]) + 0.05 for kind, _ in lines]
    height = sum(heights) + 0.25 * len(lines) + 0.8
    figure = new_figure(PAGE_WIDTH, height, layout="constrained")
    panels = figure.subplots(len(lines), columns, squeeze=False, sharex=True, height_ratios=heights)
    for line, (kind, names) in enumerate(lines):
        lowest = line == len(lines) - 1
        for column, axes in enumerate(panels[line]):
            axes.set_visible(column < len(names))
            if column < len(names):
                _boxes(axes, comparison, members[kind], names[column], first=column == 0)
                last = lowest or column >= len(lines[line + 1][1])
                style_axes(axes, names[column], _DICE.label if last else "", "")
                axes.tick_params(labelbottom=last)
        words = f"{'all ' if kind[1] else ''}{kind[0]} labelled"
        aside = {"textcoords": "offset points", "ha": "right", "fontsize": TITLE_POINTS}
        panels[line, 0].annotate(words, (0, 1), (-7, 5), xycoords="axes fraction", **aside)
    grey = f"; grey: {comparison.against}" if comparison.against else ""
    set_title(
        figure,
        f"Dice of the cases, {comparison.split_words}: median, quartiles, whiskers to 1.5 times "
        f"their distance\ncross: mean over cases{grey}",
    )
    return figure


def _columns(classes: Sequence[str]) -> int:
    """Return how many panels fit side by side with their titles and about an inch of plot each."""
    wide = max(1.2, 0.085 * max(map(len, classes)))
    return max(1, min(len(classes), int((PAGE_WIDTH - 1.3) / wide)))


def _boxes(
    axes: Axes, comparison: Comparison, conditions: Sequence[Condition], name: str, first: bool
) -> None:
    """Draw the boxes of one panel.

    Args:
        axes: the panel.
        comparison: the results.
        conditions: one box each, from top to bottom.
        name: the class.
        first: whether the panel is the first of its row and names the variants.
    """
    found = by_condition(comparison.results)
    values = []
    for condition in conditions:
        cases: dict[str, list[float]] = {}
        for result in found[condition]:
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
    for condition, box in zip(conditions, boxes["boxes"], strict=True):
        if condition.name == comparison.against:
            box.set(facecolor="#b8b8b8")
    names = [condition.name for condition in conditions] if first else []
    axes.set_yticks(range(1, len(conditions) + 1), names)
    axes.set_ylim(len(conditions) + 0.6, 0.4)  # the first on top
