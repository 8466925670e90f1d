"""Small pictures of slices with class maps, drawn quickly: rows of square panels, one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffrect.evaluation.colours import class_colour
from diffrect.imaging.label_codes import IGNORED

SIDE = 128  # pixels of a panel
GAP = 4
LINE = 14  # pixels of a line of text
FILL = 0.3  # opacity
MARGIN = 0.25  # of the extent of what is labelled, on either side
TO_BACKGROUND = (255, 255, 255)


@dataclass(frozen=True)
class Frame:
    """The part of a slice that is shown, and how large.

    Attributes:
        rows: first row and the row after the last.
        columns: first column and the column after the last.
        height: pixels of the panel that it fills.
        width: pixels of the panel that it fills.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    height: int
    width: int

    def cut(self, array: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        """Return the part of an array (H, W) float32 or uint8, resized to (height, width)."""
        part = array[slice(*self.rows), slice(*self.columns)]
        picture = Image.fromarray(np.ascontiguousarray(part))
        return np.asarray(picture.resize((self.width, self.height), resample))


def frame_around(
    mask: np.ndarray | None, shape: tuple[int, int], spacing: tuple[float, float]
) -> Frame:
    """Return a frame around what a mask shows, with a margin; the whole slice without any.

    Args:
        mask: bool (H, W), or None.
        shape: (H, W).
        spacing: mm along H and W.
    """
    ranges = [(0, shape[0]), (0, shape[1])]
    if mask is not None and mask.any():
        found = np.argwhere(mask)
        first, last = found.min(axis=0), found.max(axis=0) + 1
        extent = float(((last - first) * spacing).max()) * (1 + 2 * MARGIN)
        for axis in (0, 1):
            wanted = min(shape[axis], max(1, round(extent / spacing[axis])))
            start = round((first[axis] + last[axis] - wanted) / 2)
            start = min(max(0, start), shape[axis] - wanted)
            ranges[axis] = (start, start + wanted)
    height, width = ((stop - start) * s for (start, stop), s in zip(ranges, spacing, strict=True))
    scale = SIDE / max(height, width)
    pixels = [max(1, round(side * scale)) for side in (height, width)]
    return Frame(ranges[0], ranges[1], *pixels)


def grey(image: np.ndarray, frame: Frame) -> np.ndarray:
    """Return a slice (H, W) as grey RGB (height, width, 3) uint8, a few extremes cut off."""
    shown = frame.cut(image.astype(np.float32), Image.Resampling.BILINEAR)
    low, high = np.percentile(shown, (0.5, 99.5))
    levels = (shown - low) / max(float(high - low), 1e-6)
    # 64 levels look the same, and the files are smaller.
    return np.repeat((np.clip(levels, 0, 1) * 63).astype(np.uint8)[..., None] * 4, 3, axis=2)


def with_labels(
    picture: np.ndarray, labels: np.ndarray, frame: Frame, *, filled: bool
) -> np.ndarray:
    """Return a grey picture with the outlines of classes over it, and their areas if wanted.

    Args:
        picture: RGB (height, width, 3).
        labels: class map (H, W) uint8.
        frame: the part that the picture shows.
        filled: whether areas are tinted.
    """
    codes = _codes(labels, frame)
    drawn = picture.astype(np.float32)
    if filled:
        drawn = _tinted(drawn, codes, FILL)
    padded = np.pad(codes, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    edge = np.zeros(codes.shape, bool)
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        edge |= neighbour != middle
    return _tinted(drawn, np.where(edge, codes, 0), 1.0).astype(np.uint8)


def with_changes(
    picture: np.ndarray, before: np.ndarray, after: np.ndarray, frame: Frame
) -> np.ndarray:
    """Return a darkened grey picture in which changed pixels have the colour of their new class.

    Pixels that became background are white.

    Args:
        picture: RGB (height, width, 3).
        before: class map (H, W) uint8.
        after: class map (H, W) uint8.
        frame: the part that the picture shows.
    """
    old, new = _codes(before, frame), _codes(after, frame)
    drawn = _tinted(picture * np.float32(0.5), np.where(old == new, 0, new), 1.0)
    drawn[(old != new) & (new == 0)] = TO_BACKGROUND
    return drawn.astype(np.uint8)


def tile(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """Return one picture of all panels, (H, W, 3) uint8.

    Args:
        rows: the text below each row, and its panels (height, width, 3), each at most a square of
            `SIDE`.
        titles: one per column.
        classes: names of the class codes, background first.
    """
    step, columns = SIDE + GAP, len(titles)
    heights = [max(panel.shape[0] for panel in panels) for _, panels in rows]
    height = LINE + sum(high + LINE + GAP for high in heights) + LINE
    canvas = Image.new("RGB", (columns * step - GAP, height))
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        _write(pen, (column * step + 2, 1), title, (255, 255, 255))
    top = LINE
    for (text, panels), high in zip(rows, heights, strict=True):
        for column, panel in enumerate(panels):
            left = column * step + (SIDE - panel.shape[1]) // 2
            canvas.paste(Image.fromarray(panel), (left, top))
        _write(pen, (2, top + high + 1), text, (200, 200, 200))
        top += high + LINE + GAP
    place = 2.0
    for code, name in enumerate(classes[1:], start=1):
        place += _write(pen, (place, height - LINE + 1), name, class_colour(code)) + 8
    return np.asarray(canvas)


def _codes(labels: np.ndarray, frame: Frame) -> np.ndarray:
    codes = frame.cut(labels.astype(np.uint8), Image.Resampling.NEAREST)
    return np.where(codes == IGNORED, 0, codes)


def _tinted(picture: np.ndarray, codes: np.ndarray, opacity: float) -> np.ndarray:
    """Return a picture with every foreground class of a map (height, width) in its colour."""
    colours = np.zeros((256, 3), np.float32)
    for code in np.unique(codes):
        colours[code] = class_colour(int(code)) if code else 0
    share = np.where(codes > 0, np.float32(opacity), np.float32(0))[..., None]
    drawn: np.ndarray = picture * (1 - share) + colours[codes] * share
    return drawn


@cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default()


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: tuple[int, int, int]
) -> float:
    """Write a line, other characters than ASCII as escapes, and return its width."""
    plain = text.encode("ascii", "backslashreplace").decode()[:200]
    pen.text(place, plain, fill=colour, font=_font())
    return pen.textlength(plain, font=_font())
