"""Label codes as files hold them -> whole numbers -> class codes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume

_ROUNDING = 1e-4  # of codes that were divided and multiplied by a slope


def whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    """Return label codes as an integer array; uint8 and other integer types are not copied.

    Args:
        array: codes of any real number type.
        path: the file they come from, for messages.

    Raises:
        InputError: a code is negative, fractional or not finite.
    """
    codes = array
    if not np.issubdtype(array.dtype, np.integer):
        if not np.isfinite(array).all():
            raise InputError(path, "label codes", found="NaN or infinity")
        if array.size and np.abs(array).max() > 2**53:
            raise InputError(path, "label codes", found=f"{np.abs(array).max():g}")
        codes = np.rint(array).astype(np.int64)
        if not np.allclose(codes, array, rtol=0, atol=_ROUNDING):
            raise InputError(path, "whole label codes", found="fractions")
    if codes.size and codes.min() < 0:
        raise InputError(path, "label codes from 0 up", found=codes.min())
    return codes


def map_codes(volume: Volume, codes: Mapping[int, int]) -> Volume:
    """Replace the label codes of a file by class codes.

    Args:
        volume: the label map as its file holds it.
        codes: label code in the file -> class code or `IGNORED`; empty if they are the same.

    Raises:
        InputError: the label map has a code that `codes` does not list.
    """
    if not codes:
        return volume
    array = volume.array
    table = np.full(max(codes) + 1, -1, dtype=np.int16)
    for code, ours in codes.items():
        table[code] = ours
    highest = int(array.max(initial=0))
    if highest < len(table):
        mapped = table[array]
        if mapped.min(initial=0) >= 0:
            return replace(volume, array=mapped.astype(np.uint8))
        highest = int(array[mapped < 0].max())
    raise InputError(volume.path, f"label codes {_listed(codes)}", found=highest)


def _listed(codes: Mapping[int, int]) -> str:
    names = sorted(codes)
    if names == list(range(len(names))):
        return f"0 to {len(names) - 1} ({len(names)} classes)"
    return ", ".join(map(str, names))
