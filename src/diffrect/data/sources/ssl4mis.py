"""ACDC in the layout of the SSL4MIS benchmark: HDF5 files with the keys image and label.

    data/slices/ID_slice_N.h5   training cases, (H, W) each, N from 1
    data/ID.h5                  validation and test cases, (Z, H, W)
    train_slices.list, val.list, test.list      the split, one case or slice per line

Intensities are scaled to [0, 1] already; the voxel spacing is not recorded. Labels of ACDC's
patients with ACDC's codes have ACDC's classes; other sets have the codes that their labels hold.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from diffrect.checks import regular_file
from diffrect.data.case import Case
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.acdc import ACDC_CLASSES, ACDC_SYMMETRIES
from diffrect.data.sources.base import NO_OPTIONS, OnProblem, Source, SourceListing, refuse
from diffrect.data.sources.files import one_spelling, passed_over
from diffrect.data.sources.found_codes import (
    check_number,
    name_codes,
    number_classes,
    read_numbered,
)
from diffrect.data.sources.ssl4mis_lists import (
    SLICE,
    are_acdcs,
    official_split,
    patient_of,
    unlisted,
)
from diffrect.errors import InputError
from diffrect.imaging.decoders.guard import guarded
from diffrect.imaging.decoders.hdf5 import EXPECTED, read_arrays
from diffrect.imaging.kinds import visible
from diffrect.imaging.label_codes import IGNORED, map_codes, whole_numbers
from diffrect.imaging.volume import Volume

_FEW_GAPS = 5


@dataclass(frozen=True)
class Ssl4misCase:
    """One case: the files of its slices in order, or one file with the whole volume.

    Attributes:
        id, patient: as in `Case`.
        files: the files.
        codes: label code in the files -> class code or `IGNORED`; empty if they are the same.
    """

    id: str
    patient: str
    files: tuple[Path, ...]
    codes: Mapping[int, int] = field(default_factory=dict)

    def load(self) -> Case:
        """Read all slices."""
        parts = [_read(file) for file in self.files]
        for file, (image, _) in zip(self.files, parts, strict=True):
            if image.shape[1:] != parts[0][0].shape[1:]:
                expected = f"slices of {parts[0][0].shape[1:]} as in {self.files[0].name}"
                raise InputError(file, expected, got=image.shape[1:])
        labels = [label for _, label in parts if label is not None]
        if labels and len(labels) != len(parts):
            without = next(
                file for file, (_, label) in zip(self.files, parts, strict=True) if label is None
            )
            raise InputError(without, "a label in every slice or in none", found="none")
        return Case(
            self.id,
            self.patient,
            image=self._volume([image for image, _ in parts]),
            label=map_codes(self._volume(labels), self.codes) if labels else None,
            normalised=True,
        )

    def _volume(self, parts: list[np.ndarray]) -> Volume:
        # (Z, H, W) -> (X, Y, Z), the axis order of image files.
        file = self.files[0]
        if len(self.files) > 1:
            file = file.with_name(f"{self.id}_slice_*.h5")
        return Volume(np.concatenate(parts).T, None, np.eye(4), file)


class Ssl4mis:
    """The benchmark's folder, split by its lists or, without them, by ACDC's official ones."""

    name = "ssl4mis"
    recognised_by = "SSL4MIS (data/*.h5)"
    accepted = frozenset({"classes", "patients"})

    def detect(self, path: Path) -> bool:
        """Return whether there are HDF5 files under data/."""
        data = path / "data"
        return any(data.glob("*.h5")) or any((data / "slices").glob("*_slice_*.h5"))

    def list(
        self, path: Path, options: SourceOptions = NO_OPTIONS, on_problem: OnProblem = refuse
    ) -> SourceListing:
        """List the cases in the order of their ids."""
        volumes = {one_spelling(file.stem): (file,) for file in (path / "data").glob("[!.]*.h5")}
        # Of a case with slices and a volume, the reference trains on the slices.
        files = {**volumes, **_grouped_slices(path / "data" / "slices")}
        if not files:
            raise InputError(path, "HDF5 files under data/", found="none")
        cases = [
            Ssl4misCase(name, patient_of(name, options.patients), files[name])
            for name in sorted(files)
        ]
        classes, codes = _classes(path, cases, options.classes, on_problem)
        owners = {case.id: case.patient for case in cases}
        split, missing = official_split(path, owners, on_problem)
        return SourceListing(
            references=[replace(case, codes=codes) for case in cases],
            classes=classes,
            channels=1,
            official_split=split,
            missing_patients=missing,
            symmetries=ACDC_SYMMETRIES if classes == ACDC_CLASSES else None,
            remarks=(*_others(path / "data"), *unlisted(path, owners, split)),
        )


def _classes(
    path: Path, cases: list[Ssl4misCase], file: Path | None, on_problem: OnProblem
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names of the classes, and label code -> class code.

    Args:
        path: folder of the data set, for messages.
        cases: the cases, whose labels are read if there is no file.
        file: names of the label codes.
        on_problem: called with each file that cannot be read.
    """
    if file is not None:
        return read_numbered(file)
    found = _codes_in_labels(path, cases, on_problem)
    if are_acdcs({case.patient for case in cases}) and (
        not found or found - {IGNORED} == set(range(len(ACDC_CLASSES)))
    ):
        return ACDC_CLASSES, {}
    # A mask is often stored as 0 and 255; beside other codes, 255 is what nobody annotated.
    ignored = found & {IGNORED} if found - {0, IGNORED} else set()
    classes, codes = number_classes(name_codes(path, found - ignored))
    return classes, {**codes, **dict.fromkeys(ignored, IGNORED)}


