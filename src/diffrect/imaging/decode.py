"""Keep foreign decoders in check: whatever they raise or print becomes one line."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrect.checks import regular_file
from diffrect.errors import InputError

LARGEST_GZIP_RATIO = 1032
"""The most bytes per byte of a gzip file: deflate packs 258 bytes into 2 bits at best."""
TRUNCATED = "one that seems truncated"
"""What was found in place of a readable file whose end is missing."""


@contextmanager
def decoding(path: Path, expected: str, found: str | None = None) -> Iterator[None]:
    """Turn whatever reading a file raises into an `InputError`.

    A decoder may raise anything when it stumbles over a damaged file, so all exceptions are caught.
    Warnings are dropped.

    Args:
        path: the file.
        expected: what it should be, such as "a readable NIfTI file".
        found: what it probably is instead.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError:
        why = "it asks for more memory than there is, or than its size explains"
        raise InputError(path, expected, found=found, reason=why) from None
    except Exception as error:
        raise InputError(path, expected, found=found, reason=reason(error)) from None


def check_file(path: Path, expected: str) -> None:
    """Check that a path is a file that may be read and is not empty.

    Args:
        path: the file.
        expected: what it should be, such as "a NIfTI file".

    Raises:
        InputError: it is not.
    """
    regular_file(path, expected)
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise InputError(path, expected, reason=reason(error)) from None
    if empty:
        raise InputError(path, expected, found="an empty file")


def reason(error: Exception) -> str:
    """Return what an exception says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    # ITK begins with a place in its source and names objects by their addresses.
    text = re.sub(r"^Exception thrown in SimpleITK (.*?ERROR: |.*?\.[a-z]+:\d+[ ()]*: ?)", "", text)
    text = re.sub(r"\(0x[0-9a-f]+\)", "", text).partition(" Reason: ")[0]
    text = re.sub(r"^(\w+ImageIO|Image): ", "", text.rpartition("[nrrd] ")[2])
    return text.rstrip(". ")


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Keep C++ libraries from writing to the terminal, which they do without asking Python."""
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
