"""Pictures of slices with label maps over them, fit for print: rows of titled panels, one legend.

Figures are made without matplotlib's global state, so a caller's own figures and settings stay as
they are.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from diffrect.evaluation.metrics import METRICS, case_dice

# Okabe & Ito's colours, told apart by colour-blind readers; the first three also differ in grey.
COLOURS = ("#d55e00", "#f0e442", "#56b4e9", "#cc79a7", "#009e73", "#0072b2", "#e69f00")
LineStyle = tuple[float, tuple[float, ...]] | Literal["-"]
LINE_STYLES: tuple[LineStyle, ...] = ("-", (0, (4, 1.5)), (0, (1.3, 1.3)))
FILL_OPACITY = 0.28
PANEL_INCHES = 2.15
NAME_INCHES = 0.34
ROW_GAP_INCHES = 0.36
TITLE_INCHES = 0.24
LEGEND_INCHES = 0.44
TEXT_POINTS = 8.5
SMALL_POINTS = 7.5
LINE_INCHES = 0.145
CHARACTER_INCHES = 0.057  # of a letter of the caption, on average, with some to spare


@dataclass(frozen=True)
class Panel:
    """A slice with labels over it; the slice alone if there are none.

    Attributes:
        title: what it shows.
        labels: class map (H, W), or None.
        scored: whether the Dice of labels and truth stands below the panel.
    """

    title: str
    labels: np.ndarray | None = None
    scored: bool = False


@dataclass(frozen=True)
class Row:
    """Panels that show the same slice.

    Attributes:
        name: stands left of the row.
        image: intensities (H, W).
        truth: class map (H, W).
        spacing: mm along H and W.
        panels: from left to right.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    spacing: tuple[float, float]
    panels: Sequence[Panel]


# names of classes and methods are no formulas, whatever they hold
@rc_context({"text.parse_math": False})
def draw_rows(rows: Sequence[Row], classes: Sequence[str], caption: str, path: Path) -> None:
    """Write a PNG of rows of panels, each cropped to a square around what is labelled in it.

    `classes` names the class codes, background first; `caption`, one paragraph, stands below the
    legend.
    """
    width = NAME_INCHES + max(len(row.panels) for row in rows) * PANEL_INCHES
    text = textwrap.wrap(caption, round(width / CHARACTER_INCHES))
    bottom = LEGEND_INCHES + LINE_INCHES * len(text)
    height = bottom + len(rows) * (PANEL_INCHES + ROW_GAP_INCHES)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    for index, row in enumerate(rows):
        top = height - index * (PANEL_INCHES + ROW_GAP_INCHES) - TITLE_INCHES
        _draw_row(figure, row, top, len(classes))
    _draw_legend(figure, classes, bottom - LEGEND_INCHES / 2)
    for line, words in enumerate(reversed(text)):
        y = 0.07 + line * LINE_INCHES
        figure.text(0.06 / width, y / height, words, fontsize=SMALL_POINTS)
    figure.savefig(path, dpi=200)


def _draw_row(figure: Figure, row: Row, top: float, classes: int) -> None:
    """One row of panels whose upper edge is `top` inches above the lower edge of the figure."""
    width, height = figure.get_size_inches()
    box = _square_around(row)
    side = PANEL_INCHES - 0.08
    centre = (top - side / 2) / height
    figure.text(
        NAME_INCHES / 2 / width, centre, row.name, rotation=90, ha="center", va="center",
        fontsize=TEXT_POINTS, linespacing=1.3,
    )  # fmt: skip
    for column, panel in enumerate(row.panels):
        x = NAME_INCHES + column * PANEL_INCHES
        axes = figure.add_axes((x / width, (top - side) / height, side / width, side / height))
        _draw_panel(axes, row, panel, box, classes)
        if column == 0:
            _draw_scale(axes, row, box)


