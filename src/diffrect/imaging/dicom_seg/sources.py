"""The headers of the scan that a DICOM segmentation refers to, complete and in agreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from diffrect.errors import InputError
from diffrect.imaging.decode import decoding
from diffrect.imaging.decoders.dicom_size import READABLE
from diffrect.imaging.dicom import slices_of
from diffrect.imaging.dicom_header import Slice, parsed
from diffrect.imaging.volume import Volume

EXPECTED = "a DICOM series that a segmentation can refer to"
_NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
)
# They may be empty; programs that remove names from headers may leave them out.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


@dataclass(frozen=True)
class Sources:
    """What a segmentation refers to.

    Attributes:
        path: the series, for messages.
        headers: of each file, without pixels.
        order: which slice of the volume, along Z, each file or each frame of the only file is.
        size: (X, Y, Z) of the volume.
    """

    path: Path
    headers: list[Dataset]
    order: list[int]
    size: tuple[int, ...]


def read_sources(image: Volume) -> Sources:
    """Return the headers of the DICOM series that a volume was read from.

    What may be missing becomes empty, and the geometry of all slices is said as the volume has it:
    one orientation, one pixel spacing and the measured distance of slices.

    Raises:
        InputError: a header has no place in the patient or does not identify its image.
    """
    path = image.path or Path()
    slices = slices_of(path)
    for name, value in (
        ("PixelSpacing", slices[0].pixel),
        ("ImagePositionPatient", slices[0].position),
        ("ImageOrientationPatient", slices[0].direction),
    ):
        if value is None or image.spacing is None:
            raise InputError(slices[0].file, EXPECTED, found=f"a header without {name}")
    files = list(dict.fromkeys(one.file for one in slices))
    headers = [parsed(file, READABLE, _header, file) for file in files]
    for file, header in zip(files, headers, strict=True):
        for name in _NEEDED:
            if not header.get(name):
                raise InputError(file, EXPECTED, found=f"a header without {name}")
        for name in _MAY_BE_EMPTY:
            if name not in header:
                setattr(header, name, None)
        with decoding(file, EXPECTED):
            _say_geometry(header, slices, image)
    frames = [one.frame or 0 for one in slices]
    order = np.argsort(frames, kind="stable").tolist() if len(files) < len(slices) else None
    return Sources(path, headers, order or list(range(len(slices))), image.array.shape[:3])


def _header(file: Path) -> Dataset:
    header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
    header.decode()  # The segmentation's own text is UTF-8.
    return header


def _say_geometry(header: Dataset, slices: Sequence[Slice], image: Volume) -> None:
    """Put the geometry of the volume into a header, in place of what may differ by rounding.

    Args:
        header: of one of the files.
        slices: of the series, of which the first has a place.
        image: the volume.
    """
    first = slices[0]
    across, down, between = image.spacing or (1.0, 1.0, 1.0)
    direction = np.eye(3)[:, :2] if first.direction is None else first.direction
    orientation = [_number(value) for value in direction.T.ravel()]
    spacing = [_number(down), _number(across)]
    if "PerFrameFunctionalGroupsSequence" not in header:
        thickness = header.get("SliceThickness")
        header.ImageOrientationPatient, header.PixelSpacing = orientation, spacing
        header.SpacingBetweenSlices = _number(between)
        header.SliceThickness = thickness or _number(between)
        return
    measures = _item(PixelSpacing=spacing, SpacingBetweenSlices=_number(between))
    thickness = first.thickness if first.thickness is not None else between
    measures.SliceThickness = _number(thickness)
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=orientation)]
    header.SharedFunctionalGroupsSequence = [shared]


def _number(value: float) -> DSfloat:
    """Return a number as a header holds it, in at most 16 characters."""
    return DSfloat(float(value), auto_format=True)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item
