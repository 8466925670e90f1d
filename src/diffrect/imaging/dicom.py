"""Read a DICOM series as one volume; its geometry comes from headers, never from file names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.decoders.dicom_size import READABLE
from diffrect.imaging.decoders.gdcm import read_pixels
from diffrect.imaging.decoders.guard import guarded
from diffrect.imaging.dicom_header import Slice, object_kind, read_slices
from diffrect.imaging.itk import LPS_TO_RAS
from diffrect.imaging.kinds import pictures_beside, series_files
from diffrect.imaging.volume import Spacing, Volume


def read_dicom(path: Path) -> Volume:
    """Read the DICOM series in a folder, or one file.

    Slices are ordered by their positions, whatever the names of the files and the order of the
    frames in a file; their spacing is the distance between positions. Intensities are rescaled as
    the headers say. Pictures without a pixel spacing have no known geometry. Objects in the folder
    that are no slices are passed over and named among the remarks.

    Raises:
        InputError: a file is unreadable, there is more than one series, slices do not belong
            together, or one is missing.
    """
    slices, step, others = _series(path)
    return Volume(_read_pixels(slices), *_geometry(slices, step), path, _passed_over(others))


def slices_of(path: Path) -> list[Slice]:
    """Return the slices of a series in the order in which `read_dicom` stacks them along Z.

    Raises:
        InputError: see `read_dicom`.
    """
    return _series(path)[0]


def _series(path: Path) -> tuple[list[Slice], np.ndarray | None, list[Path]]:
    """Return the slices of a series in order, see `_in_order`, and what lies beside them."""
    slices, others = _slices_in(path) if path.is_dir() else (read_slices(path), [])
    _check_one_series(path, slices)
    return *_in_order(path, slices), others


def _slices_in(folder: Path) -> tuple[list[Slice], list[Path]]:
    """Return the slices of all images in a folder, and the files beside them that are no slices.

    Structures, reports, presentation states and the like are no images. Doses and segmentations
    are, but lie on a scan.
    """
    files = series_files(folder)
    if not files:
        raise InputError(folder, "a DICOM series", found="no DICOM files")
    kinds = {file: object_kind(file) for file in files}
    wanted = next((kind for kind in ("scan", "overlay") if kind in kinds.values()), None)
    if wanted is None:
        raise InputError(folder, "a DICOM series", found=f"no image in {_named(files)}")
    slices = [one for file in files if kinds[file] == wanted for one in read_slices(file)]
    others = [file for file in files if kinds[file] != wanted]
    return slices, others + pictures_beside(folder)


def _passed_over(files: Sequence[Path]) -> tuple[str, ...]:
    if not files:
        return ()
    verb = "is" if len(files) == 1 else "are"
    return (f"{_named(files)} {verb} not part of the series and {verb} passed over",)


def _named(files: Sequence[Path]) -> str:
    """Return the names of a few files."""
    names = [file.name for file in files[:3]]
    more = [f"{len(files) - 3} more"] if len(files) > 3 else []
    *first, last = names + more
    return f"{', '.join(first)} and {last}" if first else last


def _check_one_series(path: Path, slices: Sequence[Slice]) -> None:
    series = sorted({one.series for one in slices})
    if len(series) > 1:
        counts = sorted((sum(s.series == name for s in slices) for name in series), reverse=True)
        found = " and ".join(str(count) for count in counts[:5])
        raise InputError(
            path,
            "one DICOM series in a folder",
            found=f"{len(series)} of {found} files",
            hint="put each into a folder of its own",
        )
    first = slices[0]
    for one in slices[1:]:
        if one.frame is not None and one.file != first.file:
            raise InputError(one.file, "one slice per file", found="several frames")
        for name, here, there in (
            ("size", one.size, first.size),
            ("pixel spacing", one.pixel, first.pixel),
            ("channels", (one.components,), (first.components,)),
        ):
            if not _alike(here, there, rtol=1e-4):
                raise InputError(one.where, f"the {name} of {first.name}, {there}", got=here)
        if not _alike(one.direction, first.direction, atol=1e-3):
            raise InputError(one.where, f"the orientation of {first.name}")


def _alike(here: object, there: object, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Return whether two headers agree in a field.

    Args:
        here: the value in one header; None if it has none.
        there: the value in the other.
        rtol: relative difference that may be rounding.
        atol: absolute difference that may be rounding.
    """
    if here is None or there is None:
        return here is there
    return np.allclose(np.asarray(here), np.asarray(there), rtol=rtol, atol=atol)


