"""Where a header says that voxels are, and reading them from there."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.decode import TRUNCATED
from diffrect.imaging.voxels.files import check_memory, check_size, open_regular
from diffrect.imaging.voxels.streams import Inflated, remarks_on

Stored = Literal["raw", "text", "gzip", "zlib", "bzip2"]
AT_END = -1
"""The place of voxels that are the last bytes of their file."""


@dataclass(frozen=True)
class Layout:
    """Where voxels are and how they are stored.

    Attributes:
        files: one file, or several of which each has the same share of the last axis.
        kind: the type of a number, with its byte order.
        sizes: extents, the axis first whose neighbours are neighbours in the file.
        stored: how the files store them.
        start: the byte of a file with which the voxels begin, or `AT_END`.
        lines: lines to skip from there on.
        skip: bytes to skip after these, decompressed.
    """

    files: tuple[Path, ...]
    kind: np.dtype
    sizes: tuple[int, ...]
    stored: Stored = "raw"
    start: int = 0
    lines: int = 0
    skip: int = 0


def read_voxels(layout: Layout, header: Path, expected: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return voxels in the extents of a layout, in the machine's byte order, and remarks on them.

    Args:
        layout: where they are.
        header: the file that says so.
        expected: what the files should be, for messages.

    Raises:
        InputError: a file is missing, damaged, cut short or no regular file; the message names it.
    """
    whole = math.prod(layout.sizes)
    share = whole // len(layout.files)
    for file in layout.files:
        _check(layout, file, share, _wanted(file, header, expected))
    check_memory(header, expected, whole * layout.kind.itemsize)
    flat = np.empty(whole, layout.kind)
    remarks: list[str] = []
    for number, file in enumerate(layout.files):
        part = flat[number * share : (number + 1) * share]
        found = _fill(part, layout, file, _wanted(file, header, expected))
        remarks += found if file == header else [f"{file.name}: {remark}" for remark in found]
    if not layout.kind.isnative:
        flat = flat.byteswap(inplace=True).view(layout.kind.newbyteorder("="))
    return flat.reshape(layout.sizes, order="F"), tuple(remarks)


def _wanted(file: Path, header: Path, expected: str) -> str:
    """Return what a file should be, for messages."""
    return expected if file == header else f"the voxels of {header.name}"


def _check(layout: Layout, file: Path, share: int, expected: str) -> None:
    """Check that a file can hold its share of the voxels."""
    with open_regular(file, expected) as stream:
        size = os.fstat(stream.fileno()).st_size
    held = max(size - max(layout.start, 0), 0)
    needed = share * (1 if layout.stored == "text" else layout.kind.itemsize)
    if layout.stored == "raw" and needed > held:
        raise _cut_short(layout, file, expected, held, needed)
    if layout.stored == "text":
        held += 1  # no space follows the last number
    check_size(file, expected, layout.sizes, needed, held, layout.stored)


def _cut_short(layout: Layout, file: Path, expected: str, found: int, needed: int) -> InputError:
    why = f"its header says {layout.sizes}, {found} of {needed} bytes are there"
    return InputError(file, expected, found=TRUNCATED, reason=why)


def _fill(part: np.ndarray, layout: Layout, file: Path, expected: str) -> tuple[str, ...]:
    """Read a file's share of the voxels."""
    wanted = part.view(np.uint8).data
    with open_regular(file, expected) as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(size - len(wanted) if layout.start == AT_END else layout.start)
        for _ in range(layout.lines):
            if not stream.readline():
                break
        if layout.stored == "text":
            part[:] = _numbers(stream.read(), layout.kind, len(part), file, expected)
            return ()
        if layout.stored == "raw":
            stream.seek(layout.skip, os.SEEK_CUR)
            done = stream.readinto(wanted)  # type: ignore[attr-defined]
            surplus, trailing = size - stream.tell(), 0
        else:
            inflated = Inflated(stream, layout.stored, file, expected)
            inflated.seek(layout.skip)
            done = inflated.readinto(wanted)
            surplus, trailing = inflated.finish(), inflated.trailing
    if done < len(wanted):
        raise _cut_short(layout, file, expected, done, len(wanted))
    return remarks_on(surplus, trailing)


def _numbers(text: bytes, kind: np.dtype, many: int, file: Path, expected: str) -> np.ndarray:
    """Return numbers that are written as text.

    Raises:
        InputError: they are too few or too many, are none, or do not fit the type.
    """
    words = text.replace(b",", b" ").split()
    if len(words) != many:
        raise InputError(file, expected, found=f"{len(words)} numbers in place of {many}")
    try:
        numbers = [int(word) if kind.kind in "iu" else float(word) for word in words]
        return np.array(numbers, kind.newbyteorder("="))
    except (ValueError, OverflowError) as error:
        raise InputError(file, expected, reason=str(error)) from None
