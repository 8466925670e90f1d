"""What is in a data set, a store or an image file, and everything that is wrong with it."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from diffrect.console import progress_bar
from diffrect.data.case import Case, check_case, label_slices
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import find_source, list_cases
from diffrect.data.sources.base import OnImageGrid, Reference, SourceListing
from diffrect.data.sources.files import FileCase, is_dicom_folder
from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.data.store import CASES_FOLDER, STORE_FILE, Store, find_fault
from diffrect.errors import InputError
from diffrect.imaging.kinds import suffix_of
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume
from diffrect.labels import IGNORED

_MANY_CODES = 64
_HIGHEST_CODE = 65535


def inspect(
    path: Path | str,
    *,
    format: str = "auto",
    options: SourceOptions | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Look at a data set, a store or one image file without changing anything.

    Every image and label is read. What cannot be read, or what `prepare` would refuse, is listed
    under "problems", one line each; nothing of it raises.

    Args:
        path: folder of a data set or of a store, or an image file.
        format: layout of the data set, see `prepare`.
        options: what else there is to say about the layout.
        progress: show a bar.

    Returns:
        "path", "kind" ("source", "store" or "file"), "format", numbers of "cases", "patients",
        "labelled" and "unlabelled"; "channels"; "shapes", "spacings" (mm, X Y Z) and
        "orientations" with the number of cases of each; "intensity", lowest and highest; "classes",
        each with its "name", "share" of the annotated pixels and number of "cases"; "ignored",
        the share of pixels that nobody annotated; "split", patients in each part; "problems";
        "remarks", what is unusual though it is read; and "each", these facts case by case.

    Raises:
        InputError: there is nothing, or nothing that looks like one of these.
    """
    path = Path(path)
    if path.is_file() or is_dicom_folder(path):
        return _summary(path, "file", *_inspect_file(path))
    if (path / STORE_FILE).is_file():
        return _summary(path, "store", *_inspect_store(Store(path), progress))
    options = options or SourceOptions()
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
    split = None if listing.official_split is None else listing.official_split.to_dict()
    facts = {
        "format": source.name,
        "channels": listing.channels,
        "names": listing.classes,
        "split": split,
    }
    return _summary(path, "source", facts, each, problems)


def _problems_of_set(listing: SourceListing) -> list[str]:
    ids = Counter(reference.id for reference in listing.references)
    problems = [
        f"{case}: expected unique case ids, found it twice" for case in ids if ids[case] > 1
    ]
    if listing.missing_patients:
        names = ", ".join(listing.missing_patients)
        count = len(listing.missing_patients)
        problems.append(f"{count} patients of the official lists are missing: {names}")
    return problems


def _look(reference: Reference, listing: SourceListing, problems: list[str]) -> dict[str, Any]:
    """The facts of one case; its problems are added to the list."""
    entry: dict[str, Any] = {"id": reference.id, "patient": reference.patient, "labelled": None}
    try:
        case = reference.load()
    except InputError as error:
        problems.append(str(error))
        problems += _problem_of_label(reference, str(error))
        return entry
    entry |= {"labelled": case.label is not None, **_image_facts(case.image)}
    for fault in _faults(case, listing):
        problems.append(fault)
        if case.label is None or case.label.path is None or str(case.label.path) in fault:
            return entry
    if case.label is not None:
        entry |= _label_facts(case.label.array, len(listing.classes))
    return entry


def _faults(case: Case, listing: SourceListing) -> Iterator[str]:
    """What `prepare` would refuse a readable case for."""
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
    """A case whose image cannot be read may have a bad label as well."""
    if isinstance(reference, OnImageGrid):
        reference = reference.reference
    if isinstance(reference, FileCase):
        try:
            reference.load_label()
        except InputError as error:
            return [str(error)] if str(error) != known else []
    return []


def _inspect_store(
    store: Store, progress: bool
) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
    problems, each = [], []
    for record in progress_bar(list(store.cases.values()), "inspecting", progress):
        fault = find_fault(store.path, record.id)
        entry: dict[str, Any] = {
            "id": record.id,
            "patient": record.patient,
            "labelled": record.labelled,
            "shape": [*record.shape[::-1], record.slices],
            "spacing": _rounded(record.spacing and record.spacing[::-1]),
            "remarks": list(record.remarks),
        }
        if fault:
            problems.append(fault)
        else:
            file = store.path / CASES_FOLDER / record.id / "case.json"
            affine = np.array(json.loads(file.read_text("utf-8"))["affine"])
            entry["orientation"] = _orientation(affine) if record.spacing else None
            entry["intensity"] = _range(store.image(record.id))
            if record.labelled:
                entry |= _label_facts(store.label(record.id), len(store.classes))
        each.append(entry)
    split = None if store.official_split is None else store.official_split.to_dict()
    facts = {
        "format": store.format,
        "channels": store.channels,
        "names": store.classes,
        "split": split,
    }
    return facts, each, problems


