"""Pictures of slices with label maps over them, fit for print: rows of titled panels, one legend.

Figures are made without matplotlib's global state, so a caller's own figures and settings stay as
they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from diffrect.metrics import case_dice

# Okabe & Ito's colours, told apart by colour-blind readers; the first three also differ in grey.
COLOURS = ("#d55e00", "#f0e442", "#56b4e9", "#cc79a7", "#009e73", "#0072b2", "#e69f00")
LineStyle = Literal["-", "--", ":"]
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":")
FILL_OPACITY = 0.28
PANEL_INCHES = 2.15
TEXT_POINTS = 8.5
SMALL_POINTS = 7.5


@dataclass(frozen=True)
class Panel:
    """A slice with labels over it; the slice alone if there are none.

    Attributes:
        title: what it shows.
        labels: class map (H, W), or None.
        truth: class map (H, W) to compare the labels with; their Dice stands below the panel.
    """

    title: str
    labels: np.ndarray | None = None
    truth: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """Panels that show the same slice.

    Attributes:
        name: stands left of the row.
        image: intensities (H, W).
        spacing: mm along H and W.
        panels: from left to right.
    """

    name: str
    image: np.ndarray
    spacing: tuple[float, float]
    panels: Sequence[Panel]


def draw_rows(rows: Sequence[Row], classes: Sequence[str], caption: str, path: Path) -> None:
    """Write a PNG of rows of panels, each cropped to a square around what is labelled in it.

    `classes` names the class codes, background first; `caption` stands below the legend.
    """
    columns = max(len(row.panels) for row in rows)
    lines = caption.count("\n") + 1
    margins = Margins(left=0.34, top=0.06, bottom=0.42 + 0.145 * lines)
    width = margins.left + columns * PANEL_INCHES
    height = margins.top + margins.bottom + len(rows) * (PANEL_INCHES + 0.4)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    for index, row in enumerate(rows):
        top = height - margins.top - index * (PANEL_INCHES + 0.4) - 0.2
        _draw_row(figure, row, top, margins.left, len(classes))
    _draw_legend(figure, classes, 0.145 * lines + 0.22)
    figure.text(
        0.06 / width, 0.06 / height, caption, fontsize=SMALL_POINTS, va="bottom", linespacing=1.25
    )
    figure.savefig(path, dpi=200)


@dataclass(frozen=True)
class Margins:
    """Space around the panels, inches."""

    left: float
    top: float
    bottom: float


def _draw_row(figure: Figure, row: Row, top: float, left: float, classes: int) -> None:
    """One row of panels whose upper edge is `top` inches above the lower edge of the figure."""
    width, height = figure.get_size_inches()
    box = _square_around(row)
    side = PANEL_INCHES - 0.08
    centre = (top - side / 2) / height
    figure.text(
        left / 2 / width, centre, row.name, rotation=90, ha="center", va="center",
        fontsize=TEXT_POINTS, linespacing=1.3,
    )  # fmt: skip
    for column, panel in enumerate(row.panels):
        x = left + column * PANEL_INCHES
        axes = figure.add_axes((x / width, (top - side) / height, side / width, side / height))
        _draw_panel(axes, row, panel, box, classes)
        if column == 0:
            _draw_scale(axes, row, box)


def _draw_panel(axes: Axes, row: Row, panel: Panel, box: "Box", classes: int) -> None:
    low, high = np.percentile(row.image[box.rows, box.columns], (0.5, 99.5))
    axes.imshow(
        row.image, cmap="gray", vmin=low, vmax=high, interpolation="bilinear",
        aspect=row.spacing[0] / row.spacing[1],
    )  # fmt: skip
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
    if panel.truth is not None:
        axes.set_xlabel(describe_dice(panel.labels, panel.truth, classes), labelpad=3)
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
    outline = axes.contour(
        x, y, padded, levels=[0.5], colors=[colour], linewidths=1.3, linestyles=_style(code)
    )
    outline.set_path_effects([Stroke(linewidth=2.2, foreground=(0, 0, 0, 0.55)), Normal()])


def _draw_scale(axes: Axes, row: Row, box: "Box", length: float = 20.0) -> None:
    """A bar of `length` mm in the lower left corner."""
    x = box.left + 0.06 * (box.right - box.left)
    y = box.bottom - 0.06 * (box.bottom - box.top)
    axes.plot([x, x + length / row.spacing[1]], [y, y], color="white", linewidth=2)
    axes.text(
        x, y - 0.025 * (box.bottom - box.top), f"{length:g} mm", color="white",
        fontsize=SMALL_POINTS, va="bottom",
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
    values = [100 * dice for dice in case_dice(labels, truth, names).values()]
    defined = [value for value in values if not math.isnan(value)]
    mean = f"{np.mean(defined):.0f}" if defined else "–"
    each = " / ".join("–" if math.isnan(value) else f"{value:.0f}" for value in values)
    return f"Dice {mean} %  ({each})"


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


def _square_around(row: Row, margin: float = 12.0) -> Box:
    """A square, in mm, around everything that is labelled in a row's panels, inside the slice."""
    labelled = np.zeros(row.image.shape, dtype=bool)
    for panel in row.panels:
        if panel.labels is not None:
            labelled |= panel.labels > 0
    if not labelled.any():
        labelled[:] = True
    shape, spacing = np.array(row.image.shape), np.array(row.spacing)
    found = np.argwhere(labelled)
    first, last = found.min(axis=0) * spacing, found.max(axis=0) * spacing
    # mm; no larger than the shorter side of the slice
    side = min(float((last - first).max()) + 2 * margin, float((shape * spacing).min()))
    start = np.clip((first + last) / 2 - side / 2, -spacing / 2, (shape - 0.5) * spacing - side)
    (top, left), (bottom, right) = start / spacing, (start + side) / spacing
    return Box(left, right, top, bottom)


def _style(code: int) -> LineStyle:
    return LINE_STYLES[(code - 1) % len(LINE_STYLES)]


def _rgb(code: int) -> tuple[float, float, float]:
    text = COLOURS[(code - 1) % len(COLOURS)]
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
