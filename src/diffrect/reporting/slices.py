"""Slices with label maps over them, as inline SVG: the image once, the labels as outlines."""

import base64
import io
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from diffrect.imaging.label_codes import IGNORED
from diffrect.reporting.charts import colour_class
from diffrect.reporting.panels import Box, PictureRow, crop_square, intensity_window
from diffrect.reporting.svg import element, number

LONGEST_SIDE = 360  # pixels of a picture; a larger part of a slice is drawn smaller
SHOWN_SIDE = 300.0  # of a panel on the page, before it is scaled
BAR = 20.0  # mm
MOST_EDGES = 6000  # of pixels along the border of a class
HEAT = (255, 64, 160)  # red, green, blue of a layer of heat
HEAT_STEPS = 16  # of its density
HEAT_MOST = 235  # of 255: opacity of the densest


class DrawnPanel(NamedTuple):
    """A panel as a page shows it."""

    title: str
    picture: Markup


class SliceDrawer:
    """Draws rows of panels; the identifiers of a page's images count from 1.

    Args:
        prefix: how the identifiers begin, one for each drawer of a page.
    """

    def __init__(self, prefix: str = "slice") -> None:
        self._prefix, self._numbers = prefix, count(1)

    def draw(
        self, row: PictureRow, classes: Sequence[str], *, millimetres: bool
    ) -> list[DrawnPanel]:
        """Return the panels of a row.

        Args:
            row: the slice and the labels to draw over it.
            classes: names of the class codes, background first.
            millimetres: whether the row's spacing is one, so that a scale can be drawn.
        """
        box = crop_square(row)
        name = f"{self._prefix}-{next(self._numbers)}"
        drawn = []
        for index, panel in enumerate(row.panels):
            image = _image(row, box, name) if index == 0 else element("use", href=f"#{name}")
            parts = [image]
            if panel.heat is not None:
                parts.append(_heat(panel.heat, box))
            if panel.labels is not None:
                parts += _overlay(panel.labels, box, classes)
            drawn.append(DrawnPanel(panel.title, _panel(row, box, parts, millimetres, panel.title)))
        return drawn


def _panel(
    row: PictureRow, box: Box, parts: Sequence[Markup], millimetres: bool, title: str
) -> Markup:
    """Return a square window on a slice, whose pixels have their true proportions."""
    height, width = box.bottom - box.top, box.right - box.left
    scale_x, scale_y = SHOWN_SIDE / width, SHOWN_SIDE / height
    shift = f"scale({scale_x:.5f} {scale_y:.5f}) translate({-box.left:.3f} {-box.top:.3f})"
    inside = element("g", *parts, transform=shift)
    side = number(SHOWN_SIDE)
    bar = _scale(BAR / row.spacing[1] * scale_x) if millimetres else Markup("")
    return element(
        "svg",
        inside,
        bar,
        viewBox=f"0 0 {side} {side}",
        width=side,
        height=side,
        role="img",
        aria_label=f"{row.name}: {title}",
        class_="slice",
    )


def _scale(length: float) -> Markup:
    if not 8 < length < SHOWN_SIDE * 0.8:
        return Markup("")
    bottom = SHOWN_SIDE - 12
    bar = element("line", x1=12.0, x2=12 + length, y1=bottom, y2=bottom, class_="bar")
    return bar + element("text", f"{BAR:g} mm", x=12.0, y=bottom - 7, class_="bar")


def _image(row: PictureRow, box: Box, name: str) -> Markup:
    """Return the part of an image that is shown, as a PNG within the page."""
    rows, columns = box.rows, box.columns
    part = row.image[rows, columns].astype(np.float64)
    low, high = intensity_window(row, box)
    grey = np.clip((part - low) / (high - low), 0, 1) if high > low else np.zeros_like(part)
    return _embedded(np.round(255 * grey).astype(np.uint8), box, name)


def _heat(values: np.ndarray, box: Box) -> Markup:
    """Return a part of values (H, W) as a layer of one colour, the denser the nearer to 1."""
    part = np.clip(values[box.rows, box.columns], 0, 1)
    return _embedded(np.round((HEAT_STEPS - 1) * part).astype(np.uint8), box, heat=True)