def _inspect_file(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
    """One image; where its voxels are whole numbers of few kinds, perhaps a label map."""
    form = "DICOM series" if path.is_dir() else suffix_of(path) or path.suffix
    facts: dict[str, Any] = {"format": form, "names": (), "split": None}
    entry: dict[str, Any] = {"id": path.name, "patient": path.name, "labelled": None}
    try:
        if path.suffix == ".h5":
            case = Ssl4misCase(path.name, path.name, (path,)).load()
            image, label = case.image, case.label
        else:
            image, label = read_image(path), _as_label(path)
    except InputError as error:
        return {**facts, "channels": 0}, [entry], [str(error)]
    entry |= {"labelled": label is not None, **_image_facts(image)}
    entry["type"] = str(image.array.dtype)
    if label is not None:
        codes = np.flatnonzero(np.bincount(label.array.ravel()))
        facts["names"] = tuple(f"code {code}" for code in codes)
        entry |= _label_facts(np.searchsorted(codes, label.array), len(codes))
    channels = image.array.shape[3] if image.array.ndim == 4 else 1
    return {**facts, "channels": channels}, [entry], []


def _as_label(path: Path) -> Volume | None:
    try:
        label = read_label(path)
    except InputError:
        return None
    small = label.array.max(initial=0) <= _HIGHEST_CODE  # else counting takes too much room
    few = small and np.count_nonzero(np.bincount(label.array.ravel())) <= _MANY_CODES
    return label if few else None


def _image_facts(image: Volume) -> dict[str, Any]:
    spacing = image.spacing
    return {
        "shape": list(image.array.shape[:3]),
        "spacing": _rounded(spacing),
        "orientation": None if spacing is None else _orientation(image.affine),
        "intensity": _range(image.array),
        "remarks": [f"{image.path}: {line}" for line in image.remarks],
    }


def _rounded(spacing: tuple[float, float, float] | None) -> list[float] | None:
    return None if spacing is None else [round(size, 4) for size in spacing]


def _orientation(affine: np.ndarray) -> str | None:
    """Where the axes point to, such as LPS: left, posterior, superior."""
    if not np.isfinite(affine).all():
        return None
    return "".join(axis or "?" for axis in nib.aff2axcodes(affine))


def _range(array: np.ndarray) -> list[float]:
    return [float(array.min()), float(array.max())]


def _label_facts(labels: np.ndarray, classes: int) -> dict[str, Any]:
    """Voxels of each class, and of those that nobody annotated."""
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)
    return {"voxels": counts[:classes].tolist(), "ignored": int(counts[IGNORED])}


def _summary(
    path: Path,
    kind: str,
    facts: dict[str, Any],
    each: Sequence[dict[str, Any]],
    problems: Sequence[str],
) -> dict[str, Any]:
    ranges = np.array([entry["intensity"] for entry in each if "intensity" in entry])
    split = facts["split"]
    shares = _shares(facts["names"], [entry for entry in each if "voxels" in entry])
    nowhere = [found["name"] for found in shares["classes"] if found["cases"] == 0]
    if kind != "file" and len(nowhere) < len(shares["classes"]):
        problems = [
            *problems,
            *(f"class {name}: expected pixels, no case has any" for name in nowhere),
        ]
    return {
        "path": str(path),
        "kind": kind,
        "format": facts["format"],
        "cases": len(each),
        "patients": len({entry["patient"] for entry in each}),
        "labelled": sum(entry["labelled"] is True for entry in each),
        "unlabelled": sum(entry["labelled"] is False for entry in each),
        "channels": facts["channels"],
        "shapes": _counted(each, "shape", " x "),
        "spacings": _counted(each, "spacing", " x "),
        "orientations": _counted(each, "orientation", ""),
        "intensity": [ranges.min(), ranges.max()] if len(ranges) else None,
        **shares,
        "split": split and {name: len(patients) for name, patients in split.items()},
        "problems": list(dict.fromkeys(problems)),
        "remarks": list(dict.fromkeys(line for entry in each for line in entry.get("remarks", ()))),
        "each": list(each),
    }


def _counted(each: Sequence[dict[str, Any]], key: str, between: str) -> dict[str, int]:
    """How many cases there are of each kind, the most frequent first."""
    values = [entry[key] for entry in each if key in entry]
    texts = ["unknown" if v is None else between.join(f"{part}" for part in v) for v in values]
    return dict(Counter(texts).most_common())


def _shares(names: Sequence[str], labelled: Sequence[dict[str, Any]]) -> dict[str, Any]:
    totals = np.array([entry["voxels"] for entry in labelled]).reshape(len(labelled), len(names))
    ignored = sum(entry["ignored"] for entry in labelled)
    annotated = int(totals.sum())
    classes = [
        {
            "name": name,
            "share": float(totals[:, code].sum() / annotated) if annotated else None,
            "cases": int(np.count_nonzero(totals[:, code])),
        }
        for code, name in enumerate(names)
    ]
    whole = annotated + ignored
    return {"classes": classes, "ignored": ignored / whole if whole else 0.0}
