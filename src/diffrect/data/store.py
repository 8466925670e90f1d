"""The prepared store: one folder per case, compressed arrays that are read slice by slice.

    STORE/store.json            written last; a folder without it is not a store yet
    STORE/prepare.json          only while `prepare` is at work
    STORE/cases/ID/image.b2nd   (Z, C, H, W) float32 in [0, 1], one chunk a slice
    STORE/cases/ID/label.b2nd   (Z, H, W) uint8, one chunk a slice; 255: not annotated; absent
                                when unlabelled
    STORE/cases/ID/case.json    shape, spacing, affine, source files and checksums

A case's folder appears under its name only when complete, so training never sees half a case.
"""

import json
import os
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from diffrect.atomic import write_atomic
from diffrect.data.case import Case, Conversion, check_case, image_slices, label_slices
from diffrect.data.integrity import (
    CASE_FILE,
    CASES_FOLDER,
    checksum,
    find_array_fault,
    find_fault,
    is_intact,
    plain_name,
    write_sealed,
)
from diffrect.data.record import CaseRecord as CaseRecord
from diffrect.data.split import Split
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.imaging.resample import Zoom, zoom_of
from diffrect.imaging.slicing import Slicing, choose_slicing

FORMAT_VERSION = 2
# Version 1 had no checksums of store.json and of case.json, and is read all the same.
_READABLE = (1, 2)
STORE_FILE = "store.json"
PROGRESS_FILE = "prepare.json"
_IMAGE_FILE = "image.b2nd"
_LABEL_FILE = "label.b2nd"

# One thread: a slice is too small to share out, and several readers work at a time.
_COMPRESSION = blosc2.CParams(
    codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1
)
_DECOMPRESSION = blosc2.DParams(nthreads=1)


