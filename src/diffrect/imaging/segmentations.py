"""Segmentations whose files list segments: 3D Slicer's `.seg.nrrd`, and DICOM SEG.

Both hold as little of the grid as they can, and may give a voxel to several segments. They become
label maps with one code per voxel, which `turn_onto` puts on the grid of their image.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from diffrect.errors import InputError
from diffrect.imaging.decode import decoding
from diffrect.imaging.decoders.dicom_size import check_pixels
from diffrect.imaging.decoders.gdcm import read_stored
from diffrect.imaging.decoders.guard import guarded
from diffrect.imaging.dicom_header import parsed
from diffrect.imaging.itk import LPS_TO_RAS, read_header
from diffrect.imaging.kinds import series_files
from diffrect.imaging.volume import Volume

_DICOM = "a readable DICOM segmentation"
_EXPORT = "export it as a label map, with one code per segment"
_MOST_SLICES = 2**12
_MOST_VOXELS = 2**30


def merge_layers(volume: Volume, path: Path) -> Volume:
    """Return the label map of a NRRD file; that of 3D Slicer may be cropped and have layers.

    The codes are the segments' label values.

    Args:
        volume: the file's voxels, (X, Y, Z), or (X, Y, Z, layers).
        path: the file.

    Raises:
        InputError: segments overlap, or two of them have one label value.
    """
    entries = read_header(path).entries
    numbers = [match[1] for key in entries if (match := re.fullmatch(r"Segment(\d+)_ID", key))]
    if not numbers and "Segmentation_ReferenceImageExtentOffset" not in entries:
        return volume
    names: dict[str, str] = {}
    for number in sorted(numbers, key=int):
        name = entries.get(f"Segment{number}_Name", f"segment {number}")
        code = entries.get(f"Segment{number}_LabelValue", "1").strip()
        if code in names:
            found = f"{names[code]} and {name} with code {code}"
            raise InputError(path, "a code for each segment", found=found, hint=_EXPORT)
        names[code] = name
    return replace(volume, array=_merged(volume.array, path), cropped=True)


def _merged(array: np.ndarray, path: Path) -> np.ndarray:
    """Return layers (X, Y, Z, layers) as one (X, Y, Z)."""
    if array.ndim != 4:
        return array
    if np.any(np.count_nonzero(array, axis=3) > 1):
        raise InputError(path, "one segment per voxel", found="segments that overlap", hint=_EXPORT)
    merged: np.ndarray = array.max(axis=3)
    return merged


def segmentation_file(path: Path) -> Path | None:
    """Return the DICOM segmentation that a file, or the only file of a folder, is; else None."""
    files = series_files(path) if path.is_dir() else [path]
    if len(files) != 1:
        return None
    kind = parsed(files[0], _DICOM, _class_of, files[0])
    return files[0] if kind == SegmentationStorage else None


def _class_of(file: Path) -> str:
    tags = ["SOPClassUID"]
    header = pydicom.dcmread(file, True, True, force=True, specific_tags=tags)
    return str(header.get("SOPClassUID"))


def read_segmentation(file: Path) -> Volume:
    """Read a DICOM segmentation as a label map (X, Y, Z), whose codes are the segments' numbers.

    Raises:
        InputError: it is unreadable, holds fractions, or its segments overlap; or its frames do not
            lie at equal distances in a straight row.
    """
    data = parsed(file, _DICOM, pydicom.dcmread, file)
    with decoding(file, _DICOM):
        check_pixels(file, data)
        if data.SegmentationType != "BINARY":
            kind = str(data.SegmentationType).lower()
            raise InputError(file, "a binary DICOM segmentation", found=kind, hint=_EXPORT)
        frames = list(data.PerFrameFunctionalGroupsSequence)
        shared = data.SharedFunctionalGroupsSequence[0]
        measures = _group(frames[0], shared, "PixelMeasuresSequence")
        plane = _group(frames[0], shared, "PlaneOrientationSequence")
        rows, columns = (float(size) for size in measures.PixelSpacing)
        along = np.array(plane.ImageOrientationPatient, float).reshape(2, 3)
        found = [_group(f, shared, "PlanePositionSequence").ImagePositionPatient for f in frames]
        positions, normal = np.array(found, float), np.cross(*along)
        known = (measures.get("SpacingBetweenSlices"), measures.get("SliceThickness"))
        places, step, slant = _places(file, positions, normal, known, 0.1 * min(rows, columns))
        segments = [
            int(_group(one, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            for one in frames
        ]
        values = len(frames) * data.Rows * data.Columns
        pixels = guarded(file, _DICOM, read_stored, file, values)
        pixels = pixels.reshape(len(frames), data.Rows, data.Columns)
        array = _paint(file, pixels, places, segments)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([along[0] * columns, along[1] * rows, slant * step])
    affine[:3, 3] = positions[int(places.argmin())]
    return Volume(array, (columns, rows, step), LPS_TO_RAS @ affine, file, cropped=True)


def _paint(
    file: Path, frames: np.ndarray, places: np.ndarray, segments: Sequence[int]
) -> np.ndarray:
    """Return the codes (X, Y, Z) of frames that show one segment in one slice each.

    Args:
        file: the segmentation, for messages.
        frames: (frames, rows, columns), not 0 where the segment is.
        places: the slice of each frame.
        segments: the code of each frame.

    Raises:
        InputError: a voxel belongs to two segments.
    """
    shape = (*frames.shape[:0:-1], int(places.max()) + 1)
    if math.prod(shape) > _MOST_VOXELS:
        expected = f"{_MOST_VOXELS} voxels or less"
        raise InputError(file, expected, got=f"{' x '.join(map(str, shape))}", hint=_EXPORT)
    array = np.zeros(shape, np.uint16)
    for frame, place, segment in zip(frames, places, segments, strict=True):
        layer, there = array[:, :, place], frame.T != 0
        if not np.isin(layer[there], (0, segment)).all():
            found = "segments that overlap"
            raise InputError(file, "one segment per voxel", found=found, hint=_EXPORT)
        layer[there] = segment
    return array


def _group(frame: Dataset, shared: Dataset, name: str) -> Any:
    """Return a part of a frame's header, which may be that of all frames."""
    return (frame if name in frame else shared)[name][0]


