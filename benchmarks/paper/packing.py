"""A prepared store as a few compact files, and back.

    FOLDER/slices.01, 02 ...  the arrays of all cases, one after another, cut below the limit
    FOLDER/pack.json          written last: what the store says, and of each array where it lies,
                              the constant that makes it whole numbers, and the checksum of its bits

Patients of the training and of the validation are packed. Labels are packed of those who validate
and of the labelled ones; those of the others, which would only serve to score hidden labels, stay
behind, and so do the patients who test.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffrect.checks import folder_to_make
from diffrect.config import TrainConfig
from diffrect.data.case import Case, Conversion
from diffrect.data.choose_split import split_of
from diffrect.data.integrity import SEAL, write_sealed
from diffrect.data.preparation.write_case import write_case
from diffrect.data.record import CASE_FILE, CASES_FOLDER, STORE_FILE, CaseRecord, Grid
from diffrect.data.split import Split, restrict_to
from diffrect.data.store import FORMAT_VERSION, Store, read_settings
from diffrect.errors import InputError
from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import Slicing
from diffrect.imaging.volume import Volume
from diffrect.json_files import read_json
from paper.levels import digest, packed, unpacked
from paper.parts import joined, read_manifest, write_parts

PACK_FILE, STEM, PACK_FORMAT = "pack.json", "slices", 1
LOSSLESS = (
    "image = float32(j / steps) with whole numbers j, or level j of a table; every array was "
    "unpacked again when it was packed and has the sha256 of the store's bits"
)


def pack(store: Path, folder: Path, limit: int, labelled: int = 7) -> dict[str, Any]:
    """Write the slices of a store that protocol P needs, and return what pack.json says.

    Args:
        store: folder made by `prepare`.
        folder: new folder.
        limit: bytes of a file at most.
        labelled: the first training patients whose labels go along.

    Raises:
        InputError: no such store, one without a published split, or the folder is taken.
    """
    data = Store(store)
    folder_to_make(folder)
    if (folder / PACK_FILE).exists():
        raise InputError(folder, "a new folder", found=PACK_FILE)
    if data.official_split is None:
        raise InputError(store, "a data set with a published split", found="none")
    split = split_of(data, TrainConfig(labelled=str(labelled)))
    entries: list[dict[str, Any]] = []
    parts = write_parts(_contents(data, split, entries), folder, STEM, limit)
    settings = {k: v for k, v in read_settings(store).items() if k not in ("cases", SEAL)}
    content = {
        "format": PACK_FORMAT,
        "lossless": LOSSLESS,
        "store": _without_test(settings, data.official_split),
        "cases": entries,
        "parts": parts,
    }
    write_sealed(folder / PACK_FILE, content)
    return content


def _without_test(settings: dict[str, Any], split: Split) -> dict[str, Any]:
    """Return a store's settings where only patients who train and validate are present."""
    kept, missing = restrict_to(split, {*split.train, *split.val})
    lists = None if kept is None else kept.to_dict()
    absent = sorted({*settings["missing_patients"], *missing})
    version = {"version": FORMAT_VERSION}
    return {**settings, **version, "official_split": lists, "missing_patients": absent}


def _contents(data: Store, split: Split, entries: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the packed arrays of the cases, and note in `entries` where each lies."""
    start, scored = 0, {*split.labelled, *split.val}
    for record in data.cases.values():
        if record.patient not in {*split.train, *split.val}:
            continue
        wanted = {"image": data.image(record.id)}
        if record.labelled and record.patient in scored:
            wanted["label"] = data.label(record.id)
        description = read_json(data.path / CASES_FOLDER / record.id / CASE_FILE)
        kept = ("id", "patient", "spacing", "affine", "files")
        entry = {name: description[name] for name in kept}
        slicing = data.grid(record.id).slicing
        entry["slicing"] = {"axes": list(slicing.axes), "flips": list(slicing.flips)}
        for name, values in wanted.items():
            facts, content = packed(values, f"{data.path}: {name} of {record.id}")
            entry[name] = {**facts, "start": start, "bytes": len(content)}
            start += len(content)
            yield content
        entries.append(entry)


def unpack(folder: Path, store: Path) -> Store:
    """Make the store again, compare it bit for bit with what was packed, and return it.

    An unpacking that was cut is repeated from the beginning.

    Raises:
        InputError: the folder is not whole, or there is a store already.
    """
    manifest = read_manifest(folder / PACK_FILE, PACK_FORMAT, "pack")
    folder_to_make(store)
    if (store / STORE_FILE).exists():
        raise InputError(store, "a new folder", found="a store")
    content, settings = joined(folder, manifest["parts"]), manifest["store"]
    classes, channels = len(settings["classes"]), settings["channels"]
    how = Conversion(settings["axis"], Intensity())
    cases = []
    for entry in manifest["cases"]:
        write_case(store, _case(content, entry), classes, channels, how)
        description = read_json(store / CASES_FOLDER / entry["id"] / CASE_FILE)
        cases.append({name: description[name] for name in CaseRecord.__dataclass_fields__})
    write_sealed(store / STORE_FILE, {**settings, "cases": cases})
    made = Store(store)
    _compare(made, manifest["cases"])
    return made


def _case(content: bytes, entry: dict[str, Any]) -> Case:
    """Return the case of an entry, its intensities in [0, 1] as the store had them."""
    slicing = Slicing(tuple(entry["slicing"]["axes"]), tuple(entry["slicing"]["flips"]))
    spacing = entry["spacing"] and tuple(entry["spacing"])
    grid = Grid(slicing, spacing, np.array(entry["affine"], np.float64))

    def volume(name: str) -> Volume:
        facts, where = entry[name], f"{name} of {entry['id']}"
        part = content[facts["start"] : facts["start"] + facts["bytes"]]
        values = unpacked(part, facts, where)
        if name == "image":  # (Z, C, H, W) as the file had it, (Z, H, W) or (Z, H, W, C)
            values = values[:, 0] if values.shape[1] == 1 else np.moveaxis(values, 1, 3)
        path = Path(str(entry["files"][name]))
        made = grid.volume(values)
        return Volume(made.array, made.spacing, made.affine, path)

    label = volume("label") if "label" in entry else None
    return Case(entry["id"], entry["patient"], volume("image"), label, normalised=True)


def _compare(made: Store, entries: list[dict[str, Any]]) -> None:
    """Refuse a store whose arrays are not, bit for bit, those that were packed."""
    for entry in entries:
        found = {"image": made.image(entry["id"])}
        if "label" in entry:
            found["label"] = made.label(entry["id"])
        for name, values in found.items():
            if digest(values) != entry[name]["sha256"]:
                raise InputError(made.path, f"the {name} of {entry['id']} that was packed")