def _draw_panel(axes: Axes, row: Row, panel: Panel, box: "Box", classes: int) -> None:
    low, high = _window(row, box)
    axes.imshow(
        row.image, cmap="gray", vmin=low, vmax=high, interpolation="bilinear",
        aspect=row.spacing[0] / row.spacing[1],
    )  # fmt: skip
    axes.set_facecolor("black")
    axes.set_xlim(box.left, box.right)
    axes.set_ylim(box.bottom, box.top)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(panel.title, fontsize=TEXT_POINTS, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if panel.labels is None:
        return
    for code in range(1, classes):
        _draw_class(axes, panel.labels == code, code)
    if panel.scored:
        axes.set_xlabel(describe_dice(panel.labels, row.truth, classes), labelpad=3)
        axes.xaxis.label.set_fontsize(SMALL_POINTS)


def _draw_class(axes: Axes, mask: np.ndarray, code: int) -> None:
    """The region of one class: a transparent fill and an outline with a dark edge."""
    if not mask.any():
        return
    # A margin of zeros closes outlines at the border of the slice.
    padded = np.pad(mask, 1).astype(float)
    x, y = (np.arange(-1, size + 1) for size in (mask.shape[1], mask.shape[0]))
    colour = COLOURS[(code - 1) % len(COLOURS)]
    axes.contourf(x, y, padded, levels=[0.5, 1.5], colors=[colour], alpha=FILL_OPACITY)
    # A dark line below keeps outlines visible on bright tissue, and dashes readable as one line.
    axes.contour(x, y, padded, levels=[0.5], colors="black", linewidths=2.1, alpha=0.6)
    axes.contour(
        x, y, padded, levels=[0.5], colors=[colour], linewidths=1.3, linestyles=[_style(code)]
    )


def _draw_scale(axes: Axes, row: Row, box: "Box", length: float = 20.0) -> None:
    """A bar of `length` mm in the lower left corner."""
    x = box.left + 0.06 * (box.right - box.left)
    y = box.bottom - 0.06 * (box.bottom - box.top)
    axes.plot(
        [x, x + length / row.spacing[1]], [y, y], color="white", linewidth=2,
        path_effects=[Stroke(linewidth=3.5, foreground="black"), Normal()],
    )  # fmt: skip
    axes.text(
        x, y - 0.025 * (box.bottom - box.top), f"{length:g} mm", color="white",
        fontsize=SMALL_POINTS, va="bottom",
        path_effects=[Stroke(linewidth=2, foreground="black"), Normal()],
    )  # fmt: skip


def _draw_legend(figure: Figure, classes: Sequence[str], inches: float) -> None:
    handles: list[Patch | Line2D] = [
        Patch(
            facecolor=(*_rgb(code), FILL_OPACITY + 0.25), edgecolor=_rgb(code),
            linestyle=_style(code), linewidth=1.3, label=name,
        )
        for code, name in enumerate(classes)
        if code
    ]  # fmt: skip
    height = figure.get_size_inches()[1]
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, inches / height), ncols=len(handles),
        frameon=False, fontsize=TEXT_POINTS, handlelength=2.6, columnspacing=2.5,
    )  # fmt: skip


def describe_dice(labels: np.ndarray, truth: np.ndarray, classes: int) -> str:
    """Dice in per cent: the mean over the classes, then every class; – where undefined."""
    names = [str(code) for code in range(classes)]
    metric = METRICS["dice"]
    values = list(case_dice(labels, truth, names).values())
    defined = [value for value in values if not math.isnan(value)]
    mean = float(np.mean(defined)) if defined else math.nan
    each = " / ".join(metric.text(value, decimals=0) for value in values)
    return f"{metric.title} {metric.text(mean, decimals=0)} {metric.shown_unit}  ({each})"


@dataclass(frozen=True)
class Box:
    """Part of a slice in pixels, as the axes of a panel take it (y downwards)."""

    left: float
    right: float
    top: float
    bottom: float

    @property
    def rows(self) -> slice:
        """The rows that lie in it."""
        return slice(max(0, round(self.top)), round(self.bottom) + 1)

    @property
    def columns(self) -> slice:
        """The columns that lie in it."""
        return slice(max(0, round(self.left)), round(self.right) + 1)


def _window(row: Row, box: Box) -> tuple[float, float]:
    """Darkest and brightest intensity to tell apart: the heart's, since fat is far brighter."""
    shown = row.image[box.rows, box.columns]
    found = np.argwhere(row.truth > 0)
    if not len(found):
        return float(np.percentile(shown, 0.5)), float(np.percentile(shown, 99.5))
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
    return float(shown.min()), 1.1 * float(np.percentile(row.image[top:bottom, left:right], 99))


def _square_around(row: Row, margin: float = 12.0) -> Box:
    """A square, in mm, around everything that is labelled in a row's panels."""
    labelled = row.truth > 0
    for panel in row.panels:
        if panel.labels is not None:
            labelled |= panel.labels > 0
    if not labelled.any():
        labelled[:] = True
    shape, spacing = np.array(row.image.shape), np.array(row.spacing)
    found = np.argwhere(labelled)
    first, last = found.min(axis=0) * spacing, found.max(axis=0) * spacing
    extent = float((last + spacing - first).max())
    # mm; beyond the slice only where the labels take more than its shorter side
    side = max(extent, min(extent + 2 * margin, float((shape * spacing).min())))
    least, most = -spacing / 2, (shape - 0.5) * spacing - side
    start = np.clip((first + last - side) / 2, np.minimum(least, most), np.maximum(least, most))
    (top, left), (bottom, right) = start / spacing, (start + side) / spacing
    return Box(left, right, top, bottom)


def _style(code: int) -> LineStyle:
    return LINE_STYLES[(code - 1) % len(LINE_STYLES)]


def _rgb(code: int) -> tuple[float, float, float]:
    text = COLOURS[(code - 1) % len(COLOURS)]
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
