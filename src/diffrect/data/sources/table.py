"""A table of cases, CSV: columns image and, as needed, id, patient, label and split."""

import csv
from collections.abc import Mapping
from pathlib import Path

from diffrect.data.sources.base import Report
from diffrect.data.sources.class_names import read_rows
from diffrect.data.sources.files import FileCase, choose_patient, image_stem, path_inside
from diffrect.data.split import Split
from diffrect.errors import InputError

COLUMNS = ("id", "patient", "image", "label", "split")
PARTS = ("train", "labelled", "val", "test")
"""Values of the column split; labelled is the part of train whose labels are used."""


def read_table(
    file: Path, patients: str | None, report: Report
) -> tuple[list[FileCase], Split | None]:
    """The cases in the order of the lines, and the split if there is such a column.

    Files are named relative to the table's folder and lie in it. A case's id is its image's name,
    its patient what the pattern ``patients`` finds in the id, unless columns say otherwise.

    Raises:
        InputError: a table that cannot be read, or a split that is none. What is wrong with one
            line goes to ``report``.
    """
    lines = _read_lines(file)
    cases: dict[str, FileCase] = {}
    parts: dict[str, str] = {}
    seen: dict[Path, int] = {}
    for number, fields in lines:
        where = f"{file}, line {number}"
        try:
            case = _case(file, where, fields, patients)
            _check_new(where, case, cases, seen)
            _check_part(where, case.patient, fields.get("split", ""), parts)
        except InputError as error:
            report(str(error))
            continue
        cases[case.id] = case
        seen |= {path: number for path in (*case.images, case.label) if path is not None}
    has_split = any("split" in fields for _, fields in lines)
    return list(cases.values()), _split(file, parts) if has_split else None


def _read_lines(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Number and fields of every line but the header."""
    try:
        rows = read_rows(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{file}: expected a table of cases, found no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{file}: expected a readable table in UTF-8: {error}") from None
    header = [name.strip().casefold() for name in (rows[0][1] if rows else [])]
    if "image" not in header:
        found = ", ".join(header) or "none"
        raise InputError(f"{file}: expected the column image in its first line, got {found}")
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise InputError(f"{file}: expected each column once, got {twice[0]} twice")
    lines = []
    for number, row in rows[1:]:
        if len(row) > len(header):
            expected = f"expected {len(header)} fields as in the first line"
            raise InputError(f"{file}, line {number}: {expected}, got {len(row)}")
        lines.append((number, dict(zip(header, (field.strip() for field in row), strict=False))))
    return lines


def _case(file: Path, where: str, fields: Mapping[str, str], patients: str | None) -> FileCase:
    if not fields.get("image"):
        raise InputError(f"{where}: expected the name of an image, got none")
    image = _there(file, where, fields["image"])
    label = _there(file, where, fields["label"]) if fields.get("label") else None
    case = fields.get("id") or image_stem(image)
    patient = fields.get("patient") or choose_patient(patients, case)
    return FileCase(case, patient, (image,), label)


def _there(file: Path, where: str, name: str) -> Path:
    if name.startswith("/"):
        root = file.parent.resolve()
        if not Path(name).is_relative_to(root):
            raise InputError(f"{where}: expected paths inside the table's folder, got {name!r}")
        name = str(Path(name).relative_to(root))
    path = path_inside(file.parent, name, where)
    if not path.exists():
        raise InputError(f"{path}: expected the file named in {where}, found no such file")
    return path


def _check_new(
    where: str, case: FileCase, cases: Mapping[str, FileCase], seen: Mapping[Path, int]
) -> None:
    if case.id in cases:
        raise InputError(f"{where}: expected unique case ids, got {case.id} again")
    for path in (*case.images, case.label):
        if path is not None and path in seen:
            raise InputError(
                f"{where}: expected each file for one case, {path} is in line {seen[path]} already"
            )


def _check_part(where: str, patient: str, name: str, parts: dict[str, str]) -> None:
    part = name.casefold()
    if part and part not in PARTS:
        raise InputError(f"{where}: expected a split of {', '.join(PARTS)}, got {name!r}")
    if part and parts.setdefault(patient, part) != part:
        first = f"it was {parts[patient]} before"
        raise InputError(f"{where}: expected patient {patient} in one split, got {part}, {first}")


def _split(file: Path, parts: Mapping[str, str]) -> Split:
    """Lists of patients; those without an entry are in none."""
    lists = {name: [p for p, part in parts.items() if part == name] for name in PARTS}
    # The order of train is the order in which labelled patients are chosen: these come first.
    lists["train"] = lists["labelled"] + lists["train"]
    for name in ("train", "val"):
        if not lists[name]:
            raise InputError(f"{file}: expected split {name} for a patient at least, got none")
    return Split.from_dict(lists)
