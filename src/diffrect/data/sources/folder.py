"""Any folder with images/ and maybe labels/, matched by name, or with a table of the cases."""

from dataclasses import replace
from pathlib import Path

from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import NO_OPTIONS, OnProblem, Source, SourceListing, refuse
from diffrect.data.sources.files import (
    FileCase,
    by_stem,
    check_loose_slices,
    choose_patient,
    find_scans,
)
from diffrect.data.sources.found_codes import (
    MOST_CODES,
    check_number,
    name_codes,
    number_classes,
    read_numbered,
)
from diffrect.data.sources.table import read_table
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED, list_codes
from diffrect.imaging.read import read_image, read_label


class Folder:
    """Images and labels of any readable format, under names of the user's choice."""

    name = "folder"
    recognised_by = "a folder images/"
    accepted = frozenset({"patients", "table", "classes"})

    def detect(self, path: Path) -> bool:
        """Return whether there is a folder images/."""
        return (path / "images").is_dir()

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, on_problem: OnProblem = refuse
    ) -> SourceListing:
        """List the cases in the order of their ids, or in that of the table."""
        split: Split | None = None
        remarks: tuple[str, ...] = ()
        if options.table is None:
            cases, remarks = _by_name(path, options.patients, on_problem)
        else:
            cases, split = read_table(options.table, options.patients, on_problem)
        if not cases:
            raise InputError(path, "at least one image", found="none")
        classes, codes = _classes(path, cases, options.classes, on_problem)
        return SourceListing(
            references=[replace(case, codes=codes) for case in cases],
            classes=classes,
            channels=_channels(cases, on_problem),
            official_split=split,
            axis="auto",
            remarks=remarks,
        )


def _by_name(
    path: Path, patients: str | None, on_problem: OnProblem
) -> tuple[list[FileCase], tuple[str, ...]]:
    """Return every image with the label of the same name, and what is passed over."""
    folder = path / "images"
    if not folder.is_dir():
        raise InputError(folder, "a folder of images, or a list by --table", found="none")
    scans, remarks = find_scans(folder, on_problem)
    images = by_stem(scans, "image", on_problem)
    labels: dict[str, Path] = {}
    if (path / "labels").is_dir():
        maps, others = find_scans(path / "labels", on_problem)
        labels, remarks = by_stem(maps, "label", on_problem), remarks + others
    try:
        check_loose_slices(images, labels)
    except InputError as error:
        on_problem(error)
    for stem in sorted(labels.keys() - images.keys()):
        expected = f"an image of the same name in {folder}"
        on_problem(InputError(labels[stem], expected, found="none"))
    return [
        FileCase(stem, choose_patient(patients, stem), (images[stem],), labels.get(stem))
        for stem in sorted(images)
    ], remarks


def _classes(
    path: Path, cases: list[FileCase], file: Path | None, on_problem: OnProblem
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names of the classes, and label code -> class code.

    Args:
        path: folder of the data set, for messages.
        cases: the cases, whose labels are read if there is no file.
        file: names of the label codes.
        on_problem: called with each label that cannot be read.
    """
    if file is not None:
        return read_numbered(file)
    found = _codes_in_labels(cases, on_problem)
    # A mask is often stored as 0 and 255. Beside other codes, 255 may mean anything.
    if IGNORED in found and not found <= {0, IGNORED}:
        expected = "--classes to say whether label code 255 is a class or 'ignored'"
        listed = ", ".join(map(str, sorted(found)))
        raise InputError(path, expected, found=f"codes {listed}")
    return number_classes(name_codes(path, found))


def _codes_in_labels(cases: list[FileCase], on_problem: OnProblem) -> set[int]:
    found: set[int] = set()
    for case in cases:
        if case.label is None:
            continue
        try:
            found.update(list_codes(read_label(case.label).array, MOST_CODES))
        except InputError as error:
            on_problem(error)
        check_number(case.label, found)
    return found


def _channels(cases: list[FileCase], on_problem: OnProblem) -> int:
    """Return the number of channels of the first readable image; the others must have as many."""
    for case in cases:
        try:
            array = read_image(case.images[0]).array
        except InputError as error:
            on_problem(error)
            continue
        return int(array.shape[3]) if array.ndim == 4 else 1
    return 1


SOURCE: Source = Folder()
