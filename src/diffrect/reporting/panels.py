"""The content of a picture: rows of panels, the part of a slice that is drawn, its brightness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffrect.imaging.label_codes import IGNORED

MARGIN = 12.0  # mm around everything that is labelled


@dataclass(frozen=True)
class Panel:
    """A slice, with labels over it if there are any.

    Attributes:
        title: what it shows.
        labels: class map (H, W), or None.
        scored: write the Dice of labels and truth below the panel.
        heat: values (H, W) from 0 to 1 to lay over the slice, or None.
    """

    title: str
    labels: np.ndarray | None = None
    scored: bool = False
    heat: np.ndarray | None = None


@dataclass(frozen=True)
class PictureRow:
    """Panels that show the same slice.

    Attributes:
        name: text at the left of the row.
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


@dataclass(frozen=True)
class Box:
    """A part of a slice, in pixels as the axes of a panel take them (y points down)."""

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


def crop_square(row: PictureRow) -> Box:
    """Return a square, in mm, around everything that is labelled in a row's panels."""
    labelled = (row.truth > 0) & (row.truth != IGNORED)
    for panel in row.panels:
        if panel.labels is not None:
            labelled |= panel.labels > 0
    if not labelled.any():
        labelled[:] = True
    shape, spacing = np.array(row.image.shape), np.array(row.spacing)
    found = np.argwhere(labelled)
    first, last = found.min(axis=0) * spacing, found.max(axis=0) * spacing
    extent = float((last + spacing - first).max())
    # In mm; the square leaves the slice only if the labels take more than its shorter side.
    side = max(extent, min(extent + 2 * MARGIN, float((shape * spacing).min())))
    least, most = -spacing / 2, (shape - 0.5) * spacing - side
    start = np.clip((first + last - side) / 2, np.minimum(least, most), np.maximum(least, most))
    (top, left), (bottom, right) = start / spacing, (start + side) / spacing
    return Box(left, right, top, bottom)


def intensity_window(row: PictureRow, box: Box) -> tuple[float, float]:
    """Return the darkest and brightest intensity to show: the heart's, as fat is far brighter."""
    shown = row.image[box.rows, box.columns]
    found = np.argwhere((row.truth > 0) & (row.truth != IGNORED))
    if not len(found):
        return float(np.percentile(shown, 0.5)), float(np.percentile(shown, 99.5))
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
    return float(shown.min()), 1.1 * float(np.percentile(row.image[top:bottom, left:right], 99))