class Store:
    """A prepared data set, opened for reading; cheap to open, to pickle and to share.

    Files are compared with their checksums when a process first reads them.

    Attributes:
        path: its folder.
        version: of its format.
        source: folder of the data set that it was made from.
        format: name of the source's layout.
        task: what is segmented; `channels`, `classes`, `intensity` and `axis` read it.
        cases: records by case id.
        official_split: the data set's own split, None if it has none.
        missing_patients: patients of the official lists that the source did not hold.
        options: what prepare was told about the source's layout.
    """

    def __init__(self, path: Path | str) -> None:
        """Read store.json.

        Raises:
            InputError: no store, an unfinished one, or one of another version.
        """
        self.path = Path(path)
        settings = read_settings(self.path)
        self._intact: set[tuple[str, str]] = set()  # arrays compared with their checksums
        try:
            self._take(settings)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"{type(error).__name__} {error}"
            raise InputError(
                f"{self.path / STORE_FILE}: expected the description of a store: {reason}"
            ) from None

    def _take(self, settings: dict[str, Any]) -> None:
        self.version: int = settings["version"]
        self.source: str = str(settings.get("source", "SOURCE"))
        self.format: str = settings["format"]
        self.task = Task.from_dict(settings)
        self.missing_patients: list[str] = settings["missing_patients"]
        self.options: dict[str, Any] = settings.get("options", {})
        records = map(CaseRecord.from_dict, settings["cases"])
        self.cases: dict[str, CaseRecord] = {record.id: record for record in records}
        strange = [name for name in self.cases if not plain_name(name)]
        if strange:
            raise ValueError(f"{strange[0]!r} cannot name a case")
        split = settings["official_split"]
        self.official_split: Split | None = None if split is None else Split.from_dict(split)

    @property
    def channels(self) -> int:
        """Image channels, C."""
        return self.task.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the label codes; the first is "background"."""
        return self.task.classes

    @property
    def intensity(self) -> str:
        """How intensities were normalised, such as "minmax", see `Intensity`."""
        return self.task.intensity

    @property
    def axis(self) -> str:
        """How the axis was chosen along which volumes were cut, see `choose_slicing`."""
        return self.task.axis

    def image(self, case_id: str, index: int | None = None) -> np.ndarray:
        """One slice (C, H, W), or without an index all of them (Z, C, H, W); float32 in [0, 1]."""
        return self._read(case_id, _IMAGE_FILE, index)

    def label(self, case_id: str, index: int | None = None) -> np.ndarray:
        """One slice (H, W), or without an index all of them (Z, H, W); uint8 class codes.

        Pixels that nobody has annotated are `diffrect.labels.IGNORED`.

        Raises:
            InputError: the case is unlabelled.
        """
        if not self.cases[case_id].labelled:
            raise InputError(f"{self.path}: expected a label of case {case_id}, it is unlabelled")
        return self._read(case_id, _LABEL_FILE, index)

    def zoom(self, case_id: str, spacing: float | None) -> Zoom:
        """How the slices of a case become pixels of ``spacing`` mm; None where that is None.

        Raises:
            InputError: the case's spacing is not known.
        """
        return zoom_of(self.cases[case_id].spacing, spacing, f"{self.path}: case {case_id}")

    def verify(self) -> None:
        """Compare every file with the checksum taken when it was written.

        Raises:
            InputError: naming the first file that is missing or has changed.
        """
        for case_id in self.cases:
            self._refuse(find_fault(self.path, case_id, sealed=self.version > 1))

    def _read(self, case_id: str, name: str, index: int | None) -> np.ndarray:
        path = self.path / CASES_FOLDER / case_id / name
        slices = self.cases[case_id].slices
        if index is not None and not -slices <= index < slices:
            raise IndexError(f"case {case_id} has {slices} slices, got index {index}")
        if (case_id, name) not in self._intact:
            fault = find_array_fault(self.path, case_id, name, sealed=self.version > 1)
            self._refuse(fault)
        try:
            array = blosc2.open(str(path), mode="r", dparams=_DECOMPRESSION)
            self._check_array(array, case_id, name)
            values = np.asarray(array[:] if index is None else array[int(index) % slices])
        except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise InputError(f"{path}: expected a readable array of the store: {error}") from None
        self._intact.add((case_id, name))
        return values

    def _check_array(self, array: Any, case_id: str, name: str) -> None:
        """Refuses anything but an array of numbers of the shape that store.json says."""
        record = self.cases[case_id]
        channels = (self.channels,) if name == _IMAGE_FILE else ()
        shape = (record.slices, *channels, *record.shape)
        kind = np.float32 if name == _IMAGE_FILE else np.uint8
        if type(array) is not blosc2.NDArray or (array.shape, array.dtype) != (shape, kind):
            raise ValueError(f"expected {np.dtype(kind)} of shape {shape}")

    def _refuse(self, fault: str | None) -> None:
        if fault:
            source, store = shlex.quote(self.source), shlex.quote(str(self.path))
            repair = f"diffrect prepare {source} {store} --repair"
            raise InputError(f"{fault}; the others are fine, mend this one with: {repair}")


def write_case(
    store: Path, case: Case, classes: int, channels: int, how: Conversion | None = None
) -> None:
    """Add a case to a store under construction; its folder appears only when complete.

    Raises:
        InputError: image and label do not fit each other, the classes or the channels.
    """
    how = how or Conversion()
    check_case(case, channels)
    slicing = choose_slicing(case.image, how.axis)
    image = image_slices(
        case.image, normalised=case.normalised, slicing=slicing, intensity=how.intensity
    )
    arrays = {_IMAGE_FILE: image}
    if case.label is not None:
        arrays[_LABEL_FILE] = label_slices(case.label, classes, slicing)
    contents = {name: _encode(array) for name, array in arrays.items()}
    checksums = {name: checksum(content) for name, content in contents.items()}
    final = store / CASES_FOLDER / case.id
    partial = store / CASES_FOLDER / f".{case.id}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, content in contents.items():
            write_atomic(partial / name, content, sync=False)
        description = _describe(case, slicing, image, checksums)
        write_sealed(partial / CASE_FILE, description, sync=False)
        if final.exists():  # damaged, and mended now
            shutil.rmtree(final)
        partial.replace(final)
    except OSError as error:
        error.filename = str(final)  # what is missing then; the unfinished one goes
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_record(store: Path, case_id: str) -> CaseRecord:
    """The record of a case that has been written."""
    text = (store / CASES_FOLDER / case_id / CASE_FILE).read_text(encoding="utf-8")
    return CaseRecord.from_dict(json.loads(text))


def read_settings(path: Path) -> dict[str, Any]:
    """What store.json says.

    Raises:
        InputError: there is none, it is damaged, or of a version that is not known here.
    """
    file = path / STORE_FILE
    if not file.is_file():
        if (path / PROGRESS_FILE).is_file():
            raise InputError(
                f"{path}: expected a finished store, this one is half prepared: "
                "run prepare with --resume"
            )
        raise InputError(f"{path}: expected a store made by prepare, found no {STORE_FILE}")
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = settings["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: expected the description of a store: {error}") from None
    if version not in _READABLE:
        raise InputError(
            f"{file}: expected store version {FORMAT_VERSION} or 1, got {version}; read it with "
            "the version of diffrect that wrote it, or prepare it again"
        )
    if version > 1 and not is_intact(settings):
        raise InputError(
            f"{file}: expected the contents written by prepare, they have changed; "
            f"mend it with: diffrect prepare SOURCE {shlex.quote(str(path))} --repair"
        )
    return settings


def _encode(array: np.ndarray) -> bytes:
    """The content of an array's file, made in memory: a full disk then cannot cut it unnoticed."""
    one_slice = (1, *array.shape[1:])
    compressed = blosc2.asarray(array, chunks=one_slice, blocks=one_slice, cparams=_COMPRESSION)
    return bytes(compressed.to_cframe())


def _describe(
    case: Case, slicing: Slicing, image: np.ndarray, checksums: dict[str, str]
) -> dict[str, Any]:
    slices, _, height, width = image.shape
    volumes = [volume for volume in (case.image, case.label) if volume is not None]
    record = CaseRecord(
        id=case.id,
        patient=case.patient,
        labelled=case.label is not None,
        slices=slices,
        shape=(height, width),
        spacing=slicing.spacing(case.image),
        axis=slicing.axes[0],
        orientation=slicing.orientation(case.image),
        remarks=tuple(f"{volume.path}: {line}" for volume in volumes for line in volume.remarks),
    )
    label = None if case.label is None else str(case.label.path)
    return {
        **asdict(record),
        "slicing": asdict(slicing),
        "affine": case.image.affine.tolist(),
        "files": {"image": str(case.image.path), "label": label},
        "checksums": checksums,
    }
