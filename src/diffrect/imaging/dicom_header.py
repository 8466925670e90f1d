"""Read from DICOM headers where slices lie: one slice per file, or one per frame.

Only fields that place the voxels are read. Fields that identify a person are not looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
)

from diffrect.errors import InputError
from diffrect.imaging.decode import check_file, decoding
from diffrect.imaging.decoders.dicom_size import READABLE, check_pixels
from diffrect.imaging.decoders.guard import guarded

Result = TypeVar("Result")
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
_META = 4096  # bytes that hold the transfer syntax
_OVERLAYS = (
    RTDoseStorage,
    SegmentationStorage,
    "1.2.840.10008.5.1.4.1.1.66.7",  # label map segmentation
    ParametricMapStorage,
)
_TAGS = (
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "BitsAllocated",
    "PhotometricInterpretation",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SpacingBetweenSlices",
    "SliceThickness",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelData",
)
# The part of a multi-frame header in which each field lies.
_GROUPS = {
    "PixelSpacing": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


@dataclass(frozen=True)
class Slice:
    """One file of a series, or one frame of a file; millimetres in DICOM's LPS+.

    Attributes:
        file: the file that holds it.
        frame: its number in the file, from 0; None if it is the only one.
        series: the series that it belongs to.
        size: columns and rows.
        components: number of channels.
        pixel: millimetres between columns and between rows; None if not recorded.
        position: (3,) of its first pixel; None if not recorded.
        direction: (3, 2), where columns and rows increase; None if not recorded.
        thickness: millimetres to the next slice, as far as a single header knows.
        rescale: slope and intercept of a frame of an enhanced file.
        decoded: slope and intercept that GDCM applies to all frames of the file.
    """

    file: Path
    frame: int | None
    series: str
    size: tuple[int, int]
    components: int
    pixel: tuple[float, float] | None
    position: np.ndarray | None
    direction: np.ndarray | None
    thickness: float | None
    rescale: tuple[float, float] = (1.0, 0.0)
    decoded: tuple[float, float] = (1.0, 0.0)

    @property
    def name(self) -> str:
        """Its name beside other slices of the series, for messages."""
        return self.file.name if self.frame is None else f"frame {self.frame + 1}"

    @property
    def where(self) -> str:
        """Its file, and its frame if there are several, for messages."""
        return str(self.file) if self.frame is None else f"{self.file}, {self.name}"


def object_kind(file: Path) -> Literal["scan", "overlay", "other"]:
    """Return what a file of a series' folder is: a scan's, a dose or segmentation, or no image.

    A file that does not say what it is, or says that it is an image, counts as a scan's, so that
    damaged files are found.
    """
    return parsed(file, READABLE, _object_kind, file)


def _object_kind(file: Path) -> Literal["scan", "overlay", "other"]:
    tags = ["SOPClassUID", "Rows"]
    header = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=tags)
    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if uid is None:
        return "scan"
    if uid in _OVERLAYS:
        return "overlay"
    return "scan" if "Rows" in header or "Image Storage" in UID(uid).name else "other"


def parsed(file: Path, expected: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return what a function reads from the header of a DICOM file.

    A header that is deflated may become a thousand times as long, so such a file is read under the
    limits of a decoder.

    Args:
        file: the file.
        expected: what it should be.
        function: reads it.
        arguments: what the function is called with.

    Raises:
        InputError: the file cannot be read, or the function raises something.
    """
    check_file(file, "a DICOM file")
    with decoding(file, expected):
        with file.open("rb") as stream:
            deflated = _DEFLATED in stream.read(_META)
        if deflated:
            return guarded(file, expected, function, *arguments)
        return function(*arguments)


def read_slices(file: Path) -> list[Slice]:
    """Return the slices of a file in the order in which it holds them.

    Raises:
        InputError: the file is not DICOM, has no image, has fewer pixels than it should, or its
            header contradicts itself.
    """
    return parsed(file, READABLE, _read_slices, file)


