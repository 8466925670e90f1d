"""Read a CSV table of cases: a column image and, as needed, id, patient, label and split."""

import csv
from collections.abc import Mapping
from pathlib import Path

from diffrect.checks import regular_file
from diffrect.console import count
from diffrect.data.sources.base import OnProblem
from diffrect.data.sources.class_names import read_rows
from diffrect.data.sources.files import (
    FileCase,
    as_spelt,
    choose_patient,
    image_stem,
    one_spelling,
    path_inside,
)
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.text_files import read_text

COLUMNS = ("id", "patient", "image", "label", "split")
PARTS = ("train", "labelled", "val", "test")
"""Values of the column split; `labelled` is the part of `train` whose labels are used."""


def read_table(
    file: Path, patients: str | None, on_problem: OnProblem
) -> tuple[list[FileCase], Split | None]:
    """Return the cases in the order of the lines, and the split if there is such a column.

    Files are named relative to the table's folder and lie in it. Unless columns say otherwise, a
    case's id is its image's name, and its patient is the part of the id that `patients` finds.

    Args:
        file: the table.
        patients: a regular expression with a group, see `choose_patient`.
        on_problem: called with the problem of each line.

    Raises:
        InputError: the table cannot be read, or its split has no patient for train.
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
            on_problem(error)
            continue
        cases[case.id] = case
        seen |= {path: number for path in (*case.images, case.label) if path is not None}
    has_split = any("split" in fields for _, fields in lines)
    return list(cases.values()), _split(file, parts) if has_split else None


def _read_lines(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line number and fields, by column, of every line below the header."""
    regular_file(file, "a table of cases")
    try:
        rows = read_rows(read_text(file, "a readable table in UTF-8"))
    except csv.Error as error:
        raise InputError(file, "a readable table in UTF-8", reason=str(error)) from None
    header = [name.strip().casefold() for name in (rows[0][1] if rows else [])]
    if "image" not in header:
        found = ", ".join(header) or "none"
        raise InputError(file, "the column image in its first line", got=found)
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise InputError(file, "each column once", got=f"{twice[0]} twice")
    lines = []
    for number, row in rows[1:]:
        if len(row) > len(header):
            expected = f"{count(len(header), 'field')} as in the first line"
            raise InputError(f"{file}, line {number}", expected, got=len(row))
        lines.append((number, dict(zip(header, (field.strip() for field in row), strict=False))))
    return lines


def _case(file: Path, where: str, fields: Mapping[str, str], patients: str | None) -> FileCase:
    """Return the case of one line.

    Args:
        file: the table.
        where: the line, for messages.
        fields: its fields by column.
        patients: a regular expression with a group, see `choose_patient`.

    Raises:
        InputError: there is no image, or a file is missing or outside the table's folder.
    """
    if not fields.get("image"):
        raise InputError(where, "the name of an image", got="none")
    image = _there(file, where, fields["image"])
    label = _there(file, where, fields["label"]) if fields.get("label") else None
    case = one_spelling(fields.get("id") or image_stem(image))
    patient = one_spelling(fields.get("patient") or choose_patient(patients, case))
    return FileCase(case, patient, (image,), label)


def _there(file: Path, where: str, name: str) -> Path:
    if name.startswith("/"):
        root = file.parent.resolve()
        if not Path(name).is_relative_to(root):
            raise InputError(where, "paths inside the table's folder", got=repr(name))
        name = str(Path(name).relative_to(root))
    path = as_spelt(path_inside(file.parent, name, where))
    if not path.exists():
        raise InputError(path, f"the file named in {where}", found="no such file")
    return path


def _check_new(
    where: str, case: FileCase, cases: Mapping[str, FileCase], seen: Mapping[Path, int]
) -> None:
    """Check that neither the id nor a file of a case is in the table already.

    Args:
        where: the line of the case, for messages.
        case: the new case.
        cases: the cases of the lines above.
        seen: their files and the lines that name them.

    Raises:
        InputError: one is.
    """
    if case.id in cases:
        raise InputError(where, "unique case ids", got=f"{case.id} again")
    for path in (*case.images, case.label):
        if path is not None and path in seen:
            got = f"{path}, which is in line {seen[path]} already"
            raise InputError(where, "each file for one case", got=got)


def _check_part(where: str, patient: str, name: str, parts: dict[str, str]) -> None:
    """Check the split of a line, and add it to `parts`.

    Args:
        where: the line, for messages.
        patient: the patient of the line.
        name: the split; empty if the line has none.
        parts: the splits of the patients so far.

    Raises:
        InputError: there is no such split, or the patient is in another one.
    """
    part = name.casefold()
    if part and part not in PARTS:
        raise InputError(where, f"a split of {', '.join(PARTS)}", got=repr(name))
    if part and parts.setdefault(patient, part) != part:
        got = f"{part} after {parts[patient]}"
        raise InputError(where, f"patient {patient} in one split", got=got)


def _split(file: Path, parts: Mapping[str, str]) -> Split:
    """Return the lists of patients; those without an entry are in none."""
    lists = {name: [p for p, part in parts.items() if part == name] for name in PARTS}
    # Labelled patients are chosen in the order of train, so these come first.
    lists["train"] = lists["labelled"] + lists["train"]
    if not lists["train"]:
        raise InputError(file, "at least one patient in split train", got="none")
    return Split.from_dict(lists)
