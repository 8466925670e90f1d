"""Check that two volumes lie in the same place, and turn one that is stored another way round."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import nibabel as nib
import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume

TRUST = "if the image's is right, give --trust-image-geometry"
"""The way out of `prepare` where two headers differ."""


def check_geometry(image: Volume, other: Volume, whose: str, hint: str | None = TRUST) -> None:
    """Check that the voxels of another volume lie where those of an image lie.

    Only what both formats record is compared. A tenth of a voxel at any corner may be rounding.

    Args:
        image: the volume whose place counts.
        other: a volume of the image's shape.
        whose: what the image is to the other, for example "its image".
        hint: what to do if only the header of the other is wrong. It is not proposed where the axes
            of the two point elsewhere, because it would turn the other over.

    Raises:
        InputError: spacing or place differ; the message names both files.
    """
    if image.spacing is None or other.spacing is None:
        return
    turned = _axes_of_turned(image, other)
    if turned is not None:
        hint = "save it on the image's grid"
    if not _same_spacing(image, other):
        there, here = (" x ".join(f"{s:g}" for s in v.spacing or ()) for v in (image, other))
        expected = f"the spacing of {whose} {image.path}, {there} mm"
        raise InputError(other.path, expected, got=f"{here} mm", hint=hint)
    apart = _distance(image, other)
    if not _is_rounding(image, apart):
        expected = f"the geometry of {whose} {image.path}"
        reason = f"voxels lie up to {apart:.4g} mm apart"
        raise InputError(other.path, expected, reason=reason + (turned or ""), hint=hint)


def turn_onto(image: Volume, other: Volume) -> Volume:
    """Return another volume as the image stores its voxels, if both have the same grid.

    A program may store the axes of the same grid in another order or direction, such as LPS in
    place of RAS. Turning is exact: each voxel keeps its value and its place. A label map that holds
    only the part of the grid that is not background gets the rest.

    Args:
        image: the volume whose axes count.
        other: a volume (X, Y, Z).

    Returns:
        The turned volume; `other` as it is if its axes are those of the image, if its voxels lie
        elsewhere, or if either format does not record a place.
    """
    if image.spacing is None or other.spacing is None or other.array.ndim != 3:
        return other
    signs = np.rint(_directions(image, other))
    same = np.array_equal(signs, np.eye(3))
    if (same and not other.cropped) or not _is_permutation(np.abs(signs)):
        return other
    order = [int(axis) for axis in np.abs(signs).argmax(axis=1)]
    flips = [bool(signs[row, axis] < 0) for row, axis in enumerate(order)]
    turned = _turn(other, order, flips)
    if turned.cropped:
        turned = _fill(image, turned)
    fits = turned.array.shape == image.array.shape[:3] and _same_spacing(image, turned)
    return turned if fits and _is_rounding(image, _distance(image, turned)) else other


def _turn(volume: Volume, order: Sequence[int], flips: Sequence[bool]) -> Volume:
    """Return a volume with its axes in another order, some of them reversed then."""
    steps = [-1 if flip else 1 for flip in flips]
    array = volume.array.transpose(order)[tuple(slice(None, None, step) for step in steps)]
    index = np.zeros((4, 4))  # from an index of the turned array to that of the array
    index[3, 3] = 1
    for new, (old, step) in enumerate(zip(order, steps, strict=True)):
        index[old, new] = step
        index[old, 3] = volume.array.shape[old] - 1 if step < 0 else 0
    x, y, z = (volume.spacing[axis] for axis in order) if volume.spacing else (0.0, 0.0, 0.0)
    return replace(volume, array=array, spacing=(x, y, z), affine=volume.affine @ index)


def _fill(image: Volume, label: Volume) -> Volume:
    """Return a cropped label map on the whole grid of an image, with background around it.

    It is returned as it is if anything but background lies outside the image.
    """
    ahead = label.affine[:3, 3] - image.affine[:3, 3]
    start = np.rint(np.linalg.solve(image.affine[:3, :3], ahead))
    shape = np.array(image.array.shape[:3])
    low = np.clip(start, 0, shape).astype(int)
    high = np.clip(start + label.array.shape, 0, shape).astype(int)
    first = start.astype(int)
    inner = label.array[tuple(map(slice, *(np.maximum(end - first, 0) for end in (low, high))))]
    if np.count_nonzero(inner) != np.count_nonzero(label.array):
        return label
    whole = np.zeros(shape, label.array.dtype)
    whole[tuple(map(slice, low, high))] = inner
    affine = label.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ start
    return replace(label, array=whole, affine=affine, cropped=False)


def _directions(image: Volume, other: Volume) -> np.ndarray:
    """Return the directions of another volume's axes (columns) in terms of the image's (rows).

    They are NaN if an affine does not say where the axes point.
    """
    axes = []
    for volume in (image, other):
        columns = volume.affine[:3, :3]
        with np.errstate(invalid="ignore", divide="ignore"):
            axes.append(columns / np.linalg.norm(columns, axis=0))
    try:
        found: np.ndarray = np.linalg.solve(*axes)
    except np.linalg.LinAlgError:
        return np.full((3, 3), np.nan)
    return found


def _is_permutation(matrix: np.ndarray) -> bool:
    ones = np.ones(3)
    return np.array_equal(matrix.sum(axis=0), ones) and np.array_equal(matrix.sum(axis=1), ones)


def _axes_of_turned(image: Volume, other: Volume) -> str | None:
    """Return in words how the axes of two volumes differ; None if they point the same way."""
    along = np.diagonal(_directions(image, other))
    if np.isnan(along).any() or (along > 0.5).all():  # The latter are less than 60 degrees apart.
        return None
    here, there = ("".join(map(str, nib.aff2axcodes(volume.affine))) for volume in (other, image))
    return "" if here == there else f", its axes point to {here} and the image's to {there}"


def _same_spacing(image: Volume, other: Volume) -> bool:
    return bool(np.allclose(image.spacing or (), other.spacing or (), rtol=0.01, atol=0))


def _distance(image: Volume, other: Volume) -> float:
    """Return the largest distance in mm between the same corner of two volumes of one shape."""
    if np.array_equal(image.affine, other.affine, equal_nan=True):
        return 0.0
    last = [size - 1 for size in image.array.shape[:3]]
    corners = np.array([(*corner, 1) for corner in product(*((0, end) for end in last))])
    return float(np.linalg.norm(corners @ (image.affine - other.affine).T, axis=1).max())


def _is_rounding(image: Volume, apart: float) -> bool:
    """Return whether a distance is at most a tenth of an image's voxel."""
    return apart == 0 or apart <= 0.1 * np.linalg.norm(image.affine[:3, :3], axis=0).min()
