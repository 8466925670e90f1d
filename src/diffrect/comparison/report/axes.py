"""Shared parts of the plots of a report: width of a page, frame of a panel, title."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrect.evaluation.figures import TEXT_POINTS

PAGE_WIDTH = 6.6  # inches of text on a page
GRID_COLOUR = "#d9d9d9"
TITLE_POINTS = TEXT_POINTS + 0.5


def style_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Set the title and the names of the axes; draw a light grid and no frame."""
    axes.set_title(title, fontsize=TITLE_POINTS, loc="left")
    axes.set_xlabel(x, fontsize=TEXT_POINTS)
    axes.set_ylabel(y, fontsize=TEXT_POINTS)
    axes.tick_params(labelsize=TEXT_POINTS)
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def set_title(figure: Figure, text: str) -> None:
    """Write the title of all panels, aligned left."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=TITLE_POINTS)
