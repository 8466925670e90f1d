"""Read the lists of an SSL4MIS folder, which are its split; or take ACDC's official ones."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from diffrect.console import count
from diffrect.data.sources.base import OnProblem
from diffrect.data.sources.files import choose_patient, one_spelling
from diffrect.data.split import Split, acdc_split, restrict_to
from diffrect.errors import InputError
from diffrect.text_files import read_text

SLICE = re.compile(r"(?P<case>.+)_slice_(?P<number>\d{1,18})$")


def patient_of(case: str, pattern: str | None) -> str:
    """Return the patient of a case: what the pattern finds, else the name before `_frame`."""
    return choose_patient(pattern, case) if pattern else case.rsplit("_frame", 1)[0]


def are_acdcs(patients: Iterable[str]) -> bool:
    """Return whether all of these are patients of ACDC."""
    return _acdcs_patients().issuperset(patients)


def _acdcs_patients() -> set[str]:
    split = acdc_split()
    return {*split.train, *split.val, *split.test}


def official_split(
    path: Path, patients: Mapping[str, str], on_problem: OnProblem
) -> tuple[Split | None, list[str]]:
    """Return the split of the folder's lists, or ACDC's, and the patients that are missing of it.

    Args:
        path: folder of the data set.
        patients: case -> patient.
        on_problem: called with each list that is missing, or names what is not there.
    """
    lists = _lists(path)
    complete = {"train", "val"} <= lists.keys()
    if not lists or (not complete and are_acdcs(patients.values())):
        return restrict_to(acdc_split(), set(patients.values()))
    if not complete:
        names = {"train": "train_slices.list", "val": "val.list"}
        absent = next(path / names[part] for part in names if part not in lists)
        beside = next(iter(lists.values())).name
        on_problem(InputError(absent, f"the list that belongs to {beside}", found="no such file"))
        return None, []
    listed = {}
    for part, file in lists.items():
        listed[part] = _listed_patients(file, patients, on_problem)
        if not listed[part] and part != "test":
            on_problem(InputError(file, "at least one case", found="none"))
            return None, []
    return restrict_to(Split.from_dict(listed), set(patients.values()))


def _lists(path: Path) -> dict[str, Path]:
    """Return the lists that are there, by the part of the split that they hold."""
    names = {"train": ("train_slices", "train"), "val": ("val",), "test": ("test",)}
    found: dict[str, Path] = {}
    for part, stems in names.items():
        files = [path / f"{stem}.list" for stem in stems]
        first = next((file for file in files if file.is_file()), None)
        if first is not None:
            found[part] = first
    return found


def _listed_patients(
    file: Path, patients: Mapping[str, str], on_problem: OnProblem
) -> tuple[str, ...]:
    """Return the patients of a list in the order in which they first appear.

    Args:
        file: the list: a case, a slice or a patient per line, maybe with folder and suffix.
        patients: case -> patient.
        on_problem: called if lines name nothing that is there.
    """
    lines = read_text(file, "a readable list of cases").splitlines()
    known = set(patients.values())
    if known <= _acdcs_patients():  # a part of ACDC often comes with the lists of all
        known = _acdcs_patients()
    found: list[str] = []
    unknown: list[str] = []
    for line in filter(None, map(str.strip, lines)):
        name = one_spelling(PurePosixPath(line.replace("\\", "/")).name.removesuffix(".h5"))
        match = SLICE.match(name)
        case = match["case"] if match and name not in patients else name
        patient = patients.get(case, case if case in known else patient_of(case, None))
        if patient in known:
            found.append(patient)
        else:
            unknown.append(case)
    if unknown:
        names = list(dict.fromkeys(unknown))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        expected = f"cases of {file.parent / 'data'}"
        on_problem(InputError(file, expected, got=f"{names[0]}{more}"))
    return tuple(dict.fromkeys(found))


def unlisted(path: Path, patients: Mapping[str, str], split: Split | None) -> tuple[str, ...]:
    """Say which cases are in no part of the split."""
    if split is None:
        return ()
    listed = {*split.train, *split.val, *split.test}
    names = [case for case, patient in patients.items() if patient not in listed]
    if not names:
        return ()
    are = "is" if len(names) == 1 else "are"
    return (f"{path}: {count(len(names), 'case')} {are} in no list: {', '.join(names)}",)
