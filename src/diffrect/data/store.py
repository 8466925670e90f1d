"""The prepared store: one folder per case, compressed arrays that are read slice by slice.

    STORE/store.json            written last; a folder without it is not a store yet
    STORE/prepare.json          only while `prepare` is at work
    STORE/cases/ID/image.b2nd   (Z, C, H, W) float32 in [0, 1], one chunk per slice
    STORE/cases/ID/label.b2nd   (Z, H, W) uint8, one chunk per slice; 255: not annotated; absent if
                                the case is unlabelled
    STORE/cases/ID/case.json    shape, spacing, affine, source files and checksums

A case's folder appears under its name only when complete, so training never sees half a case.
"""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from diffrect.console import count, summary
from diffrect.data.fields import Fields
from diffrect.data.integrity import find_fault, is_intact
from diffrect.data.record import (
    CASE_FILE,
    CASES_FOLDER,
    IMAGE_FILE,
    LABEL_FILE,
    PROGRESS_FILE,
    STORE_FILE,
    CaseRecord,
    Grid,
    SliceIndex,
    case_records,
    read_slicing,
)
from diffrect.data.split import Split
from diffrect.data.splits.blocks import Block, blocks_of
from diffrect.data.task import Task, describe_task
from diffrect.errors import InputError
from diffrect.imaging.slicing import Zoom, zoom_of
from diffrect.json_files import read_json

FORMAT_VERSION = 2
# Version 1 had no checksums of store.json and of case.json; it is still read.
_READABLE = (1, 2)

# One thread: a slice is too small to share out, and several readers work at a time.
_DECOMPRESSION = blosc2.DParams(nthreads=1)