def _places(
    file: Path, positions: np.ndarray, normal: np.ndarray, known: Sequence[Any], near: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the number of each frame's slice, from 0, and where slices follow each other.

    That is the distance of slices in mm, and the vector (3,) by which their place changes per mm of
    it: the normal, unless the gantry was tilted. Slices without any segment have no frame, so there
    are gaps.

    Args:
        file: the segmentation, for messages.
        positions: (frames, 3), where the frames begin, in mm.
        normal: (3,) of the slices.
        known: distances of slices in mm that the header mentions; None where it does not.
        near: mm that count as nothing.

    Raises:
        InputError: the frames do not lie at equal distances in a straight row.
    """
    heights = positions @ normal
    first, last = heights.argmin(), heights.argmax()
    heights = heights - heights[first]
    slant = normal
    if heights[last] > near:
        slant = (positions[last] - positions[first]) / heights[last]
    aside = positions - positions[first] - np.outer(heights, slant)
    gaps = np.diff(np.unique(np.round(heights, 3)))
    if np.abs(aside).max() > near:
        raise InputError(file, "frames in a straight row", hint=_EXPORT)
    steps = [float(step) for step in (*known, *gaps.min(initial=np.inf, keepdims=True)) if step]
    for step in steps:
        places = np.rint(heights / step)
        fits = np.isfinite(step) and np.abs(heights - places * step).max() <= 0.05 * step
        apart = len(np.unique(places)) == len(gaps) + 1
        if step > 0 and fits and apart and places.max() < _MOST_SLICES:
            return places.astype(int), step, slant
    raise InputError(file, "frames at equal distances", hint=_EXPORT)
