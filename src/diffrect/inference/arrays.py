"""What a caller gives a model to label: files, and arrays in memory as volumes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.label_codes import whole_numbers
from diffrect.imaging.read import read_image
from diffrect.imaging.volume import Volume
from diffrect.inference.average import Member, segment_by_all

_ARRAY = Path("array")


def label_source(
    members: Sequence[Member],
    source: np.ndarray | Path | str,
    spacing: Sequence[float] | None,
    axis: str | None,
    largest_component: bool,
) -> np.ndarray:
    """Return the labels of a scan, uint8 on its own grid.

    Args:
        members: the models that label it together.
        source: an image file, the folder of a DICOM series, or an array, see `volume_of`.
        spacing: millimetres along the axes of an array; None if unknown.
        axis: see `segment_by_all`, as `largest_component`.
        largest_component: keep only the largest connected part of each class.

    Raises:
        InputError: something that cannot be read, or that the members were not trained for.
    """
    options: Any = {"axis": axis, "largest_component": largest_component}
    if isinstance(source, Path | str):
        return segment_by_all(members, read_image(Path(source)), **options)
    array, channels = np.asarray(source), members[0].task.channels
    labels = segment_by_all(members, volume_of(array, channels, spacing), **options)
    return labels_of_array(labels, is_single_slice(array, channels))


def volume_of(array: np.ndarray, channels: int, spacing: Sequence[float] | None) -> Volume:
    """Return an array as a volume (X, Y, Z[, C]).

    Args:
        array: (X, Y, Z[, C]), or a single slice (H, W[, C]), as pictures are in NumPy.
        channels: image channels, which come last; a single one needs no axis of its own.
        spacing: millimetres along the axes of the array; None if unknown.

    Raises:
        InputError: another number of dimensions, a value that is not finite, or a spacing of
            another length.
    """
    array = np.asarray(array)
    single = is_single_slice(array, channels)
    wanted = (2, 3) if channels == 1 else (3, 4)
    if array.ndim not in (*wanted, 4) or 0 in array.shape or array.dtype.kind not in "biuf":
        kinds = "(H, W) or (X, Y, Z)" if channels == 1 else "(H, W, C) or (X, Y, Z, C)"
        raise InputError("array", f"numbers {kinds}", got=f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("array", "finite intensities", found="NaN or infinity")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if single:
        array = np.swapaxes(array, 0, 1)[:, :, np.newaxis]
    return Volume(array, _spacing_of(spacing, single), np.eye(4), _ARRAY)


def is_single_slice(array: np.ndarray, channels: int) -> bool:
    """Return whether an array is one slice (H, W[, C]) rather than a volume."""
    return array.ndim == (2 if channels == 1 else 3)


def label_volume_of(array: np.ndarray, single: bool, image: Volume) -> Volume:
    """Return an array of class codes as a label of an image.

    Args:
        array: (X, Y, Z), or (H, W) of a single slice.
        single: whether it is the latter.
        image: the image, whose place it gets.

    Raises:
        InputError: another shape than the image's, or something else than class codes.
    """
    if single and array.ndim == 2:
        array = np.swapaxes(array, 0, 1)[:, :, np.newaxis]
    shape = image.array.shape[:3]
    if array.shape != shape or array.dtype.kind not in "biuf":
        raise InputError("label", f"codes of shape {shape}", got=f"{array.dtype} {array.shape}")
    codes = whole_numbers(array.astype(np.uint8) if array.dtype.kind == "b" else array, _ARRAY)
    return Volume(codes, image.spacing, image.affine, _ARRAY)


def labels_of_array(labels: np.ndarray, single: bool) -> np.ndarray:
    """Return labels (X, Y, Z) in the layout of the array they belong to: (H, W) for one slice."""
    return np.ascontiguousarray(labels[:, :, 0].T) if single else labels


def _spacing_of(spacing: Sequence[float] | None, single: bool) -> tuple[float, float, float] | None:
    if spacing is None:
        return None
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != (2 if single else 3) or not all(0 < size < np.inf for size in sizes):
        axes = "rows and columns" if single else "X, Y and Z"
        raise InputError("spacing", f"millimetres along {axes}", got=spacing)
    return (sizes[1], sizes[0], 1.0) if single else (sizes[0], sizes[1], sizes[2])
