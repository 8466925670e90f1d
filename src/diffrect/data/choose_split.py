"""Choose the split of a training: from a file, the data set's own, or drawn from the seed."""

import contextlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from diffrect.console import warn
from diffrect.data.split import Split
from diffrect.data.split_file import read_split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.processes import speaker
from diffrect.text_files import read_text

# A name with a number, and then the part that says which of the patient's scans it is.
_COUNT = re.compile(r"\d{1,9}")
# Short, because Python works out whatever number an exponent asks for.
_SHARE = re.compile(r"\d{1,9}(\.\d{0,12})?(e[+-]?\d{1,2})?(/\d{1,9})?", re.IGNORECASE)
_SCAN_OF_PATIENT = re.compile(r"(.*\d.*?)[_-][^_-]+$")


def resolve_split(
    store: Store, *, split_file: Path | None = None, labelled: str | None = None, seed: int = 1337
) -> Split:
    """Return the split to train with, checked against the store.

    The parts come from `split_file`, else from the store's official split, else from the seed:
    20 per cent of the patients with labels for testing, 10 for validation, everyone else for
    training.

    Args:
        store: the prepared data set.
        split_file: JSON with the lists train, val, and optionally test and labelled; or a fold of
            nnU-Net's splits_final.json, as splits_final.json:0.
        labelled: a count of patients ("3"), a percentage of the training patients rounded down
            ("5%"), or a text file with one patient id per line. None takes the file's list, else
            one patient.
        seed: draws the split if neither a file nor the data set gives one.

    Returns:
        The split with its labelled patients.

    Raises:
        InputError: an id that is unknown or in two parts, an empty part, a patient to be
            labelled or held out who has no labels, more labelled patients than there are.
    """
    patients = _patients_by_label(store)
    if split_file is not None:
        cases = {case: record.patient for case, record in store.cases.items()}
        split, origin = read_split(split_file, cases), str(split_file)
        split = _named_as_in(store, split)
    elif store.official_split is not None:
        split, origin = store.official_split, f"{store.path}: official split"
    else:
        split, origin = _draw_split(store, patients, seed), f"{store.path}: drawn split"
    _check_parts(split, patients, origin)
    if labelled is not None or not split.labelled:
        labelled = "1" if labelled is None else labelled
        chosen = _choose_labelled(labelled, split.train, patients)
        split = _named_as_in(store, replace(split, labelled=chosen))
        origin = f"--labelled {labelled}"
    _check_labelled(split, patients, origin)
    _warn_of_shared_patients(store, split)
    return split


def check_split(split: Split, store: Store, origin: str) -> None:
    """Check that a split suits a store; `origin` says in messages where the split comes from.

    Raises:
        InputError: as `resolve_split`.
    """
    patients = _patients_by_label(store)
    _check_parts(split, patients, origin)
    _check_labelled(split, patients, origin)


def _patients_by_label(store: Store) -> dict[str, bool]:
    """Return for every patient of the store whether any of the patient's cases has labels."""
    patients: dict[str, bool] = {}
    for case in store.cases.values():
        patients[case.patient] = patients.get(case.patient, False) or case.labelled
    return patients


def _named_as_in(store: Store, split: Split) -> Split:
    """Return the split with the ids as the store spells them.

    The same letters can be spelt in two ways (NFC and NFD), and file systems change one for the
    other.
    """
    names = {unicodedata.normalize("NFC", one.patient): one.patient for one in store.cases.values()}
    parts = split.to_dict()
    return Split.from_dict(
        {
            part: [names.get(unicodedata.normalize("NFC", one), one) for one in ids]
            for part, ids in parts.items()
        }
    )