class Store:
    """A prepared data set, opened for reading; cheap to open, to pickle and to share.

    Files are compared with their checksums when a process first reads them.

    Example:
        >>> import diffrect
        >>> store = diffrect.Store("store")
        >>> store.classes[0]
        'background'
        >>> case = next(iter(store.cases))
        >>> channels, height, width = store.image(case, 0).shape
        >>> store.label(case, 0).shape == (height, width)
        True

    Attributes:
        path: its folder.
        version: version of its format.
        source: folder of the data set that it was made from.
        format: name of the source's layout.
        task: what is segmented; `channels`, `classes`, `intensity` and `axis` read it.
        cases: records by case id.
        official_split: the data set's own split, None if it has none.
        missing_patients: patients of the official lists that the source did not hold.
        options: options of the source's layout, as given to `prepare`.
    """

    def __init__(self, path: Path | str) -> None:
        """Read store.json.

        Raises:
            InputError: there is no store, or an unfinished, damaged or unknown one.
        """
        self.path = Path(path)
        settings = read_settings(self.path)
        self._intact: set[tuple[str, str]] = set()  # arrays compared with their checksums
        self._take(settings, self.path / STORE_FILE)

    def _take(self, settings: dict[str, Any], file: Path) -> None:
        fields = Fields(settings, file)
        self.version: int = fields.whole("version", min(_READABLE), FORMAT_VERSION)
        self.source: str = fields.text("source", "SOURCE")
        self.format: str = fields.text("format")
        self.task = Task.from_dict(settings, file)
        self.missing_patients: list[str] = list(fields.texts("missing_patients"))
        self.options: dict[str, Any] = dict(fields.fields("options", {}).values)
        self.cases: dict[str, CaseRecord] = case_records(settings, file)
        self.official_split: Split | None = None
        if fields.get("official_split") is not None:
            self.official_split = Split.from_fields(fields.fields("official_split"))

    def __repr__(self) -> str:
        cases, patients = count(len(self.cases), "case"), count(len(self.patients), "patient")
        labelled = sum(case.labelled for case in self.cases.values())
        facts = f"{cases} of {patients}, {labelled} labelled, {describe_task(self.task)}"
        return summary(self, f"{self.path}, {facts}")

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
        """Rule by which intensities were normalised, such as "minmax", see `Intensity`."""
        return self.task.intensity

    @property
    def axis(self) -> str:
        """Rule by which volumes were cut into slices, see `choose_slicing`."""
        return self.task.axis

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients, in the order of their first cases."""
        return tuple(dict.fromkeys(case.patient for case in self.cases.values()))

    def slices(self, patients: Collection[str]) -> list[SliceIndex]:
        """Return all slices of some patients, in the order of the store's cases."""
        wanted = set(patients)
        return [
            SliceIndex(case.id, position)
            for case in self.cases.values()
            if case.patient in wanted
            for position in range(case.slices)
        ]

    def training_slices(self, split: Split) -> tuple[list[SliceIndex], list[SliceIndex]]:
        """Return the slices whose labels are used, and the other training slices.

        The unlabelled scans of a labelled patient are among the others. Slices that are left out to
        validate are in neither list.
        """
        left_out = {SliceIndex(b.case, p) for b in blocks_of(split) for p in range(b.start, b.stop)}
        labelled = [s for s in self.slices(split.labelled) if self.cases[s.case].labelled]
        used = {s.case for s in labelled}
        others = [s for s in self.slices(split.train) if s.case not in used]
        return [s for s in labelled if s not in left_out], others

    def validation_blocks(self, split: Split) -> list[Block]:
        """Return what validates: the labelled scans of the patients who do, or blocks of slices."""
        wanted = set(split.val)
        whole = [c for c in self.cases.values() if c.patient in wanted and c.labelled]
        return [*(Block(c.id, 0, c.slices) for c in whole), *blocks_of(split)]

    def image(self, case_id: str, index: int | None = None) -> np.ndarray:
        """Return one slice (C, H, W), or all of them (Z, C, H, W); float32 in [0, 1].

        Args:
            case_id: the case.
            index: position of the slice; None reads all.

        Raises:
            IndexError: there is no such slice.
            InputError: the file is damaged.
        """
        return self._read(case_id, IMAGE_FILE, index)

    def label(self, case_id: str, index: int | None = None) -> np.ndarray:
        """Return the labels of one slice (H, W), or of all of them (Z, H, W); uint8 class codes.

        Pixels that nobody has annotated are `diffrect.imaging.label_codes.IGNORED`.

        Args:
            case_id: the case.
            index: position of the slice; None reads all.

        Raises:
            IndexError: there is no such slice.
            InputError: the case is unlabelled, or the file is damaged.
        """
        if not self.cases[case_id].labelled:
            expected = f"a label of case {case_id}, it is unlabelled"
            raise InputError(self.path, expected)
        return self._read(case_id, LABEL_FILE, index)

    def affine(self, case_id: str) -> np.ndarray:
        """Return the matrix (4, 4) from voxels of the source's file to millimetres.

        Raises:
            InputError: `case.json` is damaged.
        """
        file = self.path / CASES_FOLDER / case_id / CASE_FILE
        try:
            affine = np.array(read_json(file)["affine"], np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            affine = np.empty(0)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(file, "the description of a case, its affine is damaged")
        return affine

    def grid(self, case_id: str) -> Grid:
        """Return the grid of the scan that a case was made from.

        Raises:
            InputError: `case.json` is damaged.
        """
        slicing = read_slicing(self.path, case_id, self.axis)
        return Grid(slicing, self.cases[case_id].spacing, self.affine(case_id))

    def zoom(self, case_id: str, spacing: float | None) -> Zoom:
        """Return how the slices of a case become pixels of `spacing` mm; None where that is None.

        Raises:
            InputError: the case's spacing is not known.
        """
        return zoom_of(self.cases[case_id].spacing, spacing, f"{self.path}: case {case_id}")

    def find_fault(self, case_id: str, array: str | None = None) -> InputError | None:
        """Return what is wrong with a case's files, or with one of its arrays; None if nothing."""
        return find_fault(self.path, case_id, array, sealed=self.version > 1)

    def verify(self) -> None:
        """Compare every file with the checksum taken when it was written.

        Raises:
            InputError: naming the first file that is missing or has changed.
        """
        for case_id in self.cases:
            self._refuse(self.find_fault(case_id))

    def _read(self, case_id: str, name: str, index: int | None) -> np.ndarray:
        path = self.path / CASES_FOLDER / case_id / name
        slices = self.cases[case_id].slices
        if index is not None and not -slices <= index < slices:
            raise IndexError(f"case {case_id} has {slices} slices, got index {index}")
        if (case_id, name) not in self._intact:
            self._refuse(self.find_fault(case_id, name))
        try:
            array = blosc2.open(str(path), mode="r", dparams=_DECOMPRESSION)
            self._check_array(array, case_id, name)
            values = np.asarray(array[:] if index is None else array[int(index) % slices])
        except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise InputError(path, "a readable array of the store", reason=error) from None
        self._intact.add((case_id, name))
        return values

    def _check_array(self, array: Any, case_id: str, name: str) -> None:
        """Refuse anything but an array of numbers of the shape that store.json says."""
        record = self.cases[case_id]
        channels = (self.channels,) if name == IMAGE_FILE else ()
        shape = (record.slices, *channels, *record.shape)
        kind = np.float32 if name == IMAGE_FILE else np.uint8
        if type(array) is not blosc2.NDArray or (array.shape, array.dtype) != (shape, kind):
            raise ValueError(f"expected {np.dtype(kind)} of shape {shape}")

    def _refuse(self, fault: InputError | None) -> None:
        if fault:
            source, store = shlex.quote(self.source), shlex.quote(str(self.path))
            repair = f"diffrect prepare {source} {store} --repair"
            fault.parts["hint"] = f"the others are fine, mend this one with: {repair}"
            raise fault


def read_settings(path: Path) -> dict[str, Any]:
    """Return the content of a store's store.json.

    Raises:
        InputError: there is none, it is damaged, or its version is not known here.
    """
    file = path / STORE_FILE
    if not file.is_file():
        if (path / PROGRESS_FILE).is_file():
            reason = "run prepare with --resume"
            raise InputError(path, "a finished store, this one is half prepared", reason=reason)
        raise InputError(path, "a store made by prepare", found=f"no {STORE_FILE}")
    settings = read_json(file, "the description of a store")
    version = settings.get("version")
    if version not in _READABLE:
        raise InputError(
            file,
            f"store version {FORMAT_VERSION} or 1",
            got=version,
            hint="read it with the version of diffrect that wrote it, or prepare it again",
        )
    if version > 1 and not is_intact(settings):
        repair = f"diffrect prepare SOURCE {shlex.quote(str(path))} --repair"
        raise InputError(
            file,
            "the contents written by prepare, they have changed",
            hint=f"mend it with: {repair}",
        )
    return settings
