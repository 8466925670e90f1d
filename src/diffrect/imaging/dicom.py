"""A DICOM series as one volume; its geometry comes from the headers, never from file names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from diffrect.errors import InputError
from diffrect.imaging.decode import decoding
from diffrect.imaging.dicom_header import Slice, read_slices
from diffrect.imaging.itk import LPS_TO_RAS, array_of, quiet
from diffrect.imaging.kinds import series_files

Spacing = tuple[float, float, float]


def read_dicom(path: Path) -> tuple[np.ndarray, Spacing | None, np.ndarray]:
    """Array (X, Y, Z), spacing and affine of the series in a folder, or of one file.

    Slices lie in the order of their positions, whatever the files are called and whatever the order
    of the frames in a file; their spacing is the distance between positions. Intensities are
    rescaled as the headers say. Of pictures without a pixel spacing the geometry is unknown.

    Raises:
        InputError: an unreadable file, more than one series, slices that do not belong together, a
            missing slice.
    """
    if path.is_dir():
        files = series_files(path)
        if not files:
            raise InputError(f"{path}: expected a DICOM series, found no DICOM files")
    else:
        files = [path]
    slices = [one for file in files for one in read_slices(file)]
    _check_one_series(path, slices)
    slices, step = _in_order(path, slices)
    return _read_pixels(slices), *_geometry(slices, step)


def _check_one_series(path: Path, slices: Sequence[Slice]) -> None:
    series = sorted({one.series for one in slices})
    if len(series) > 1:
        counts = sorted((sum(s.series == name for s in slices) for name in series), reverse=True)
        found = " and ".join(str(count) for count in counts[:5])
        raise InputError(
            f"{path}: expected one DICOM series in a folder, found {len(series)} of {found} files; "
            "put each into a folder of its own"
        )
    first = slices[0]
    for one in slices[1:]:
        if one.frame is not None and one.file != first.file:
            raise InputError(f"{one.file}: expected one slice a file, it has several frames")
        where = one.file if one.frame is None else f"{one.file}, {one.name}"
        for name, here, there in (
            ("size", one.size, first.size),
            ("pixel spacing", one.pixel, first.pixel),
            ("channels", (one.components,), (first.components,)),
        ):
            if not _alike(here, there, rtol=1e-4):
                raise InputError(
                    f"{where}: expected the {name} of {first.name}, {there}, got {here}"
                )
        if not _alike(one.direction, first.direction, atol=1e-3):
            raise InputError(f"{where}: expected the orientation of {first.name}")


def _alike(here: object, there: object, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Whether two headers say the same, which may be nothing."""
    if here is None or there is None:
        return here is there
    return np.allclose(np.asarray(here), np.asarray(there), rtol=rtol, atol=atol)


def _in_order(path: Path, slices: list[Slice]) -> tuple[list[Slice], np.ndarray | None]:
    """The slices by their positions and the vector from one to the next; None: nobody knows.

    Frames without positions of their own, such as a film of ultrasound, stay in their order.
    """
    frames = slices[0].frame is not None
    if len(slices) == 1 or (frames and all(one.position is None for one in slices[1:])):
        return slices, None
    positions = []
    for one in slices:
        missing = next((name for name, value in _placing(one).items() if value is None), None)
        if missing is not None:
            where = one.file if one.frame is None else f"{one.file}, {one.name}"
            raise InputError(f"{where}: expected where the slice lies, its header has no {missing}")
        positions.append(one.position)
    places = np.array(positions)  # (slices, 3)
    heights = places @ _normal(slices[0])
    order = np.argsort(heights, kind="stable")
    slices = [slices[index] for index in order]
    return slices, _step(path, slices, places[order], heights[order])


def _placing(one: Slice) -> dict[str, object]:
    return {
        "ImagePositionPatient": one.position,
        "ImageOrientationPatient": one.direction,
        "PixelSpacing": one.pixel,
    }


