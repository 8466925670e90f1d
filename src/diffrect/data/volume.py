"""Image files in, label files out: NIfTI volumes with their geometry kept as it came.

Spacing is read from pixdim alone. ACDC's affines are unscaled, so an affine is carried along but
never used to measure anything.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from diffrect.atomic import write_atomic
from diffrect.errors import InputError

Spacing = tuple[float, float, float]

# All that nibabel and the decompressor raise for a file that is cut short or is not NIfTI at all.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    zlib.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)


@dataclass(frozen=True)
class Volume:
    """An image or a label map with its geometry.

    Attributes:
        array: (X, Y, Z), or (X, Y, Z, C) for C > 1 channels, in the file's own axis order.
        spacing: millimetres along X, Y, Z; None where the format does not record it.
        affine: (4, 4) float64, voxel index to world; the identity where the format has none.
        path: the file it came from, for messages.
    """

    array: np.ndarray
    spacing: Spacing | None
    affine: np.ndarray
    path: Path | None = None


def read_image(path: Path) -> Volume:
    """Read a NIfTI image in its own number type (X, Y, Z) or (X, Y, Z, C).

    Raises:
        InputError: unreadable or truncated file, not 3-D or 4-D, a value that is not finite,
            spacing that is not positive.
    """
    volume = _read(path)
    if not np.isfinite(volume.array).all():
        raise InputError(f"{path}: expected finite intensities, found NaN or infinity")
    return volume


def read_label(path: Path) -> Volume:
    """Read a NIfTI label map as integers (X, Y, Z); whole numbers stored as floats are fine.

    Raises:
        InputError: as for images, and for fractions, negative codes or more than one channel.
    """
    volume = _read(path)
    if volume.array.ndim != 3:
        raise InputError(f"{path}: expected a 3-D label map, got shape {volume.array.shape}")
    labels = whole_numbers(volume.array, path)
    return Volume(labels, volume.spacing, volume.affine, volume.path)


def whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    """The same label codes as an integer array; uint8 and other integer types are not copied.

    Raises:
        InputError: a code that is negative, fractional or not finite.
    """
    codes = array
    if not np.issubdtype(array.dtype, np.integer):
        if not np.isfinite(array).all():
            raise InputError(f"{path}: expected label codes, found NaN or infinity")
        codes = np.rint(array).astype(np.int64)
        if not np.array_equal(codes, array):
            raise InputError(f"{path}: expected whole label codes, found fractions")
    if codes.size and codes.min() < 0:
        raise InputError(f"{path}: expected label codes from 0 up, found {codes.min()}")
    return codes


def write_label(path: Path, labels: np.ndarray, like: Path) -> None:
    """Write labels (X, Y, Z) as a gzip-compressed uint8 NIfTI on the grid of the file ``like``.

    Affine, sform and qform with their codes, pixdim and units are copied byte for byte from the
    header of ``like``. The file appears under its name only when complete.

    Raises:
        InputError: ``like`` is unreadable, or its grid has another shape than ``labels``.
    """
    image, header = _open(like)
    if labels.shape != tuple(image.shape[:3]):
        raise InputError(
            f"{like}: expected a grid of {labels.shape} voxels, got {tuple(image.shape[:3])}"
        )
    pixdim = np.array(header["pixdim"])
    header.set_data_dtype(np.uint8)
    header.set_data_shape(labels.shape)
    header["pixdim"] = pixdim  # the line above resets the entries past the third axis
    # What belongs to the image's intensities says nothing about labels.
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"], header["cal_max"] = 0, 0
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    # Put together here, because nibabel's own writer would repair the geometry it is given.
    no_extensions = bytes(4)
    voxels = np.asarray(labels, dtype=np.uint8).tobytes(order="F")
    content = gzip.compress(header.binaryblock + no_extensions + voxels, 6, mtime=0)
    write_atomic(path, content)


def _open(path: Path) -> tuple[Any, Any]:
    """The nibabel image and its header as on disk.

    nibabel repairs headers while loading (a spacing of 0 becomes 1, a negative one positive); the
    second header is unrepaired, so that faults are seen and geometry is copied unchanged.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a NIfTI file, found no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected a NIfTI file, found an empty file")
    try:
        with _no_remarks():
            image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise InputError(f"{path}: expected a NIfTI file, got {type(image).__name__}")
        holder = image.file_map.get("header", image.file_map["image"])
        with holder.get_prepare_fileobj("rb") as stream:
            header = image.header_class.from_fileobj(stream, check=False)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"{path}: expected a readable NIfTI file: {_one_line(error)}") from None
    return image, header


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Keep nibabel from printing what it repairs: it is refused here, or kept as it is."""
    logger = nib.imageglobals.logger
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _read(path: Path) -> Volume:
    image, header = _open(path)
    try:
        array = np.asanyarray(image.dataobj)
    except _UNREADABLE as error:
        message = f"{path}: expected a readable NIfTI file, it seems truncated: {_one_line(error)}"
        raise InputError(message) from None
    except MemoryError:
        message = f"{path}: expected a volume that fits into memory, its header says {image.shape}"
        raise InputError(message) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path}: expected one real number per voxel, got {array.dtype}")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(f"{path}: expected a 3-D volume, got shape {array.shape}")
    spacing = tuple(abs(float(size)) for size in header["pixdim"][1:4])
    if not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"{path}: expected a spacing above 0 mm in pixdim, got {spacing}")
    x, y, z = spacing
    return Volume(array, (x, y, z), np.asarray(image.affine, dtype=np.float64), path)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
