"""Choose cases of a store by what a training did with them, or by their patients."""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.errors import InputError, brief
from diffrect.text_files import read_text

ALL, TRAIN = "all", "train"
_PARTS = ("unlabelled", "labelled", "val", "test")
WORDS = (*_PARTS, TRAIN, ALL)
"""What stands for cases in place of patients."""


def part_of(case: CaseRecord, split: Split) -> str:
    """Return what a training did with a case: a word, or "" if the split does not name its patient.

    `labelled` and `unlabelled` are those of training patients, `val` and `test` those held out. An
    unlabelled scan of a labelled patient is `unlabelled`.
    """
    if case.patient in split.labelled and case.labelled:
        return "labelled"
    if case.patient in split.train:
        return "unlabelled"
    return next((part for part in ("val", "test") if case.patient in getattr(split, part)), "")


def choose_cases(
    wanted: str, cases: Mapping[str, CaseRecord], split: Split, option: str = "--patients"
) -> list[CaseRecord]:
    """Return the cases that are wanted, in the order of the store.

    Args:
        wanted: one of `WORDS`; patients with commas between them; or a text file with one patient
            id per line.
        cases: those of the store, by id.
        split: what the training did with them.
        option: what messages call `wanted`.

    Raises:
        InputError: a patient whom the store does not have, or no case at all.
    """
    text = wanted.strip()
    if text == ALL:
        chosen = list(cases.values())
    elif text in WORDS:
        parts = _PARTS[:2] if text == TRAIN else (text,)
        chosen = [case for case in cases.values() if part_of(case, split) in parts]
    else:
        patients = _known(_listed(text, option), cases.values(), option)
        chosen = [case for case in cases.values() if case.patient in patients]
    if not chosen:
        raise InputError(f"{option} {text}", "at least one case", found="none")
    return chosen


def read_patients(file: Path) -> tuple[str, ...]:
    """Return the patients that a text file lists, one id per line, each once.

    Raises:
        InputError: it cannot be read, or lists none.
    """
    expected = "one patient id per line"
    lines = read_text(file, expected).splitlines()
    patients = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not patients:
        raise InputError(file, expected, found="none")
    return patients


def _listed(text: str, option: str) -> tuple[str, ...]:
    if _is_file(text):
        return read_patients(Path(text))
    listed = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    if not listed:
        raise InputError(option, f"{', '.join(WORDS)}, patients or a file of them", got="none")
    return listed


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a file's name; a zero byte
        return False


def _known(listed: Iterable[str], cases: Iterable[CaseRecord], option: str) -> set[str]:
    """Return the patients as the store spells them, see `choose_split`."""
    names = {unicodedata.normalize("NFC", case.patient): case.patient for case in cases}
    known = {one: names.get(unicodedata.normalize("NFC", one)) for one in listed}
    strange = [one for one, patient in known.items() if patient is None]
    if strange:
        expected = f"{', '.join(WORDS)}, patients of the store or a file of them"
        raise InputError(option, expected, got=brief(", ".join(strange[:5])))
    return {patient for patient in known.values() if patient is not None}
