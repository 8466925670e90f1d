"""How long a decoder may take and how much memory it may use, by the size of what it reads."""

from collections.abc import Callable
from pathlib import Path

from diffrect.errors import InputError
from diffrect.imaging.decode import LARGEST_GZIP_RATIO, TRUNCATED

FIXED_SECONDS = 30.0
AMOUNT_PER_SECOND = 10**6
FIXED_BYTES = 2**30
BYTES_PER_AMOUNT = 32
SMALL = 2**26
"""Bytes that any file may decode to, however small it is: a blank picture needs next to none."""

_listeners: list[Callable[[int], None]] = []


def seconds_for(amount: int) -> float:
    """Return how long a decoder may take: 30 s, and a second for each million.

    Args:
        amount: values that the header announces, or bytes of the file if they are more.
    """
    return FIXED_SECONDS + amount / AMOUNT_PER_SECOND


def bytes_for(amount: int) -> int:
    """Return how much memory a decoder may use: 1 GiB, and 32 bytes per value, see `seconds_for`.

    It holds the file, the values, and copies of them as other number types.
    """
    return FIXED_BYTES + BYTES_PER_AMOUNT * amount


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def announce(values: int) -> None:
    """Say how many values are about to be decoded, which sets the limits of time and memory.

    Outside of the decoders' process this does nothing.
    """
    for listener in _listeners:
        listener(values)


def on_announcement(listener: Callable[[int], None]) -> None:
    """Have a function called with what is announced."""
    _listeners[:] = [listener]


def check_promise(
    path: Path,
    expected: str,
    announced: object,
    promised: int,
    *,
    held: int | None = None,
    ratio: int = LARGEST_GZIP_RATIO,
) -> None:
    """Refuse a file whose header announces more bytes than its contents can decode to.

    Args:
        path: the file.
        expected: what it should be.
        announced: what the header says, for the message.
        promised: bytes of the decoded values.
        held: bytes that they are decoded from; None for the whole file.
        ratio: the most bytes per byte that the compression gives.

    Raises:
        InputError: no compression is that good; a few megabytes are always accepted.
    """
    size = path.stat().st_size if held is None else held
    if promised > SMALL and promised > ratio * size:
        of_them = "" if held is None else " for them"
        why = f"its header says {announced}, the file has {size} bytes{of_them}"
        raise InputError(path, expected, found=TRUNCATED, reason=why)
