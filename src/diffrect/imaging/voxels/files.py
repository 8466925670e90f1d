"""Files of voxels: only regular ones are opened, and only beside the header that names them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from diffrect.checks import regular_file
from diffrect.errors import InputError
from diffrect.imaging.decode import LARGEST_GZIP_RATIO, TRUNCATED, reason

_MOST_FILES = 2**13
LARGEST_RATIO = {
    "raw": 1.0,
    "text": 0.5,  # a digit and a space per value, counted in values
    "gzip": LARGEST_GZIP_RATIO,
    "zlib": LARGEST_GZIP_RATIO,
    # 900,000 bytes per block, each 5 of which may stand for 259, in 37 bytes at best.
    "bzip2": 900_000 / 5 * 259 / 37,
}
"""The most bytes of voxels per byte of a file, by how it stores them."""


def open_regular(path: Path, expected: str) -> BinaryIO:
    """Open a file for reading, unless it is a pipe, a device or a folder.

    Args:
        path: the file.
        expected: what it should be, for messages.

    Raises:
        InputError: it is none, or may not be read.
    """
    regular_file(path, expected)
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(path, expected, reason=reason(error)) from None


def voxel_file(header: Path, name: str) -> Path:
    """Return the file of voxels that a header names; it lies in the header's folder.

    Args:
        header: the file whose header it is.
        name: what stands there.

    Raises:
        InputError: it is no plain name, or leads elsewhere through a symbolic link.
    """
    _check_name(header, name)
    return check_place(header, header.parent.joinpath(*name.removeprefix("./").split("/")))


def voxel_files(header: Path, names: Sequence[str], wanted: int) -> tuple[Path, ...]:
    """Return the files of voxels that a header lists, see `voxel_file`.

    Args:
        header: the file whose header it is.
        names: what stands there.
        wanted: how many there must be.

    Raises:
        InputError: one leads elsewhere, or they are too few or too many.
    """
    for name in names:
        _check_name(header, name)
    if len(names) != wanted or wanted > _MOST_FILES:
        wanted = min(wanted, _MOST_FILES)
        raise InputError(header, f"{wanted} files of voxels in its list", found=len(names))
    return tuple(voxel_file(header, name) for name in names)


def _check_name(header: Path, name: str) -> None:
    """Refuse what is no plain name of a file, by its letters alone."""
    parts = name.removeprefix("./").split("/")
    plain = name.isprintable() and not any(mark in name for mark in "\\%:") and name[:1] != "~"
    if not plain or any(part in ("", ".", "..") for part in parts):
        raise InputError(header, "its voxels in a file of its folder", got=name or "no name")


def check_place(header: Path, file: Path) -> Path:
    """Return a file of voxels if no symbolic link leads it out of its header's folder.

    If the header is a link itself, the file may also be where that leads.

    Raises:
        InputError: it lies elsewhere.
    """
    real = Path(os.path.realpath(file))
    homes = (os.path.realpath(header.parent), Path(os.path.realpath(header)).parent)
    if not any(real.is_relative_to(home) for home in homes):
        got = f"{file.name}, a link that leads out of it"
        raise InputError(header, "its voxels in a file of its folder", got=got)
    return file


def check_size(
    path: Path, expected: str, shape: Sequence[int], needed: int, held: int, stored: str
) -> None:
    """Refuse a header that promises more than its file can hold.

    Args:
        path: the file, for messages.
        expected: what it should be.
        shape: the extents in its header.
        needed: bytes of voxels that these mean (for text, values).
        held: bytes in which they are stored.
        stored: how, a key of `LARGEST_RATIO`.

    Raises:
        InputError: the file is too short.
    """
    if needed > held * LARGEST_RATIO[stored]:
        why = f"its header says {tuple(shape)}, the file has {held} bytes"
        raise InputError(path, expected, found=TRUNCATED, reason=why)


def check_memory(path: Path, expected: str, needed: int) -> None:
    """Refuse what needs more bytes than the machine has memory, before any is taken.

    Raises:
        InputError: it does; a system that promises more than it has would end the process.
    """
    if needed > _memory():
        raise InputError(path, expected, reason="it asks for more memory than there is")


def _memory() -> float:
    """Return the bytes of memory of the machine; infinity if it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")
