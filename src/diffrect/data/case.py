"""One scan as every source yields it, and its way to the slices that networks see."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from diffrect.codes import IGNORED
from diffrect.data.volume import Volume
from diffrect.errors import InputError


@dataclass(frozen=True)
class Case:
    """One scan of one patient.

    Attributes:
        id: unique in its data set; names the case's folder in the store.
        patient: splits are made by patient, never by case.
        image: intensities.
        label: class codes 0..C-1 on the image's grid, and `IGNORED` where nobody has annotated;
            None means unlabelled.
        normalised: the intensities are in [0, 1] already and stay as they are.
    """

    id: str
    patient: str
    image: Volume
    label: Volume | None
    normalised: bool = False


def image_slices(volume: Volume, *, normalised: bool = False) -> np.ndarray:
    """Slices along the file's third axis, (Z, C, H, W) float32 in [0, 1].

    Each channel of the volume is scaled as a whole, (v - min) / (max - min), unless it is
    ``normalised`` already.

    Raises:
        InputError: a constant channel; or ``normalised`` intensities outside [0, 1].
    """
    array = volume.array if volume.array.ndim == 4 else volume.array[..., np.newaxis]
    channels = [_scale(array[..., c], volume, normalised) for c in range(array.shape[3])]
    return np.stack(channels, axis=1)


def label_slices(volume: Volume, classes: int) -> np.ndarray:
    """Slices of a label map, (Z, H, W) uint8 with codes 0..classes-1 and `IGNORED`.

    Raises:
        InputError: another code.
    """
    highest = int(np.max(volume.array, initial=0, where=volume.array != IGNORED))
    if highest >= classes:
        expected = f"expected label codes 0 to {classes - 1} ({classes} classes)"
        raise InputError(f"{volume.path}: {expected}, found {highest}")
    return np.ascontiguousarray(volume.array.T, dtype=np.uint8)


def grid_labels(slices: np.ndarray) -> np.ndarray:
    """Label slices (Z, H, W) back in the file's axis order (X, Y, Z)."""
    return np.ascontiguousarray(slices.T)


def check_case(case: Case, channels: int) -> None:
    """Refuse a case whose parts do not fit each other or its data set.

    Raises:
        InputError: image and label of different shape, or on grids that lie differently in space;
            or another number of channels.
    """
    shape = case.image.array.shape
    found = shape[3] if len(shape) == 4 else 1
    if found != channels:
        raise InputError(f"{case.image.path}: expected {channels} channel(s), got {found}")
    if case.label is not None and case.label.array.shape != shape[:3]:
        expected = f"expected the shape of its image, {shape[:3]}"
        raise InputError(f"{case.label.path}: {expected}, got {case.label.array.shape}")
    if case.label is not None:
        check_geometry(case.image, case.label, "its image")


def check_geometry(image: Volume, other: Volume, whose: str) -> None:
    """Refuse voxels that lie elsewhere than an image's, where both formats record where they lie.

    ``other`` has the image's shape; a tenth of a voxel at any corner may be rounding.

    Raises:
        InputError: naming both; ``whose`` says what the image is to the other.
    """
    known = image.spacing is not None and other.spacing is not None
    if not known or np.array_equal(image.affine, other.affine, equal_nan=True):
        return
    last = [size - 1 for size in image.array.shape[:3]]
    corners = np.array([(*corner, 1) for corner in product(*((0, end) for end in last))])
    apart = np.linalg.norm(corners @ (image.affine - other.affine).T, axis=1).max()
    voxel = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    if not apart <= 0.1 * voxel:
        raise InputError(
            f"{other.path}: expected the geometry of {whose} {image.path}, voxels lie up to "
            f"{apart:.4g} mm apart; if the image's is right, give --trust-image-geometry"
        )


def _scale(channel: np.ndarray, volume: Volume, normalised: bool) -> np.ndarray:
    """One channel (X, Y, Z) as (Z, H, W) float32 in [0, 1]."""
    # In float64, so that integers and large intensities keep their differences.
    values = channel.T.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not high > low:
        raise InputError(f"{volume.path}: expected varying intensities, every voxel is {low:g}")
    if not normalised:
        with np.errstate(over="ignore"):
            scale = np.float64(high) - np.float64(low)
        if not np.isfinite(scale):
            raise InputError(f"{volume.path}: intensities from {low:g} to {high:g} are too large")
        values = (values - low) / scale
    elif low < -1e-6 or high > 1 + 1e-6:
        expected = "expected intensities already scaled to [0, 1]"
        raise InputError(f"{volume.path}: {expected}, found {low:g} to {high:g}")
    return np.ascontiguousarray(values, dtype=np.float32)
