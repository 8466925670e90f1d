"""What all plots of a report share: size, type, frame, and writing in one step.

Figures are made without matplotlib's global state, so a caller's own figures and settings stay as
they are.
"""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffrect.atomic import write_atomic

WIDTH = 6.6  # inches, the text width of a page
POINTS = 8.5
GREY = "#d9d9d9"


def save(figure: Figure, path: Path) -> None:
    """In one step, and the same bytes for the same numbers."""
    content = io.BytesIO()
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    figure.savefig(content, format=path.suffix[1:], dpi=200, metadata=metadata)
    write_atomic(path, content.getbuffer())


def new_figure(width: float, height: float) -> Figure:
    """A white figure of width x height inches whose parts find their own room."""
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and names of the axes, a light grid, no frame."""
    axes.set_title(title, fontsize=POINTS + 0.5, loc="left")
    axes.set_xlabel(x, fontsize=POINTS)
    axes.set_ylabel(y, fontsize=POINTS)
    axes.tick_params(labelsize=POINTS)
    axes.grid(color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def set_title(figure: Figure, text: str) -> None:
    """The title of all panels, at the left."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=POINTS + 0.5)