def _read_slices(file: Path) -> list[Slice]:
    header = pydicom.dcmread(file, force=True, specific_tags=list(_TAGS), defer_size=64)
    frames = check_pixels(file, header)
    if frames == 1 and "PerFrameFunctionalGroupsSequence" not in header:
        return [_slice(file, None, header, [header])]
    groups = list(_groups(file, header, frames))
    slices = [
        _slice(file, frame if frames > 1 else None, header, [*group, header])
        for frame, group in enumerate(groups)
    ]
    decoded = _rescale(file, _shared_rescaling(header) or groups[0])
    slices = [replace(one, decoded=decoded) for one in slices]
    if "PerFrameFunctionalGroupsSequence" in header:
        return slices
    # The position in the header is that of the first frame only.
    return [slices[0], *(replace(one, position=None) for one in slices[1:])]


def _slice(file: Path, frame: int | None, header: Dataset, places: list[Dataset]) -> Slice:
    """Return a slice.

    Args:
        file: the file that holds it.
        frame: its number in the file; None if it is the only one.
        header: the header of the file.
        places: parts of the header; a field is taken from the first part that has it.

    Raises:
        InputError: spacing, position or orientation are impossible.
    """
    pixel = _numbers(places, "PixelSpacing", 2)  # between rows, between columns
    if pixel is not None and not (np.isfinite(pixel).all() and pixel.min() > 0):
        raise InputError(file, "a pixel spacing above 0 mm", got=tuple(pixel.tolist()))
    position = _numbers(places, "ImagePositionPatient", 3)
    if position is not None and not np.isfinite(position).all():
        raise InputError(file, "a finite position", got=tuple(position.tolist()))
    between = _numbers(places, "SpacingBetweenSlices", 1)
    thickness = _numbers(places, "SliceThickness", 1)
    distances = [abs(float(one[0])) for one in (between, thickness) if one is not None]
    return Slice(
        file,
        frame,
        series=str(header.get("SeriesInstanceUID") or ""),
        size=(int(header.Columns), int(header.Rows)),
        components=int(header.get("SamplesPerPixel") or 1),
        pixel=None if pixel is None else (float(pixel[1]), float(pixel[0])),
        position=position,
        direction=_direction(file, places),
        thickness=next((one for one in distances if 0 < one < np.inf), None),
        rescale=_rescale(file, places),
    )


def _direction(file: Path, places: list[Dataset]) -> np.ndarray | None:
    """Return unit vectors along columns and rows, which are at right angles."""
    cosines = _numbers(places, "ImageOrientationPatient", 6)
    if cosines is None:
        return None
    across, down = cosines.reshape(2, 3)
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if not (np.allclose(lengths, 1, atol=0.01) and abs(float(across @ down)) < 0.01):
        expected = "unit vectors at right angles in ImageOrientationPatient"
        raise InputError(file, expected, got=tuple(cosines.tolist()))
    return np.stack([across / lengths[0], down / lengths[1]], axis=1)


def _numbers(places: list[Dataset], name: str, count: int) -> np.ndarray | None:
    """Return `count` numbers of that name from the first place that has them, or None."""
    for place in places:
        value = place.get(name)
        if value is not None and value != "":
            numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
            if len(numbers) != count:
                raise ValueError(f"{name} has {len(numbers)} values, not {count}")
            return numbers
    return None


def _groups(file: Path, header: Dataset, frames: int) -> Iterator[list[Dataset]]:
    """Yield for each frame the parts of the header about it and about all frames."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    each = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    if each and len(each) != frames:
        raise InputError(file, f"headers of {frames} frames", found=len(each))
    names = dict.fromkeys(_GROUPS.values())
    for group in each or [Dataset()] * frames:
        yield [part for one in (group, *shared) for name in names for part in one.get(name) or []]


def _shared_rescaling(header: Dataset) -> list[Dataset]:
    shared = header.get("SharedFunctionalGroupsSequence") or []
    return [part for one in shared for part in one.get("PixelValueTransformationSequence") or []]


def _rescale(file: Path, places: list[Dataset]) -> tuple[float, float]:
    slope = _numbers(places, "RescaleSlope", 1)
    intercept = _numbers(places, "RescaleIntercept", 1)
    found = (
        1.0 if slope is None else float(slope[0]),
        0.0 if intercept is None else float(intercept[0]),
    )
    if not np.isfinite(found).all() or found[0] == 0:
        raise InputError(file, "a rescale slope that is not 0", got=found)
    return found