def _warn_of_shared_patients(store: Store, split: Split) -> None:
    """Say if scans that look like one patient's are on both sides of the split.

    Only where every scan counts as a patient of its own, because nobody has said otherwise: ids
    such as p12_day1 and p12_day3 then share what comes before their last part.
    """
    if speaker() != "0" or any(case != one.patient for case, one in store.cases.items()):
        return
    owners = {case: match[1] for case in store.cases if (match := _SCAN_OF_PATIENT.match(case))}
    number = len(set(owners.values()))
    # Names that all begin alike, or that begin with as many things as there are, say nothing.
    if not 1 < number < len(owners):
        return
    sides = [{owners[p] for p in part if p in owners} for part in (split.train, _held_out(split))]
    shared = sorted(sides[0] & sides[1])
    if shared:
        names = _brief(shared)
        problem = f"scans of {names} are in train and in val or test"
        warn(f"{problem}; if each is one patient, prepare the store with --patients")


def _held_out(split: Split) -> tuple[str, ...]:
    return (*split.val, *split.test)


def _draw_split(store: Store, patients: dict[str, bool], seed: int) -> Split:
    with_labels = sorted(patient for patient, labelled in patients.items() if labelled)
    count = len(with_labels)
    if count < 3:
        raise InputError(store.path, "at least 3 patients with labels", got=count)
    shuffled = [with_labels[i] for i in np.random.default_rng(seed).permutation(count)]
    val = max(1, round(0.1 * count))
    held_out = val + max(1, round(0.2 * count))
    without_labels = sorted(set(patients).difference(with_labels))
    return Split(
        train=(*shuffled[held_out:], *without_labels),
        val=tuple(shuffled[:val]),
        test=tuple(shuffled[val:held_out]),
    )


def _choose_labelled(
    labelled: str, train: tuple[str, ...], patients: dict[str, bool]
) -> tuple[str, ...]:
    """Return the first training patients with labels, or those named in a file.

    Args:
        labelled: how many, as a count or a percentage, or the file.
        train: the training patients in the order in which they are chosen.
        patients: whether each patient has labels.
    """
    text = labelled.strip()
    share = text.removesuffix("%")
    if _COUNT.fullmatch(text):
        count = int(text)
    elif text != share:
        count = max(1, int(len(train) * _percentage(share)))
    else:
        return _listed(Path(labelled))
    if count < 1:
        raise _bad_labelled("at least 1 patient", text)
    available = [patient for patient in train if patients[patient]]
    if count > len(available):
        expected = f"at most the {len(available)} training patients with labels"
        raise _bad_labelled(expected, text)
    return tuple(available[:count])


def _bad_labelled(expected: str, got: object) -> InputError:
    return InputError("--labelled", expected, got=got, setting="labelled")


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
        raise _bad_labelled("a count, a percentage or a text file", file)
    expected = "one patient id per line"
    lines = read_text(file, expected).splitlines()
    patients = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not patients:
        raise InputError(file, expected, found="none")
    return patients


def _check_parts(split: Split, patients: dict[str, bool], origin: str) -> None:
    seen: dict[str, str] = {}
    for name in ("train", "val", "test"):
        part: tuple[str, ...] = getattr(split, name)
        if not part and name != "test":
            raise InputError(origin, f"at least one patient under '{name}'", got="none")
        for patient in part:
            if patient in seen:
                got = f"{patient} under '{seen[patient]}' and '{name}'"
                raise InputError(origin, "each patient once", got=got)
            seen[patient] = name
        _check_known(part, patients, origin)
    _check_have_labels((*split.val, *split.test), patients, origin)


def _check_labelled(split: Split, patients: dict[str, bool], origin: str) -> None:
    _check_known(split.labelled, patients, origin)
    outside = set(split.labelled).difference(split.train)
    if outside:
        raise InputError(origin, "training patients", got=_brief(outside))
    _check_have_labels(split.labelled, patients, origin)


def _check_known(part: Iterable[str], patients: dict[str, bool], origin: str) -> None:
    unknown = set(part).difference(patients)
    if unknown:
        raise InputError(origin, "patients of the store", got=_brief(unknown))


def _check_have_labels(part: Iterable[str], patients: dict[str, bool], origin: str) -> None:
    without = {patient for patient in part if not patients[patient]}
    if without:
        raise InputError(origin, f"labels of {_brief(without)}, the store has none")


def _brief(patients: Collection[str]) -> str:
    first = sorted(patients)[:5]
    return ", ".join(first) + (" ..." if len(patients) > 5 else "")
