"""A DICOM series as one volume; its geometry comes from the headers, never from file names.

Only what places the voxels is read. Nothing that identifies a person is kept.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from diffrect.data.decode import check_file, decoding
from diffrect.data.formats import series_files
from diffrect.data.itk import LPS_TO_RAS, array_of, geometry_of, quiet
from diffrect.errors import InputError

Spacing = tuple[float, float, float]

_SERIES = "0020|000e"
_POSITION = "0020|0032"
_BETWEEN = "0018|0088"
_THICKNESS = "0018|0050"
_FRAMES = "0028|0008"


@dataclass(frozen=True)
class _Slice:
    """What one file of a series says of itself; millimetres in DICOM's LPS+."""

    file: Path
    series: str
    size: tuple[int, ...]
    components: int
    pixel: tuple[float, float]
    position: np.ndarray  # (3,)
    direction: np.ndarray  # (3, 2): where columns and rows increase
    thickness: float
    frames: int

    @property
    def height(self) -> float:
        """Millimetres along the normal of the slice."""
        normal = np.cross(self.direction[:, 0], self.direction[:, 1])
        return float(self.position @ normal)


def read_dicom(path: Path) -> tuple[np.ndarray, Spacing, np.ndarray]:
    """Array (X, Y, Z), spacing and affine of the series in a folder, or of one file.

    Slices lie in the order of their positions, whatever the files are called; their spacing is the
    distance between positions. Intensities are rescaled as the headers say.

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
    slices = [_read_header(file) for file in files]
    if len(slices) == 1 and slices[0].frames > 1:
        return _read_frames(slices[0].file)
    _check_one_series(path, slices)
    slices.sort(key=lambda one: one.height)
    step = _step(path, slices)
    return _read_pixels(slices), *_geometry(slices, step)


def _read_header(file: Path) -> _Slice:
    check_file(file, "a DICOM file")
    with decoding(file, "a readable DICOM file"), quiet():
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        origin, direction = np.zeros(3), np.eye(3)
        size, dimensions = reader.GetSize(), reader.GetDimension()
        origin[:dimensions] = reader.GetOrigin()[:3]
        direction[:dimensions, :dimensions] = np.reshape(reader.GetDirection(), (dimensions, -1))
        frames = int(_number(reader, _FRAMES) or 1)
        if frames == 1 and not reader.HasMetaDataKey(_POSITION):
            origin = np.zeros(3)
        return _Slice(
            file,
            series=reader.GetMetaData(_SERIES).strip() if reader.HasMetaDataKey(_SERIES) else "",
            size=tuple(size[:2]),
            components=reader.GetNumberOfComponents(),
            pixel=(reader.GetSpacing()[0], reader.GetSpacing()[1]),
            position=origin,
            direction=direction[:, :2],
            thickness=_number(reader, _BETWEEN) or _number(reader, _THICKNESS) or 1.0,
            frames=frames,
        )


def _number(reader: sitk.ImageFileReader, tag: str) -> float:
    """A number in the header; 0 where there is none."""
    text = reader.GetMetaData(tag) if reader.HasMetaDataKey(tag) else ""
    try:
        return abs(float(text.split("\\")[0]))
    except ValueError:
        return 0.0


def _read_frames(file: Path) -> tuple[np.ndarray, Spacing, np.ndarray]:
    """A file with several frames is a volume of its own."""
    with decoding(file, "a readable DICOM file"), quiet():
        image = sitk.ReadImage(str(file), imageIO="GDCMImageIO")
        return array_of(image), *geometry_of(image)


def _check_one_series(path: Path, slices: list[_Slice]) -> None:
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
        for name, here, there in (
            ("size", one.size, first.size),
            ("pixel spacing", one.pixel, first.pixel),
            ("channels", one.components, first.components),
        ):
            if not np.allclose(here, there, rtol=1e-4):
                raise InputError(
                    f"{one.file}: expected the {name} of {first.file.name}, {there}, got {here}"
                )
        if not np.allclose(one.direction, first.direction, atol=1e-3):
            raise InputError(f"{one.file}: expected the orientation of {first.file.name}")
        if one.frames != 1:
            raise InputError(f"{one.file}: expected one slice a file, found {one.frames} frames")


def _step(path: Path, slices: list[_Slice]) -> np.ndarray:
    """The vector from a slice to the next, the same for all of them."""
    first = slices[0]
    normal = np.cross(first.direction[:, 0], first.direction[:, 1])
    if len(slices) == 1:
        return normal * first.thickness
    heights = np.array([one.height for one in slices])
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for before, after, gap in zip(slices, slices[1:], gaps, strict=False):
        names = f"{before.file.name} and {after.file.name}"
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
    step: np.ndarray = (slices[-1].position - first.position) / (len(slices) - 1)
    return step


def _read_pixels(slices: list[_Slice]) -> np.ndarray:
    """The voxels (X, Y, Z[, C]), read file by file into their place."""
    volume: np.ndarray | None = None
    for index, one in enumerate(slices):
        with decoding(one.file, "a readable DICOM file"), quiet():
            pixels = array_of(sitk.ReadImage(str(one.file), imageIO="GDCMImageIO"))
        if volume is None:
            shape = (*pixels.shape[:2], len(slices), *pixels.shape[3:])
            volume = np.empty(shape, pixels.dtype, order="F")
        elif volume.dtype != pixels.dtype:  # each file may have a slope of its own
            volume = volume.astype(np.result_type(volume.dtype, pixels.dtype), order="F")
        volume[:, :, index] = pixels[:, :, 0]
    assert volume is not None
    return volume


def _geometry(slices: list[_Slice], step: np.ndarray) -> tuple[Spacing, np.ndarray]:
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = first.direction[:, 0] * first.pixel[0]
    affine[:3, 1] = first.direction[:, 1] * first.pixel[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    normal = np.cross(first.direction[:, 0], first.direction[:, 1])
    # Of a tilted gantry the slices are nearer to each other than their positions.
    distance = round(abs(float(step @ normal)), 6) if len(slices) > 1 else first.thickness
    return (first.pixel[0], first.pixel[1], distance), LPS_TO_RAS @ affine
