"""Choose whose labels a training uses: all, a count, a share, or those that a file names."""

import contextlib
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from diffrect.data.split import Split
from diffrect.data.splits.chosen import read_patients
from diffrect.errors import InputError

ALL = "all"
_MOST_DIGITS = 9  # of a number of patients
# Short, because Python works out whatever number an exponent asks for.
_SHARE = re.compile(r"\d{1,9}(\.\d{0,12})?(e[+-]?\d{1,2})?(/\d{1,9})?", re.IGNORECASE)


def choose_labelled(
    labelled: str, split: Split, patients: Mapping[str, bool], *, drawn: bool
) -> tuple[str, ...]:
    """Return the first training patients with labels, or those named in a file.

    Args:
        labelled: "all", a count, a percentage of the training patients with labels, or the file.
        split: its training patients, in the order in which they are chosen.
        patients: whether each patient has labels.
        drawn: whether nobody but the seed has named the patients who validate and test.

    Raises:
        InputError: something else, or more patients than there are.
    """
    text = labelled.strip()
    share = text.removesuffix("%")
    available = [patient for patient in split.train if patients.get(patient)]
    if not available:
        raise InputError("--labelled", "a training patient with labels", found="none")
    if text == ALL:
        count = len(available)
    elif text.isdecimal():
        count = int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS
    elif text != share:
        count = max(1, int(len(available) * _percentage(share)))
    else:
        return _listed(Path(labelled))
    if count < 1:
        raise _bad_labelled("at least 1 patient", text)
    if count > len(available):
        expected = f"at most the {len(available)} training patients with labels"
        raise _bad_labelled(expected, text, _others(split) if drawn else None)
    return tuple(available[:count])


def _others(split: Split) -> str | None:
    """Return where the labels are that the training does not have."""
    held_out = [
        f"{len(part)} to {verb}"
        for part, verb in ((split.val, "validate"), (split.test, "test"))
        if part
    ]
    if not held_out:
        return None
    return f"others are kept {' and '.join(held_out)}, see --val-patients and --test-patients"


def _bad_labelled(expected: str, got: object, hint: str | None = None) -> InputError:
    return InputError("--labelled", expected, got=got, hint=hint, setting="labelled")


def _percentage(share: str) -> Fraction:
    fraction = Fraction(0)
    if _SHARE.fullmatch(share.strip()):
        with contextlib.suppress(ValueError, ZeroDivisionError):  # 1.5/2, 1/0
            fraction = Fraction(share.strip()) / 100
    if not 0 < fraction <= 1:
        raise _bad_labelled("a percentage above 0, up to 100", f"{share}%")
    return fraction


def _listed(file: Path) -> tuple[str, ...]:
    if not file.is_file():
        raise _bad_labelled("all, a count, a percentage or a text file", file)
    return read_patients(file)
