"""A scan or a layer as the page reads it: NIfTI of few number types, compressed with gzip."""

import gzip
from typing import Any

import nibabel as nib
import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume

_AS_THEY_ARE = (np.uint8, np.int16, np.uint16)  # NiiVue draws them without converting them
_STEPS = 65535
_MOST_COUNTED = 2**20  # intensities, spread over the scan, that say how bright it is
_WINDOW = (0.5, 99.5)  # percentiles of the intensities that are black and white


def encode_scan(image: Volume, level: int = 1) -> bytes:
    """Return a scan as NIfTI: whole numbers of 16 bits as they are, others in 65,535 steps.

    The header says which intensities are black and white, and in `dim_info` along which axis the
    scan was taken in slices.

    Args:
        image: (X, Y, Z), or (X, Y, Z, C) with channels as points in time.
        level: of the compression, 1 to 9.
    """
    array = image.array
    some = array.ravel(order="K")[:: 1 + array.size // _MOST_COUNTED]
    low, high = np.percentile(some, _WINDOW)
    if low == high:
        low, high = float(array.min()), float(array.max())
    stored, slope, start = _in_few_steps(array)
    header = _header(image, stored)
    header["scl_slope"], header["scl_inter"] = slope, start
    header["cal_min"], header["cal_max"] = low, high
    return _packed(header, stored, level)


def encode_labels(labels: np.ndarray, image: Volume, level: int = 1) -> bytes:
    """Return codes (X, Y, Z) uint8 on the grid of a scan as NIfTI."""
    return _packed(_header(image, labels), labels, level)


def encode_map(values: np.ndarray, image: Volume, level: int = 1) -> bytes:
    """Return a map (X, Y, Z) from 0 to 1 on the grid of a scan as NIfTI, in steps of 1/255."""
    stored = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
    header = _header(image, stored)
    header["scl_slope"], header["scl_inter"] = 1 / 255, 0
    header["cal_min"], header["cal_max"] = 0, 1
    return _packed(header, stored, level)


def display_affine(image: Volume) -> np.ndarray:
    """Return the matrix (4, 4) by which a scan is shown: its directions and spacing, centred.

    An affine is believed in where its axes point only. A picture, or a file that does not say
    where they point, is shown with its columns to the right and its rows downwards.
    """
    axes = np.array(image.affine[:3, :3], np.float64)
    lengths = np.linalg.norm(axes, axis=0)
    known = image.spacing is not None and lengths.all()
    if known:
        axes = axes / lengths
        known = abs(np.linalg.det(axes)) > 1e-3
    affine = np.eye(4)
    affine[:3, :3] = (axes if known else np.diag([1.0, -1.0, 1.0])) * (image.spacing or (1, 1, 1))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(image.array.shape[:3]) - 1) / 2)
    return affine


def slice_axis(image: Volume) -> int:
    """Return the axis along which a scan was taken in slices: the coarsest, or that of the one."""
    shape = image.array.shape[:3]
    if 1 in shape:
        return max(axis for axis in range(3) if shape[axis] == 1)
    spacing = image.spacing or (1.0, 1.0, 1.0)
    return max(range(3), key=lambda axis: (round(spacing[axis] / max(spacing), 2), axis))


def _in_few_steps(array: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return intensities in a number type that the page reads, their slope and their start."""
    if array.dtype in _AS_THEY_ARE:
        return array, 1.0, 0.0
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind in "iu" and low >= -(2**15) and high < 2**15:
        return array.astype(np.int16), 1.0, 0.0
    slope = (high - low) / _STEPS
    if not slope or not np.isfinite(slope):
        return np.zeros(array.shape, np.uint8), 1.0, low
    steps = (array.astype(np.float64) - low) / slope
    return np.round(np.clip(steps, 0, _STEPS)).astype(np.uint16), slope, low


def _header(image: Volume, stored: np.ndarray) -> Any:
    if max(stored.shape) >= 2**15:
        shape = " x ".join(map(str, stored.shape))
        raise InputError(image.path, f"at most {2**15 - 1} voxels along an axis", got=shape)
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(stored.dtype.newbyteorder("<"))
    header.set_data_shape(stored.shape)
    header.set_sform(display_affine(image), code="aligned")
    header["pixdim"][1:4] = image.spacing or (1, 1, 1)
    header.set_dim_info(slice=slice_axis(image))
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return header


def _packed(header: Any, stored: np.ndarray, level: int) -> bytes:
    voxels = stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    return gzip.compress(header.binaryblock + bytes(4) + voxels, level, mtime=0)
