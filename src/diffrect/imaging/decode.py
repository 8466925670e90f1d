"""Foreign decoders kept in check: whatever they raise or print becomes one line."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrect.errors import InputError


@contextmanager
def decoding(path: Path, kind: str) -> Iterator[None]:
    """Turn anything that reading ``path`` raises into an `InputError`; ``kind`` is what was
    expected, such as "a readable NIfTI file".

    Decoders raise whatever a damaged file makes them stumble over, so all exceptions are caught.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError:
        fault = "it asks for more memory than there is"
        raise InputError(f"{path}: expected {kind}: {fault}") from None
    except Exception as error:
        raise InputError(f"{path}: expected {kind}: {reason(error)}") from None


def check_file(path: Path, kind: str) -> None:
    """Refuse what is no file, an empty one, or one that may not be read.

    Raises:
        InputError: see above.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected {kind}, found no such file")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise InputError(f"{path}: expected {kind}: {reason(error)}") from None
    if empty:
        raise InputError(f"{path}: expected {kind}, found an empty file")


def reason(error: Exception) -> str:
    """What an exception says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    # ITK: a place in its source, then what went wrong in an object at some address.
    text = re.sub(r"^Exception thrown in SimpleITK (.*?ERROR: |.*?\.[a-z]+:\d+[ ()]*: ?)", "", text)
    text = re.sub(r"\(0x[0-9a-f]+\)", "", text).partition(" Reason: ")[0]
    text = re.sub(r"^(\w+ImageIO|Image): ", "", text.rpartition("[nrrd] ")[2])
    return text.rstrip(". ")


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Keep libraries in C++ from writing to the terminal past Python."""
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
