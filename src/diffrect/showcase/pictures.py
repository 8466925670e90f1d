"""Pictures of slices with label maps over them, fit for print: rows of panels, one legend."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from diffrect.evaluation.colours import OF_CLASSES, class_colour
from diffrect.evaluation.figures import TEXT_POINTS, literal_names, new_figure, save_figure
from diffrect.evaluation.metrics import METRICS, case_dice
from diffrect.reporting.panels import Box, Panel, PictureRow, crop_square, intensity_window

LineStyle = tuple[float, tuple[float, ...]] | Literal["-"]
LINE_STYLES: tuple[LineStyle, ...] = ("-", (0, (4, 1.5)), (0, (1.3, 1.3)))
FILL_OPACITY = 0.28
PANEL_INCHES = 2.15
NAME_INCHES = 0.34
ROW_GAP_INCHES = 0.36
TITLE_INCHES = 0.24
LEGEND_INCHES = 0.44
SMALL_POINTS = 7.5
LINE_INCHES = 0.145
CHARACTER_INCHES = 0.057  # average width of a letter of the caption, with some to spare


@literal_names()
def draw_rows(rows: Sequence[PictureRow], classes: Sequence[str], caption: str, path: Path) -> None:
    """Write a PNG of rows of panels, each cropped to a square around what is labelled in it.

    Args:
        rows: from top to bottom.
        classes: names of the class codes, background first.
        caption: one paragraph, drawn below the legend.
        path: file to write.
    """
    width = NAME_INCHES + max(len(row.panels) for row in rows) * PANEL_INCHES
    text = textwrap.wrap(caption, round(width / CHARACTER_INCHES))
    bottom = LEGEND_INCHES + LINE_INCHES * len(text)
    height = bottom + len(rows) * (PANEL_INCHES + ROW_GAP_INCHES)
    figure = new_figure(width, height)
    for index, row in enumerate(rows):
        top = height - index * (PANEL_INCHES + ROW_GAP_INCHES) - TITLE_INCHES
        _draw_row(figure, row, top, len(classes))
    _draw_legend(figure, classes, bottom - LEGEND_INCHES / 2)
    for line, words in enumerate(reversed(text)):
        y = 0.07 + line * LINE_INCHES
        figure.text(0.06 / width, y / height, words, fontsize=SMALL_POINTS)
    save_figure(figure, path)


def _draw_row(figure: Figure, row: PictureRow, top: float, classes: int) -> None:
    """Draw a row of panels whose upper edge is `top` inches above the lower edge of the figure.

    Args:
        figure: the figure.
        row: what to draw.
        top: inches.
        classes: number of classes.
    """
    width, height = figure.get_size_inches()
    box = crop_square(row)
    side = PANEL_INCHES - 0.08
    centre = (top - side / 2) / height
    figure.text(
        NAME_INCHES / 2 / width,
        centre,
        row.name,
        rotation=90,
        ha="center",
        va="center",
        fontsize=TEXT_POINTS,
        linespacing=1.3,
    )
    for column, panel in enumerate(row.panels):
        x = NAME_INCHES + column * PANEL_INCHES
        axes = figure.add_axes((x / width, (top - side) / height, side / width, side / height))
        _draw_panel(axes, row, panel, box, classes)
        if column == 0:
            _draw_scale(axes, row, box)


def _draw_panel(axes: Axes, row: PictureRow, panel: Panel, box: Box, classes: int) -> None:
    low, high = intensity_window(row, box)
    axes.imshow(
        row.image,
        cmap="gray",
        vmin=low,
        vmax=high,
        interpolation="bilinear",
        aspect=row.spacing[0] / row.spacing[1],
    )
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
    """Draw the region of one class: a transparent fill and an outline with a dark edge."""
    if not mask.any():
        return
    # A margin of zeros closes outlines at the border of the slice.
    padded = np.pad(mask, 1).astype(float)
    x, y = (np.arange(-1, size + 1) for size in (mask.shape[1], mask.shape[0]))
    colour = OF_CLASSES[(code - 1) % len(OF_CLASSES)]
    axes.contourf(x, y, padded, levels=[0.5, 1.5], colors=[colour], alpha=FILL_OPACITY)
    # A dark line below keeps outlines visible on bright tissue, and dashes readable as one line.
    axes.contour(x, y, padded, levels=[0.5], colors="black", linewidths=2.1, alpha=0.6)
    axes.contour(
        x, y, padded, levels=[0.5], colors=[colour], linewidths=1.3, linestyles=[_style(code)]
    )


def _draw_scale(axes: Axes, row: PictureRow, box: Box, length: float = 20.0) -> None:
    """Draw a bar of `length` mm in the lower left corner."""
    x = box.left + 0.06 * (box.right - box.left)
    y = box.bottom - 0.06 * (box.bottom - box.top)
    axes.plot(
        [x, x + length / row.spacing[1]],
        [y, y],
        color="white",
        linewidth=2,
        path_effects=[Stroke(linewidth=3.5, foreground="black"), Normal()],
    )
    axes.text(
        x,
        y - 0.025 * (box.bottom - box.top),
        f"{length:g} mm",
        color="white",
        fontsize=SMALL_POINTS,
        va="bottom",
        path_effects=[Stroke(linewidth=2, foreground="black"), Normal()],
    )


def _draw_legend(figure: Figure, classes: Sequence[str], inches: float) -> None:
    handles: list[Patch | Line2D] = [
        Patch(
            facecolor=(*_rgb(code), FILL_OPACITY + 0.25),
            edgecolor=_rgb(code),
            linestyle=_style(code),
            linewidth=1.3,
            label=name,
        )
        for code, name in enumerate(classes)
        if code
    ]
    height = figure.get_size_inches()[1]
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, inches / height),
        ncols=len(handles),
        frameon=False,
        fontsize=TEXT_POINTS,
        handlelength=2.6,
        columnspacing=2.5,
    )


def describe_dice(labels: np.ndarray, truth: np.ndarray, classes: int) -> str:
    """Return Dice in per cent: the mean over the classes, then every class; – if undefined."""
    metric = METRICS["dice"]
    names = [str(code) for code in range(classes)]
    values = list(case_dice(labels, truth, names).values())
    defined = [value for value in values if not math.isnan(value)]
    mean = float(np.mean(defined)) if defined else math.nan
    each = " / ".join(metric.text(value, decimals=0) for value in values)
    return f"{metric.title} {metric.text(mean, decimals=0)} {metric.shown_unit}  ({each})"


def _style(code: int) -> LineStyle:
    return LINE_STYLES[(code - 1) % len(LINE_STYLES)]


def _rgb(code: int) -> tuple[float, float, float]:
    red, green, blue = class_colour(code)
    return red / 255, green / 255, blue / 255
