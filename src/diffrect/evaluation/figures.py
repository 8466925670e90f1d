"""Shared parts of all figures: text size, a canvas of their own, writing in one step.

Figures are made without matplotlib's global state (no `pyplot`), so a caller's own figures and
settings stay as they are.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffrect.atomic import write_atomic

TEXT_POINTS = 8.5
DOTS_PER_INCH = 200


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = None) -> Figure:
    """Return a white figure of width x height inches.

    Args:
        width: inches.
        height: inches.
        layout: "constrained" lets the parts of the figure find their own room; None leaves them
            where the caller puts them.
    """
    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def literal_names() -> Iterator[None]:
    """Draw class and method names literally in this context; do not parse them as TeX."""
    with rc_context({"text.parse_math": False}):
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in one step as PNG, PDF or SVG, by suffix: same bytes for same numbers."""
    content = io.BytesIO()
    empty = {".pdf": ("CreationDate",), ".svg": ("Date", "Creator")}.get(path.suffix, ("Software",))
    # Text of an SVG stays text; the salt makes its identifiers those of the plot's content.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure.savefig(
            content, format=path.suffix[1:], dpi=DOTS_PER_INCH, metadata=dict.fromkeys(empty)
        )
    write_atomic(path, content.getbuffer())
