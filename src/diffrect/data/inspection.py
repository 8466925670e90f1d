"""Look at a data set, a store or an image file, and list everything that is wrong with it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from diffrect.console import progress_bar
from diffrect.data.case import Case, check_case, label_slices, turn_label
from diffrect.data.findings import CaseFacts, Findings, Inspection, summarise
from diffrect.data.record import STORE_FILE, CaseRecord
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import find_source, list_cases
from diffrect.data.sources.base import OnImageGrid, Reference, SourceListing
from diffrect.data.sources.files import FileCase, is_dicom_folder
from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.kinds import kind_of, suffix_of
from diffrect.imaging.label_codes import IGNORED, list_codes
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume

_MANY_CODES = 64


def inspect(
    path: Path | str,
    *,
    format: str = "auto",
    options: SourceOptions | None = None,
    progress: bool = True,
) -> Inspection:
    """Look at a data set, a store or one image file without changing anything.

    Every image and label is read. What cannot be read, or what `prepare` would refuse, is listed
    under `problems` and raises nothing.

    Example:
        >>> import diffrect
        >>> found = diffrect.inspect("ACDC", progress=False)
        >>> found.kind, found.format
        ('source', 'acdc')
        >>> found.cases == found.labelled + found.unlabelled
        True

    Args:
        path: folder of a data set or of a store, or an image file.
        format: layout of the data set, see `prepare`.
        options: options of the layout.
        progress: show a progress bar on stderr.

    Returns:
        Counts, geometry, intensities, classes, problems, and the facts of each case.

    Raises:
        InputError: there is nothing, or nothing that looks like one of these.
    """
    path = Path(path)
    if path.is_file() or is_dicom_folder(path):
        return summarise(path, "file", _inspect_file(path))
    if (path / STORE_FILE).is_file():
        return summarise(path, "store", _inspect_store(Store(path), progress))
    found = _inspect_source(path, format, options or SourceOptions(), progress)
    return summarise(path, "source", found)


def _inspect_source(path: Path, format: str, options: SourceOptions, progress: bool) -> Findings:
    """Look at a data set; see `inspect` for the arguments."""
    source = find_source(path, format, options)
    options.check(source.name, source.accepted)
    problems: list[str] = []
    try:
        listing = list_cases(source, path, options, lambda error: problems.append(str(error)))
    except InputError as error:
        problems.append(str(error))
        listing = SourceListing([], (), 0)
    cases = progress_bar(listing.references, "inspecting", progress)
    each = [_look(one, listing, problems) for one in cases]
    problems += _problems_of_set(listing)
    split, missing = listing.official_split, listing.describe_missing()
    remarks = [*listing.remarks, *([] if missing is None else [missing])]
    return Findings(source.name, listing.channels, listing.classes, split, each, problems, remarks)


def _problems_of_set(listing: SourceListing) -> list[str]:
    ids = Counter(reference.id for reference in listing.references)
    return [f"{case}: expected unique case ids, found it twice" for case in ids if ids[case] > 1]


def _look(reference: Reference, listing: SourceListing, problems: list[str]) -> CaseFacts:
    """Return the facts of one case, and add its problems to the list."""
    try:
        case = turn_label(reference.load())
    except InputError as error:
        problems.append(str(error))
        problems += _problem_of_label(reference, str(error))
        return CaseFacts(reference.id, reference.patient)
    facts = _image_facts(reference.id, reference.patient, case.image, case.label is not None)
    for fault in _faults(case, listing):
        problems.append(fault)
        if case.label is None or case.label.path is None or str(case.label.path) in fault:
            return facts
    if case.label is None:
        return facts
    return _with_label(facts, case.label.array, len(listing.classes))


def _faults(case: Case, listing: SourceListing) -> Iterator[str]:
    """Yield what `prepare` would refuse a readable case for."""
    try:
        check_case(case, listing.channels)
    except InputError as error:
        yield str(error)
    if case.label is not None:
        try:
            label_slices(case.label, len(listing.classes))
        except InputError as error:
            yield str(error)
    low, high = _range(case.image.array)
    if not high > low:
        yield f"{case.image.path}: expected varying intensities: every voxel is {low:g}"


def _problem_of_label(reference: Reference, known: str) -> list[str]:
    """Return what is wrong with the label of a case whose image cannot be read."""
    if isinstance(reference, OnImageGrid):
        reference = reference.reference
    if isinstance(reference, FileCase):
        try:
            reference.load_label()
        except InputError as error:
            return [str(error)] if str(error) != known else []
    return []


def _inspect_store(store: Store, progress: bool) -> Findings:
    problems, each = [], []
    for record in progress_bar(list(store.cases.values()), "inspecting", progress):
        facts = CaseFacts(
            id=record.id,
            patient=record.patient,
            labelled=record.labelled,
            shape=(*record.shape[::-1], record.slices),
            spacing=_rounded(record.spacing and record.spacing[::-1]),
            remarks=record.remarks,
        )
        fault = store.find_fault(record.id)
        try:
            facts = facts if fault else _with_arrays(facts, store, record)
        except InputError as error:  # checksums agree, but the contents are no case
            fault = error
        if fault:
            problems.append(str(fault))
        each.append(facts)
    return Findings(
        store.format, store.channels, store.classes, store.official_split, each, problems
    )


def _with_arrays(facts: CaseFacts, store: Store, record: CaseRecord) -> CaseFacts:
    facts = replace(
        facts,
        orientation=_orientation(store.affine(record.id)) if record.spacing else None,
        intensity=_range(store.image(record.id)),
    )
    if not record.labelled:
        return facts
    return _with_label(facts, store.label(record.id), len(store.classes))


def _inspect_file(path: Path) -> Findings:
    """Look at one image; if its voxels are whole numbers of few kinds, also as a label map."""
    form = "DICOM series" if path.is_dir() else suffix_of(path)
    form = form or ("DICOM" if kind_of(path) == "dicom" else path.suffix)
    try:
        if path.suffix == ".h5":
            case = Ssl4misCase(path.name, path.name, (path,)).load()
            image, label = case.image, case.label
        else:
            image, label = read_image(path), _as_label(path)
    except InputError as error:
        unread = CaseFacts(path.name, path.name)
        return Findings(form, 0, each=[unread], problems=[str(error)])
    facts = _image_facts(path.name, path.name, image, label is not None)
    facts = replace(facts, type=str(image.array.dtype))
    names: tuple[str, ...] = ()
    if label is not None:
        codes = list_codes(label.array, _MANY_CODES)
        names = tuple(f"code {code}" for code in codes)
        facts = _with_label(facts, np.searchsorted(codes, label.array), len(codes))
    channels = image.array.shape[3] if image.array.ndim == 4 else 1
    return Findings(form, channels, names, each=[facts])


def _as_label(path: Path) -> Volume | None:
    try:
        label = read_label(path)
    except InputError:
        return None
    return label if len(list_codes(label.array, _MANY_CODES)) <= _MANY_CODES else None


def _image_facts(case_id: str, patient: str, image: Volume, labelled: bool) -> CaseFacts:
    """Return the facts of a case apart from those of its label map."""
    spacing = image.spacing
    return CaseFacts(
        id=case_id,
        patient=patient,
        labelled=labelled,
        shape=image.array.shape[:3],
        spacing=_rounded(spacing),
        orientation=None if spacing is None else _orientation(image.affine),
        intensity=_range(image.array),
        remarks=tuple(f"{image.path}: {line}" for line in image.remarks),
    )


def _with_label(facts: CaseFacts, labels: np.ndarray, classes: int) -> CaseFacts:
    """Add the voxels of each class, and of those that nobody annotated."""
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)
    return replace(facts, voxels=tuple(counts[:classes].tolist()), ignored=int(counts[IGNORED]))


def _rounded(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if spacing is None else tuple(round(size, 4) for size in spacing)


def _orientation(affine: np.ndarray) -> str | None:
    """Return where the axes point to, such as LPS: left, posterior, superior."""
    if not np.isfinite(affine).all():
        return None
    return "".join(axis or "?" for axis in nib.aff2axcodes(affine))


def _range(array: np.ndarray) -> tuple[float, float]:
    return float(array.min()), float(array.max())
