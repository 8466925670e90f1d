"""Any folder with images/ and maybe labels/, matched by name; or a table that lists the cases."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import NO_OPTIONS, Report, SourceListing, refuse
from diffrect.data.sources.class_names import read_class_names
from diffrect.data.sources.files import FileCase, by_stem, choose_patient, find_scans
from diffrect.data.sources.table import read_table
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.imaging.volume import read_image, read_label
from diffrect.labels import IGNORED


class Folder:
    """Images and labels of any format that can be read, of one's own choice of names."""

    name = "folder"
    accepted = frozenset({"patients", "table", "classes"})

    def detect(self, path: Path) -> bool:
        """Whether there is a folder images/."""
        return (path / "images").is_dir()

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, report: Report = refuse
    ) -> SourceListing:
        """List the cases in the order of their ids, or in that of the table."""
        split: Split | None = None
        if options.table is None:
            cases = _by_name(path, options.patients, report)
        else:
            cases, split = read_table(options.table, options.patients, report)
        if not cases:
            raise InputError(f"{path}: expected at least one image, found none")
        classes, codes = _classes(path, cases, options.classes, report)
        return SourceListing(
            references=[replace(case, codes=codes) for case in cases],
            classes=classes,
            channels=_channels(cases, report),
            official_split=split,
            axis="auto",
        )


def _by_name(path: Path, patients: str | None, report: Report) -> list[FileCase]:
    """Every image, with the label of the same name."""
    folder = path / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, or a list by --table; found none")
    images = by_stem(find_scans(folder, report), "image", report)
    labels: dict[str, Path] = {}
    if (path / "labels").is_dir():
        labels = by_stem(find_scans(path / "labels", report), "label", report)
    for stem in labels.keys() - images.keys():
        report(f"{labels[stem]}: expected an image of the same name in {folder}, found none")
    return [
        FileCase(stem, choose_patient(patients, stem), (images[stem],), labels.get(stem))
        for stem in sorted(images)
    ]


def _classes(
    path: Path, cases: list[FileCase], file: Path | None, report: Report
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names of the classes, and the class of each code: from the file, or from the labels."""
    if file is not None:
        names = read_class_names(file)
    else:
        found = _codes_in_labels(cases, report)
        if not found - {0}:
            expected = "expected labels with classes, or their names by --classes"
            raise InputError(f"{path}: {expected}, found none")
        # A mask is often stored as 0 and 255; beside other codes 255 may mean anything.
        if IGNORED in found and found != {0, IGNORED}:
            expected = "expected --classes to say whether label code 255 is a class or 'ignored'"
            raise InputError(f"{path}: {expected}; found {', '.join(map(str, sorted(found)))}")
        names = {code: f"class {code}" for code in sorted(found - {0})}
    ignored = {code for code, name in names.items() if name == "ignored"}
    ordered = [code for code in sorted(names) if code not in ignored and code != 0]
    codes = {0: 0, **{code: number for number, code in enumerate(ordered, start=1)}}
    codes |= dict.fromkeys(ignored, IGNORED)
    return ("background", *(names[code] for code in ordered)), codes


def _codes_in_labels(cases: list[FileCase], report: Report) -> set[int]:
    found: set[int] = set()
    for case in cases:
        if case.label is None:
            continue
        try:
            found |= {int(code) for code in np.unique(read_label(case.label).array)}
        except InputError as error:
            report(str(error))
        if len(found) > 256:
            expected = "expected label codes of at most 255 classes, or their names by --classes"
            raise InputError(f"{case.label}: {expected}, found more")
    return found


def _channels(cases: list[FileCase], report: Report) -> int:
    """How many channels the first readable image has; the others are held to it."""
    for case in cases:
        try:
            array = read_image(case.images[0]).array
        except InputError as error:
            report(str(error))
            continue
        return int(array.shape[3]) if array.ndim == 4 else 1
    return 1
