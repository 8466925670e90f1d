"""Headers of text: their lines, and the numbers in their fields."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.voxels.files import open_regular
from diffrect.imaging.voxels.layout import Layout

READABLE = "a readable NRRD or MetaImage file"
_LONGEST_HEADER = 2**20
_LONGEST_NUMBER = 64
_WHOLE = re.compile(r"[+-]?\d{1,15}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Grid:
    """Where voxels lie in space, in millimetres towards the left, posterior and superior.

    Attributes:
        spacing: (d,) above 0.
        origin: (d,).
        direction: (d, d), the direction of each axis in a column.
    """

    spacing: np.ndarray
    origin: np.ndarray
    direction: np.ndarray


@dataclass(frozen=True)
class Header:
    """What the header of a NRRD or MetaImage file says.

    Attributes:
        layout: where the voxels are.
        grid: where they lie in space.
        channels: the axis of the layout that holds channels; None if there is none.
        entries: the key/value pairs of a NRRD file.
    """

    layout: Layout
    grid: Grid
    channels: int | None = None
    entries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A line of a header, without its end.

    Attributes:
        text: what it says.
        end: the byte of the file after it.
    """

    text: str
    end: int


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a header from the beginning of a file.

    Raises:
        InputError: a line holds what no header holds, or the header does not end.
    """
    with open_regular(path, "a NRRD or MetaImage file") as stream:
        content = stream.read(_LONGEST_HEADER)
        whole = not stream.read(1)
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        if end < 0 and not whole:
            break
        stop = len(content) if end < 0 else end
        line = content[start:stop].removesuffix(b"\r")
        if b"\r" in line or b"\0" in line:
            raise InputError(path, READABLE, found="a line of its header that is no text")
        start = stop + 1
        yield Line(os.fsdecode(line), start)
    if not whole:
        raise InputError(path, "a NRRD or MetaImage file", found="no end of its header")


def refuse(path: Path, name: str, value: object) -> InputError:
    """Return the error that a field of a header has a value which cannot be."""
    text = str(value)
    text = text if len(text) <= 60 else f"{text[:60]}..."
    return InputError(path, READABLE, reason=f"its header says {name} {text or 'nothing'}")


def whole_numbers(
    path: Path, name: str, text: str, many: int, low: int = 1, high: int = 2**40
) -> tuple[int, ...]:
    """Return the whole numbers of a field.

    Args:
        path: the file, for messages.
        name: of the field.
        text: its value.
        many: how many numbers it must hold.
        low: the smallest that is accepted.
        high: the largest.

    Raises:
        InputError: the field holds something else.
    """
    words = text.split()
    if len(words) != many or not all(_WHOLE.fullmatch(word) for word in words):
        raise refuse(path, name, text)
    values = tuple(int(word) for word in words)
    if not all(low <= value <= high for value in values):
        raise refuse(path, name, text)
    return values


def numbers(path: Path, name: str, text: str, many: int, *, missing: bool = False) -> np.ndarray:
    """Return the numbers of a field, (many,) float64.

    Args:
        path: the file, for messages.
        name: of the field.
        text: its value.
        many: how many numbers it must hold.
        missing: accept NaN for numbers that are not known.

    Raises:
        InputError: the field holds something else, or a number is not finite.
    """
    words = text.split()
    known = [word for word in words if not (missing and word.lower() == "nan")]
    good = len(words) == many and all(
        len(word) <= _LONGEST_NUMBER and _NUMBER.fullmatch(word) for word in known
    )
    if not good or not all(math.isfinite(float(word)) for word in known):
        raise refuse(path, name, text)
    return np.array([float(word) for word in words], dtype=np.float64)


def checked_grid(
    path: Path, spacing: np.ndarray, origin: np.ndarray, direction: np.ndarray
) -> Grid:
    """Return a grid; an axis with a negative spacing is turned.

    Args:
        path: the file, for messages.
        spacing: (d,).
        origin: (d,).
        direction: (d, d), the direction of each axis in a column.

    Raises:
        InputError: a spacing is 0, or the axes do not span the space.
    """
    if not spacing.all():
        raise refuse(path, "a spacing of", " x ".join(f"{size:g}" for size in spacing))
    with np.errstate(all="ignore"):
        scaled = direction / np.abs(direction).max(initial=0)
        spanned = np.linalg.matrix_rank(np.nan_to_num(scaled)) == len(spacing)
    if not spanned:
        raise refuse(path, "axes in the directions", direction.T.tolist())
    return Grid(np.abs(spacing), origin, direction * np.sign(spacing))
