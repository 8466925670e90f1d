"""Voxels under a binary header that nibabel knows, in files named after their compression."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.arrayproxy import ArrayProxy

from diffrect.errors import InputError
from diffrect.imaging.voxels.files import check_memory, check_size, open_regular
from diffrect.imaging.voxels.streams import ENDLESS, Compression, Inflated


@contextmanager
def opened(file: Path, path: Path, expected: str) -> Iterator[Any]:
    """Open a file, decompressed if its name says that it is compressed.

    Args:
        file: the file to open.
        path: the file that was asked for, for messages.
        expected: what it should be.
    """
    compression = _compression(file)
    with open_regular(file, expected) as stream:
        yield Inflated(stream, compression, path, expected) if compression else stream


def _compression(file: Path) -> Compression | None:
    name = file.name.lower()
    return "gzip" if name.endswith((".gz", ".mgz")) else "bzip2" if name.endswith(".bz2") else None


def scaled_voxels(
    file: Path, header: Any, offset: int, path: Path, expected: str
) -> tuple[np.ndarray, int, int]:
    """Return the voxels of a file as nibabel scales them, and how many bytes follow.

    Args:
        file: the file that holds them.
        header: nibabel's header of it.
        offset: the byte with which they begin.
        path: the file that was asked for, for messages.
        expected: what it should be.

    Returns:
        The voxels, the bytes after them, and the bytes after all compressed data.
    """
    shape = tuple(int(n) for n in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise InputError(path, "a 3-D volume", got=f"shape {shape}")
    needed = math.prod(shape) * int(header.get_data_dtype().itemsize)
    scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    compression = _compression(file)
    if compression and offset > ENDLESS:
        raise InputError(path, expected, reason=f"its voxels begin at byte {offset}")
    with opened(file, path, expected) as stream:
        size = file.stat().st_size
        check_size(path, expected, shape, needed, size, compression or "raw")
        if compression or scaled:  # else the file is mapped into memory
            check_memory(path, expected, needed + 8 * math.prod(shape) * scaled)
        array = np.asanyarray(ArrayProxy(stream, header, mmap=compression is None))
        if compression is None:
            return array, max(size - offset - needed, 0), 0
        return array, stream.finish(), stream.trailing