def _in_order(path: Path, slices: list[Slice]) -> tuple[list[Slice], np.ndarray | None]:
    """Return the slices in the order of their positions, and the vector from one to the next.

    Frames without positions of their own, such as a film of ultrasound, stay in their order, and
    the vector is None.
    """
    frames = slices[0].frame is not None
    if len(slices) == 1 or (frames and all(one.position is None for one in slices[1:])):
        return slices, None
    positions = []
    for one in slices:
        missing = next((name for name, value in _placing(one).items() if value is None), None)
        if missing is not None:
            expected = "a header that says where the slice lies"
            raise InputError(one.where, expected, found=f"no {missing}")
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
    """Return the vector (3,) in mm from one slice to the next, the same for all of them.

    Args:
        path: the series, for messages.
        slices: its slices in the order of their positions.
        places: (slices, 3), their positions in mm.
        heights: (slices,), their positions along the normal of the slices.

    Raises:
        InputError: a slice is missing, is there twice or is out of line.
    """
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for before, after, gap in zip(slices, slices[1:], gaps, strict=False):
        names = f"{before.name} and {after.name}"
        if gap < 1e-3:
            raise InputError(path, "one file for each slice", found=f"{names} at one place")
        if gap > 1.5 * usual:
            found = f"a gap of {gap:g} mm between {names}"
            why = "slices are missing"
            raise InputError(path, f"a slice every {usual:g} mm", found=found, reason=why)
        if abs(gap - usual) > 0.05 * usual + 1e-2:
            found = f"{usual:g} and {gap:g} mm"
            raise InputError(path, "slices at equal distances", found=found)
    step: np.ndarray = (places[-1] - places[0]) / (len(slices) - 1)
    aside = np.linalg.norm(places - (places[0] + np.arange(len(slices))[:, None] * step), axis=1)
    worst = int(aside.argmax())
    if aside[worst] > 0.1 * usual + 0.1 * min(slices[0].pixel or (1.0,)):
        found = f"{slices[worst].name} {aside[worst]:.3g} mm beside it"
        raise InputError(path, "slices in a straight row", found=found)
    return step


def _read_pixels(slices: list[Slice]) -> np.ndarray:
    """Return the voxels (X, Y, Z[, C]), read file by file into their place."""
    if slices[0].frame is not None:
        return _read_frames(slices)
    volume: np.ndarray | None = None
    for index, one in enumerate(slices):
        pixels = _decode(one, 1)
        if volume is None:
            shape = (*pixels.shape[:2], len(slices), *pixels.shape[3:])
            volume = np.empty(shape, pixels.dtype, order="F")
        elif volume.shape[3:] != pixels.shape[3:]:
            expected = f"the channels of {slices[0].name}, {volume.shape[3:] or 1}"
            raise InputError(one.file, expected, got=pixels.shape[3:] or 1)
        elif volume.dtype != pixels.dtype:  # files may differ in their slopes
            volume = volume.astype(np.result_type(volume.dtype, pixels.dtype), order="F")
        volume[:, :, index] = pixels[:, :, 0]
    assert volume is not None
    return volume


def _read_frames(slices: list[Slice]) -> np.ndarray:
    """Return the voxels of a file with several frames, copied only if they are not in order."""
    frames = [one.frame or 0 for one in slices]
    pixels = _decode(slices[0], len(frames))
    if any(one.rescale != one.decoded for one in slices):
        return _rescaled_each(pixels, slices)
    if frames == list(range(len(frames))):
        return pixels
    return pixels[:, :, ::-1] if frames[::-1] == sorted(frames) else pixels[:, :, frames]


def _rescaled_each(pixels: np.ndarray, slices: list[Slice]) -> np.ndarray:
    """Return frames in the order of the slices, each rescaled by itself.

    Args:
        pixels: (X, Y, frames), all of them rescaled alike by the decoder.
        slices: the frames, whose headers may say other things.
    """
    volume = np.empty(pixels.shape, np.float64, order="F")
    for index, one in enumerate(slices):
        slope, intercept = one.decoded
        stored = np.rint((pixels[:, :, one.frame] - intercept) / slope)
        volume[:, :, index] = stored * one.rescale[0] + one.rescale[1]
    return volume


def _decode(one: Slice, frames: int) -> np.ndarray:
    """Return the pixels of a slice's file, (X, Y, frames[, C]), rescaled.

    Raises:
        InputError: they cannot be decoded, or are not as many as the header says.
    """
    values = one.size[0] * one.size[1] * one.components * frames
    pixels = guarded(one.file, READABLE, read_pixels, one.file, values).swapaxes(0, 2)
    if pixels.shape[:3] != (*one.size, frames):
        expected = f"pixels of {frames} frames of {one.size[0]} x {one.size[1]}"
        raise InputError(one.file, expected, found=f"shape {pixels.shape}")
    return pixels


def _geometry(slices: list[Slice], step: np.ndarray | None) -> tuple[Spacing | None, np.ndarray]:
    first = slices[0]
    distance = first.thickness if step is None else abs(float(step @ _normal(first)))
    unknown = distance is None and len(slices) > 1
    if unknown and first.pixel is not None and first.position is not None:
        raise InputError(first.file, "a header with the distance of its frames", found="none")
    if first.pixel is None or unknown:
        return None, np.eye(4)
    # 1 mm for a single slice of unknown thickness. With a tilted gantry, slices are nearer to each
    # other than their positions are.
    distance = round(distance or 1.0, 6)
    direction = np.eye(3)[:, :2] if first.direction is None else first.direction
    affine = np.eye(4)
    affine[:3, :2] = direction * first.pixel
    affine[:3, 2] = _normal(first) * distance if step is None else step
    affine[:3, 3] = np.zeros(3) if first.position is None else first.position
    return (*first.pixel, distance), LPS_TO_RAS @ affine
