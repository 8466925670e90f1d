"""Several inputs, of which some may fail while the others are done."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from diffrect.errors import InputError, PartialFailure

Result = TypeVar("Result")


def attempt(subject: Path, place: Path, make: Callable[[], Result]) -> Result | InputError:
    """Return what is made of an input, or what is wrong with it.

    Args:
        subject: the input.
        place: the file that is written for it.
        make: does the work.
    """
    try:
        return make()
    except InputError as error:
        return error
    except (MemoryError, torch.OutOfMemoryError):
        return InputError(subject, problem="needs more memory than there is")
    except OSError as error:  # A full disk, for example, may have room for the next, smaller file.
        return InputError(error.filename or place, reason=error.strerror or error)


def refuse_failures(
    faults: Mapping[Path, InputError], done: Sequence[Path], number: int, noun: str = "inputs"
) -> None:
    """Report the inputs that failed, if any did.

    Args:
        faults: what is wrong with them.
        done: the files written for the others.
        number: number of all inputs.
        noun: what they are.

    Raises:
        InputError: the only input failed.
        PartialFailure: some of several failed.
    """
    if not faults:
        return
    if number == 1:
        raise next(iter(faults.values()))
    failures = {file: str(fault) for file, fault in faults.items()}
    summary = f"{len(failures)} of {number} {noun} failed: {'; '.join(failures.values())}"
    raise PartialFailure(summary, done, failures)