def _normal(one: Slice) -> np.ndarray:
    direction = np.eye(3)[:, :2] if one.direction is None else one.direction
    return np.cross(direction[:, 0], direction[:, 1])


def _step(path: Path, slices: list[Slice], places: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The vector from a slice to the next, the same for all of them."""
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for before, after, gap in zip(slices, slices[1:], gaps, strict=False):
        names = f"{before.name} and {after.name}"
        if gap < 1e-3:
            raise InputError(f"{path}: expected one file for each slice, {names} are at one place")
        if gap > 1.5 * usual:
            raise InputError(
                f"{path}: expected a slice every {usual:g} mm, found a gap of {gap:g} mm between "
                f"{names}: slices are missing"
            )
        if abs(gap - usual) > 0.05 * usual + 1e-2:
            raise InputError(
                f"{path}: expected slices at equal distances, found {usual:g} and {gap:g} mm"
            )
    step: np.ndarray = (places[-1] - places[0]) / (len(slices) - 1)
    aside = np.linalg.norm(places - (places[0] + np.arange(len(slices))[:, None] * step), axis=1)
    worst = int(aside.argmax())
    if aside[worst] > 0.1 * usual + 0.1 * min(slices[0].pixel or (1.0,)):
        raise InputError(
            f"{path}: expected slices in a straight row, {slices[worst].name} lies "
            f"{aside[worst]:.3g} mm beside it"
        )
    return step


def _read_pixels(slices: list[Slice]) -> np.ndarray:
    """The voxels (X, Y, Z[, C]), read file by file into their place."""
    if slices[0].frame is not None:
        return _read_frames(slices)
    volume: np.ndarray | None = None
    for index, one in enumerate(slices):
        pixels = _decode(one.file)
        if volume is None:
            shape = (*pixels.shape[:2], len(slices), *pixels.shape[3:])
            volume = np.empty(shape, pixels.dtype, order="F")
        elif volume.dtype != pixels.dtype:  # each file may have a slope of its own
            volume = volume.astype(np.result_type(volume.dtype, pixels.dtype), order="F")
        volume[:, :, index] = pixels[:, :, 0]
    assert volume is not None
    return volume


def _read_frames(slices: list[Slice]) -> np.ndarray:
    """The voxels of a file with several frames; copied only if these are not in order."""
    file, frames = slices[0].file, [one.frame or 0 for one in slices]
    pixels = _decode(file)
    if pixels.shape[2] != len(frames):
        found = f"found {pixels.shape[2]}"
        raise InputError(f"{file}: expected pixels of {len(frames)} frames, {found}")
    if frames == list(range(len(frames))):
        return pixels
    return pixels[:, :, ::-1] if frames[::-1] == sorted(frames) else pixels[:, :, frames]


def _decode(file: Path) -> np.ndarray:
    """The pixels of a file, (X, Y, frames[, C]), rescaled."""
    with decoding(file, "a readable DICOM file"), quiet():
        return array_of(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))


def _geometry(slices: list[Slice], step: np.ndarray | None) -> tuple[Spacing | None, np.ndarray]:
    first = slices[0]
    distance = first.thickness if step is None else abs(float(step @ _normal(first)))
    unknown = distance is None and len(slices) > 1
    if unknown and first.pixel is not None and first.position is not None:
        raise InputError(f"{first.file}: expected the distance of its frames, its header has none")
    if first.pixel is None or unknown:
        return None, np.eye(4)
    # A single slice of unknown thickness; of a tilted gantry the slices are nearer to each other
    # than their positions.
    distance = round(distance or 1.0, 6)
    direction = np.eye(3)[:, :2] if first.direction is None else first.direction
    affine = np.eye(4)
    affine[:3, :2] = direction * first.pixel
    affine[:3, 2] = _normal(first) * distance if step is None else step
    affine[:3, 3] = np.zeros(3) if first.position is None else first.position
    return (*first.pixel, distance), LPS_TO_RAS @ affine