def _embedded(
    values: np.ndarray, box: Box, name: str | None = None, *, heat: bool = False
) -> Markup:
    """Return a part of a slice (H, W) as a PNG within the page.

    Args:
        values: grey values, or steps of heat.
        box: the part.
        name: identifier of the image.
        heat: whether `values` are steps of heat, from transparent to `HEAT`.
    """
    height, width = values.shape
    picture = Image.fromarray(values)
    if max(picture.size) > LONGEST_SIDE:
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    content = io.BytesIO()
    if heat:
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette(HEAT * HEAT_STEPS)
        shown = bytes(round(HEAT_MOST * k / (HEAT_STEPS - 1)) for k in range(HEAT_STEPS))
        picture.save(content, "PNG", optimize=True, transparency=shown)
    else:
        picture.save(content, "PNG", optimize=True)
    data = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    # Boxes count from the centres of pixels, so that a pixel spans half a unit to each side.
    place = {"x": box.columns.start - 0.5, "y": box.rows.start - 0.5}
    size = {"width": float(width), "height": float(height)}
    return element("image", id=name, href=data, preserveAspectRatio="none", **place, **size)


def _overlay(labels: np.ndarray, box: Box, classes: Sequence[str]) -> list[Markup]:
    """Return fill and outline of each class in a part of a label map."""
    part = labels[box.rows, box.columns]
    drawn = []
    for code in range(1, len(classes)):
        mask = part == code
        if mask.any():
            style = f"{colour_class(code)} label"
            path = _outline(mask, box.rows.start, box.columns.start)
            drawn.append(element("path", d=path, class_=style))
    if (part == IGNORED).any():
        path = _outline(part == IGNORED, box.rows.start, box.columns.start)
        drawn.append(element("path", d=path, class_="ignored label"))
    return drawn


def _outline(mask: np.ndarray, top: int, left: int) -> str:
    """Return the path around a mask (H, W), along the edges of its pixels.

    Each border between a pixel inside and one outside is an edge with the mask at its right; edges
    are joined to closed loops. A mask of noise, whose path would fill the page, is drawn coarsely.
    """
    step = 1
    while True:
        padded = np.pad(mask, 1).astype(np.int8)
        down, across = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
        if np.count_nonzero(down) + np.count_nonzero(across) <= MOST_EDGES:
            break
        mask, step = mask[::2, ::2], 2 * step
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(down):
        start, end = ((y, x), (y, x + 1)) if down[y, x] > 0 else ((y, x + 1), (y, x))
        edges.setdefault((int(start[0]), int(start[1])), []).append((int(end[0]), int(end[1])))
    for y, x in np.argwhere(across):
        start, end = ((y + 1, x), (y, x)) if across[y, x] > 0 else ((y, x), (y + 1, x))
        edges.setdefault((int(start[0]), int(start[1])), []).append((int(end[0]), int(end[1])))
    loops = []
    while edges:
        loop = [next(iter(edges))]
        while loop[-1] in edges:
            ends = edges[loop[-1]]
            following = ends.pop()
            if not ends:
                del edges[loop[-1]]
            loop.append(following)
        loops.append(_loop([(top + y * step, left + x * step) for y, x in loop]))
    return "".join(loops)


def _loop(corners: list[tuple[int, int]]) -> str:
    """Return a closed loop (y, x) as a path of straight strokes, half a pixel up and left."""
    first = previous = corners[0]
    words: list[str] = []
    direction = ""
    for corner in corners[1:]:
        turned = "H" if corner[0] == previous[0] else "V"
        stroke = f"{turned}{(corner[1] if turned == 'H' else corner[0]) - 0.5:g}"
        if turned == direction:
            words[-1] = stroke
        else:
            words.append(stroke)
        previous, direction = corner, turned
    return f"M{first[1] - 0.5:g} {first[0] - 0.5:g}{''.join(words)}Z"
