"""Choose the split of a training: from a file, the data set's own, or drawn from the seed."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from diffrect.config import TrainConfig
from diffrect.console import warn
from diffrect.data.split import Split
from diffrect.data.splits.blocks import check_blocks, choose_blocks
from diffrect.data.splits.drawn import DRAWN_AS_USUAL, HeldOut, draw_split
from diffrect.data.splits.labelled import ALL, choose_labelled
from diffrect.data.splits.split_file import read_split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.processes import speaker

# A name with a number, and then the part that says which of the patient's scans it is.
_SCAN_OF_PATIENT = re.compile(r"(.*\d.*?)[_-][^_-]+$")


# Data sets whose papers train on few of many labels; their first patient is labelled by default.
_PUBLISHED = ("acdc", "ssl4mis", "mscmr19")


def split_of(store: Store, config: TrainConfig) -> Split:
    """Return the split that a configuration asks for, see `resolve_split`."""
    return resolve_split(
        store,
        split_file=config.split_file,
        labelled=config.labelled,
        seed=config.seed,
        held_out=HeldOut(config.val_patients, config.test_patients),
        validate_slices=config.validate_slices,
    )


def resolve_split(
    store: Store,
    *,
    split_file: Path | None = None,
    labelled: str | None = None,
    seed: int = 1337,
    held_out: HeldOut = DRAWN_AS_USUAL,
    validate_slices: float | None = None,
) -> Split:
    """Return the split to train with, checked against the store.

    The parts come from `split_file`, else from the store's official split, else from the seed, see
    `HeldOut`: of the patients with labels, 20 per cent test and 10 validate, and everyone else
    trains.

    Args:
        store: the prepared data set.
        split_file: JSON with the lists train, val, and optionally test and labelled; or a fold of
            nnU-Net's splits_final.json, as splits_final.json:0.
        labelled: "all" training patients with labels, a count of them ("3"), a percentage rounded
            down ("5%"), or a text file with one patient id per line. None takes the file's list;
            without one, all, but of a published data set with its own split one.
        seed: draws the split if neither a file nor the data set gives one.
        held_out: how many patients a drawn split keeps from the training.
        validate_slices: share of each labelled scan that validates in the place of patients.

    Returns:
        The split with its labelled patients.

    Raises:
        InputError: an id that is unknown or in two parts, an empty part, a patient to be
            labelled or held out who has no labels, more labelled patients than there are.
    """
    patients = patients_by_label(store)
    if split_file is not None:
        cases = {case: record.patient for case, record in store.cases.items()}
        split = _named_as_in(store, read_split(split_file, cases))
    elif store.official_split is not None:
        split = store.official_split
    else:
        if validate_slices is not None and held_out.val is None:
            held_out = replace(held_out, val=0)
        split = draw_split(str(store.path), patients, held_out, seed)
    drawn = split_file is None and store.official_split is None
    where = str(split_file or f"{store.path}: {'drawn' if drawn else 'official'} split")
    if not drawn:
        _check_not_counted(held_out, where)
    _check_parts(split, patients, where)
    if labelled is not None or not split.labelled:
        published = store.official_split is not None and store.format in _PUBLISHED
        labelled = labelled or ("1" if published else ALL)
        chosen = choose_labelled(labelled, split, patients, drawn=drawn)
        split = _named_as_in(store, replace(split, labelled=chosen))
        where = f"--labelled {labelled}"
    _check_labelled(split, patients, where)
    if validate_slices is not None:
        split = _with_blocks(store, split, validate_slices)
    check_blocks(split, store.cases, where)
    _warn_of_shared_patients(store, split)
    return split


def origin_of_split(store: Store, config: TrainConfig) -> str:
    """Return in words where `split_of` takes a split from."""
    if config.split_file is not None:
        return str(config.split_file)
    return "official split" if store.official_split is not None else f"drawn, seed {config.seed}"


def check_split(split: Split, store: Store, origin: str) -> None:
    """Check that a split suits a store; `origin` says in messages where the split comes from.

    Raises:
        InputError: as `resolve_split`.
    """
    patients = patients_by_label(store)
    _check_parts(split, patients, origin)
    _check_labelled(split, patients, origin)
    check_blocks(split, store.cases, origin)


def _with_blocks(store: Store, split: Split, share: float) -> Split:
    """Return the split with a block of each labelled scan left out."""
    if split.val or split.val_slices:
        got = f"{len(split.val)} to validate" if split.val else "a split with val_slices"
        expected = "a split in which nobody validates"
        raise InputError("--validate-slices", expected, got=got, setting="validate_slices")
    blocks = choose_blocks(split.labelled, store.cases.values(), share)
    return replace(split, val_slices=tuple(map(str, blocks)))


def patients_by_label(store: Store) -> dict[str, bool]:
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


def _check_not_counted(held_out: HeldOut, where: str) -> None:
    """Refuse to count patients where a file or the data set names them."""
    for name, number in (("val_patients", held_out.val), ("test_patients", held_out.test)):
        if number is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(option, "a split that is drawn", got=where, setting=name)


def _check_parts(split: Split, patients: dict[str, bool], origin: str) -> None:
    seen: dict[str, str] = {}
    for name in ("train", "val", "test"):
        part: tuple[str, ...] = getattr(split, name)
        if not part and name == "train":
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
