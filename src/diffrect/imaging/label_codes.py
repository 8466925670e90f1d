"""Label codes as files hold them -> whole numbers -> class codes, and the one that is no class."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume

IGNORED = 255
"""Label of pixels that nobody annotated; excluded from every loss and metric.

Class codes are uint8 and stop at 254, so 255 is free.
"""
IGNORED_NAMES = ("ignore", "ignored")
"""Names that a data set's list of classes may give it."""
_ROUNDING = 0.01  # of codes that passed through fractions; interpolated ones differ by more
_HIGHEST = 2**53  # float64 holds all whole numbers up to here
_HIGHEST_IN_TABLE = 65535


def whole_numbers(array: np.ndarray, path: Path, step: float = 0.0) -> np.ndarray:
    """Return label codes as an integer array; uint8 and other integer types are not copied.

    Args:
        array: codes of any real number type.
        path: the file they come from, for messages.
        step: the distance of the values that the file can hold. A code that was rounded to one of
            them is up to half a step away from where it was.

    Raises:
        InputError: a code is negative, fractional, not finite or above 2^53.
    """
    codes = array
    if not np.issubdtype(array.dtype, np.integer):
        if not np.isfinite(array).all():
            raise InputError(path, "label codes", found="NaN or infinity")
        if array.size and np.abs(array).max() > _HIGHEST:
            raise InputError(path, "label codes up to 2^53", found=f"{np.abs(array).max():g}")
        codes = np.rint(array).astype(np.int64)
        # From steps of 1 on, whole codes that are not on a step cannot be told apart.
        rounding = max(_ROUNDING, 0.501 * step if step < 1 else 0.0)
        between = np.abs(array - codes) > rounding
        if between.any():
            raise InputError(path, "whole label codes", found=f"{array[between][0]:g}")
    if codes.size and codes.min() < 0:
        raise InputError(path, "label codes from 0 up", found=codes.min())
    if codes.size and codes.max() > _HIGHEST:
        raise InputError(path, "label codes up to 2^53", found=codes.max())
    return codes


def list_codes(array: np.ndarray, most: int) -> list[int]:
    """Return the codes of a label map (X, Y, Z) in their order; the search ends after `most`.

    More than `most` codes mean that there may be others. The memory that this takes depends on how
    many codes there are, not on how high they are.
    """
    found: set[int] = set()
    for plane in np.moveaxis(array, 2, 0):
        found.update(np.unique(plane).tolist())
        if len(found) > most:
            break
    return sorted(found)


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
    if max(codes) > _HIGHEST_IN_TABLE:
        return replace(volume, array=_map_by_search(volume, codes))
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


def _map_by_search(volume: Volume, codes: Mapping[int, int]) -> np.ndarray:
    """Return the class codes plane by plane; a table of codes as high as these takes gigabytes."""
    known = np.array(sorted(codes), dtype=np.int64)
    ours = np.array([codes[code] for code in sorted(codes)], dtype=np.uint8)
    mapped = np.empty_like(volume.array, dtype=np.uint8)
    for index, plane in enumerate(np.moveaxis(volume.array, 2, 0)):
        plane = plane.astype(np.int64, copy=False)
        places = np.searchsorted(known, plane).clip(max=len(known) - 1)
        unknown = known[places] != plane
        if unknown.any():
            highest = plane[unknown].max()
            raise InputError(volume.path, f"label codes {_listed(codes)}", found=highest)
        mapped[:, :, index] = ours[places]
    return mapped


def _listed(codes: Mapping[int, int]) -> str:
    names = sorted(codes)
    if names == list(range(len(names))):
        return f"0 to {len(names) - 1} ({len(names)} classes)"
    return ", ".join(map(str, names))
