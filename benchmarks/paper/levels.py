"""Volumes as small whole numbers and one constant each, without any loss.

Scanners give whole numbers, and a store holds them scaled per volume: minmax makes float32(j / R)
of the j-th step above the smallest of R steps. The smallest R for which this is so, for every value
and to the last bit, is found from the values alone. A volume of other values keeps them as a table,
and j counts through it. Neighbours predict j (left + above - above left); what is left is mostly a
few small numbers, which LZMA packs.
"""

import hashlib
import lzma
from typing import Any

import numpy as np

from diffrect.errors import InputError

MOST = 2**16  # different values that 16 bits tell apart
_FEW = 32  # values that rule out most R
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 4, "lp": 0, "pb": 0}]


def packed(values: np.ndarray, name: str) -> tuple[dict[str, Any], bytes]:
    """Return what unpacks an array, as plain values, and its packed content.

    Args:
        values: an image (Z, C, H, W) float32 in [0, 1], or labels (Z, H, W) uint8.
        name: what messages call it.

    Raises:
        InputError: an image of more than 65,536 different values, or one that unpacking would
            change.
    """
    facts: dict[str, Any] = {"shape": list(values.shape), "dtype": str(values.dtype)}
    facts["sha256"] = digest(values)
    if values.dtype == np.uint8:
        return facts, _squeezed(values.tobytes())
    levels = np.unique(values)
    if len(levels) > MOST:
        raise InputError(name, f"at most {MOST} different intensities", found=len(levels))
    steps = steps_of(levels)
    if steps is None:
        whole, table = np.searchsorted(levels, values), levels.tobytes()
    else:
        whole, table = np.rint(values.astype(np.float64) * steps), b""
    facts.update({"levels": len(levels)} if steps is None else {"steps": steps})
    content = _squeezed(table + _residues(whole.astype(np.uint16)))
    unpacked(content, facts, name)  # proves it
    return facts, content


def unpacked(content: bytes, facts: dict[str, Any], name: str) -> np.ndarray:
    """Return the array that `packed` was given, bit for bit.

    Raises:
        InputError: it is not that, by the checksum of its bits.
    """
    shape, kind = tuple(facts["shape"]), np.dtype(facts["dtype"])
    try:
        raw = lzma.decompress(content, format=lzma.FORMAT_RAW, filters=_FILTERS)
        if kind == np.uint8:
            values = np.frombuffer(raw, np.uint8).reshape(shape)
        elif "steps" in facts:
            values = (_whole(raw, shape) / facts["steps"]).astype(np.float32)
        else:
            table = np.frombuffer(raw, np.float32, facts["levels"])
            values = table[_whole(raw[table.nbytes :], shape)]
    except (lzma.LZMAError, ValueError, IndexError) as error:
        raise InputError(name, "an array as it was packed", reason=error) from None
    if digest(values) != facts["sha256"]:
        raise InputError(name, "the bits that were packed, they differ")
    return values


def steps_of(levels: np.ndarray) -> int | None:
    """Return the smallest R below 2^16 by which every value is float32(j / R); None if none is.

    Args:
        levels: the different values, float32 in [0, 1].
    """
    few = levels[:: max(1, len(levels) // _FEW)].astype(np.float64)
    for steps in range(1, MOST):
        if _divides(few, steps) and _divides(levels.astype(np.float64), steps):
            return steps
    return None


def digest(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's bits, in hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _divides(values: np.ndarray, steps: int) -> bool:
    whole = np.rint(values * steps) / steps
    return bool((whole.astype(np.float32) == values.astype(np.float32)).all())


def _squeezed(raw: bytes) -> bytes:
    return lzma.compress(raw, format=lzma.FORMAT_RAW, filters=_FILTERS)


def _residues(whole: np.ndarray) -> bytes:
    """Return how numbers (..., H, W) uint16 differ from their prediction, low bytes first."""
    change = whole.copy()
    change[..., 1:, :] -= whole[..., :-1, :]
    down = change.copy()
    change[..., 1:] -= down[..., :-1]
    signed = change.view(np.int16)
    folded = ((signed << 1) ^ (signed >> 15)).view(np.uint16)  # 0, -1, 1, -2 ... as 0, 1, 2, 3 ...
    return (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()


def _whole(raw: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Return the numbers (..., H, W) uint16 whose `_residues` these are."""
    low, high = np.frombuffer(raw, np.uint8).reshape(2, *shape).astype(np.uint16)
    folded = low | high << 8
    change = (folded >> 1) ^ -(folded & 1)
    down = np.cumsum(change, axis=-1, dtype=np.uint16)
    return np.cumsum(down, axis=-2, dtype=np.uint16)