def _codes_in_labels(path: Path, cases: list[Ssl4misCase], on_problem: OnProblem) -> set[int]:
    found: set[int] = set()
    for file in (file for case in cases for file in case.files):
        try:
            _, label = _read(file)
        except InputError as error:
            on_problem(error)
            continue
        if label is not None:
            found |= {int(code) for code in np.unique(label)}
            check_number(path, found)
    return found


def _others(data: Path) -> tuple[str, ...]:
    """Say what lies beside the HDF5 files and is not read."""
    lines: tuple[str, ...] = ()
    for folder in (data, data / "slices"):
        if folder.is_dir():
            slices = data / "slices"
            other = [p for p in visible(folder) if p.suffix != ".h5" and p != slices]
            lines += passed_over(folder, other)
    return lines


def _grouped_slices(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the slice files of each case in the order of their numbers, which are 1, 2, 3 ..."""
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in folder.glob("[!.]*.h5"):
        match = SLICE.match(file.stem)
        if match is None:
            raise InputError(file, "a name of the form CASE_slice_N.h5")
        slices = groups[one_spelling(match["case"])]
        other = slices.setdefault(int(match["number"]), file)
        if other != file:
            raise InputError(file, "one file for each slice", found=f"{other.name} too")
    for case, slices in groups.items():
        gaps = _gaps(slices)
        if gaps:
            file = folder / f"{case}_slice_{gaps[0][0]}.h5"
            expected = f"slices 1 to {max(slices)} of {case}"
            raise InputError(file, expected, found=f"none of {_listed(gaps)}")
    return {case: tuple(slices[n] for n in sorted(slices)) for case, slices in groups.items()}


def _gaps(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last number of each gap from 1 up, however wide it is."""
    there = sorted({0, *numbers})
    pairs = pairwise(there)
    return [(before + 1, after - 1) for before, after in pairs if after - before > 1]


def _listed(gaps: Sequence[tuple[int, int]]) -> str:
    """Return the numbers of the first few gaps."""
    names = [str(low) if low == high else f"{low} to {high}" for low, high in gaps[:_FEW_GAPS]]
    more = [f"{len(gaps) - _FEW_GAPS} more"] if len(gaps) > _FEW_GAPS else []
    *first, last = names + more
    return f"{', '.join(first)} and {last}" if first else last


def _read(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return image and label of one file, both (Z, H, W); a single slice has Z = 1."""
    regular_file(file, EXPECTED)
    image, label = guarded(file, EXPECTED, read_arrays, file, ("image", "label"))
    assert image is not None
    if image.ndim not in (2, 3) or 0 in image.shape or image.dtype.kind not in "iuf":
        expected = "a slice (H, W) or a volume (Z, H, W) of numbers"
        raise InputError(file, expected, got=f"{image.dtype} {image.shape}")
    if not np.isfinite(image).all():
        raise InputError(file, "finite intensities", found="NaN or infinity")
    if label is None:
        return _as_volume(image), None
    return _as_volume(image), _as_volume(whole_numbers(label, file))


def _as_volume(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 3 else array[np.newaxis]


SOURCE: Source = Ssl4mis()
