"""Image files in: any supported format as one array with its geometry.

All geometry is in NIfTI's convention: an affine maps voxel indices to millimetres towards the
right, anterior and superior (RAS+). Spacing is a thing of its own: ACDC's affines are unscaled, so
an affine says where axes point, and is never used to measure anything.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.kinds import find_images, kind_of

__all__ = [
    "Spacing",
    "Volume",
    "find_images",
    "read_image",
    "read_label",
    "whole_numbers",
    "write_label",
]

Spacing = tuple[float, float, float]

_ROUNDING = 1e-4  # of codes that were divided and multiplied by a slope


@dataclass(frozen=True)
class Volume:
    """An image or a label map with its geometry.

    Attributes:
        array: (X, Y, Z), or (X, Y, Z, C) for C > 1 channels, in the file's own axis order; a
            picture is (columns, rows, 1).
        spacing: millimetres along X, Y, Z; None where the format does not record it.
        affine: (4, 4) float64, voxel index to world, RAS+; the identity where the format has none.
        path: the file or, of a DICOM series, the folder it came from, for messages.
        remarks: what is unusual about it though it was read, a line each.
    """

    array: np.ndarray
    spacing: Spacing | None
    affine: np.ndarray
    path: Path | None = None
    remarks: tuple[str, ...] = ()


def read_image(path: Path) -> Volume:
    """Read an image in its own number type (X, Y, Z) or (X, Y, Z, C).

    NIfTI, NRRD, MHA and MHD, a DICOM series (its folder), PNG, TIFF and JPEG (a slice of one).

    Raises:
        InputError: unreadable or truncated file, not 3-D or 4-D, a value that is not finite,
            spacing that is not positive.
    """
    volume = _read(path)
    if not all(np.isfinite(plane).all() for plane in np.moveaxis(volume.array, 2, 0)):
        raise InputError(f"{path}: expected finite intensities, found NaN or infinity")
    return volume


def read_label(path: Path) -> Volume:
    """Read a label map as integers (X, Y, Z); whole numbers stored as floats are fine.

    Of a picture with a palette the codes are the palette's indices.

    Raises:
        InputError: as for images, and for fractions, negative codes, colours or more than one
            channel.
    """
    volume = _read(path, label=True)
    if volume.array.ndim != 3:
        raise InputError(f"{path}: expected a 3-D label map, got shape {volume.array.shape}")
    return replace(volume, array=whole_numbers(volume.array, path))


def write_label(path: Path, labels: np.ndarray, like: "Path | Volume") -> None:
    """Write labels (X, Y, Z) as uint8 on the grid of an image, see `diffrect.imaging.write`.

    Raises:
        InputError: ``like`` is unreadable, or its grid has another shape than ``labels``.
    """
    from diffrect.imaging.write import write_labels

    write_labels(path, labels, like if isinstance(like, Volume) else _read(like))


def whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    """The same label codes as an integer array; uint8 and other integer types are not copied.

    Raises:
        InputError: a code that is negative, fractional or not finite.
    """
    codes = array
    if not np.issubdtype(array.dtype, np.integer):
        if not np.isfinite(array).all():
            raise InputError(f"{path}: expected label codes, found NaN or infinity")
        if array.size and np.abs(array).max() > 2**53:
            raise InputError(f"{path}: expected label codes, found {np.abs(array).max():g}")
        codes = np.rint(array).astype(np.int64)
        if not np.allclose(codes, array, rtol=0, atol=_ROUNDING):
            raise InputError(f"{path}: expected whole label codes, found fractions")
    if codes.size and codes.min() < 0:
        raise InputError(f"{path}: expected label codes from 0 up, found {codes.min()}")
    return codes


def _read(path: Path, label: bool = False) -> Volume:
    """The volume in whatever format it is; each format's library is loaded when first needed."""
    kind = kind_of(path)
    remarks: tuple[str, ...] = ()
    if kind == "picture":
        from diffrect.imaging.picture import read_picture

        array, remarks = read_picture(path, label=label)
        spacing, affine = None, np.eye(4)
    elif kind == "dicom":
        from diffrect.imaging.dicom import read_dicom

        array, spacing, affine = read_dicom(path)
    elif kind == "itk":
        from diffrect.imaging.itk import read_itk

        array, spacing, affine = read_itk(path)
    else:
        from diffrect.imaging.nifti import read_nifti

        array, spacing, affine = read_nifti(path)
    return _checked(Volume(array, spacing, affine, path, remarks))


def _checked(volume: Volume) -> Volume:
    """The volume with one number type, shape and geometry that the rest can rely on."""
    array, path = volume.array, volume.path
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path}: expected one real number per voxel, got {array.dtype}")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(f"{path}: expected a 3-D volume, got shape {array.shape}")
    if volume.spacing is not None and not all(
        np.isfinite(size) and size > 0 for size in volume.spacing
    ):
        raise InputError(f"{path}: expected a spacing above 0 mm, got {volume.spacing}")
    if not np.isfinite(volume.affine).all():
        raise InputError(f"{path}: expected a finite affine, found NaN or infinity")
    # bool knows no arithmetic
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    return replace(volume, array=array, remarks=volume.remarks + _remarks(volume.affine))


def _remarks(affine: np.ndarray) -> tuple[str, ...]:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not lengths.all():
        return ("its affine does not say where every axis points",)
    axes = affine[:3, :3] / lengths
    cosine = np.abs(axes.T @ axes - np.eye(3)).max()
    if cosine > 1e-3:  # 0.06 degrees; single precision leaves 1e-6
        degrees = np.degrees(np.arccos(min(1.0, float(cosine))))
        return (f"its axes are not at right angles ({degrees:.1f} degrees between two of them)",)
    return ()
