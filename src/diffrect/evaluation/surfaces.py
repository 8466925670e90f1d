"""Surfaces of masks and the distances between them, exact, in voxels or mm."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]
Spacing = Sequence[float]
_Kind = TypeVar("_Kind", bound=np.generic)


def surface_distances(
    prediction: Mask, truth: Mask, spacing: Spacing | None = None
) -> tuple[Distances, Distances]:
    """Return the distances from every surface voxel of one mask to the nearest of the other.

    Args:
        prediction: the one mask.
        truth: the other mask, of the same shape. An axis of length 1 is none, see `drop_flat_axes`.
        spacing: voxel size along each axis, whose unit the result has; None counts in voxels.

    Returns:
        Distances from prediction to truth, and from truth to prediction, 1-D; both are empty if a
        mask is empty.

    Raises:
        ValueError: shapes that differ, or a spacing of another number of axes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of one shape expected, got {prediction.shape} and {truth.shape}")
    if not (prediction.any() and truth.any()):
        return np.empty(0), np.empty(0)
    prediction, truth, spacing = drop_flat_axes(prediction, truth, spacing)
    box = bounding_box(prediction | truth)
    nowhere = np.zeros_like(truth[box])
    (both,) = find_surfaces(prediction[box], truth[box], nowhere).distances([spacing])
    return both


def drop_flat_axes(
    prediction: npt.NDArray[_Kind], truth: npt.NDArray[_Kind], spacing: Spacing | None
) -> tuple[npt.NDArray[_Kind], npt.NDArray[_Kind], Spacing | None]:
    """Return two grids of one shape, and their spacing, without the axes of length 1.

    A volume of one slice is an image: beyond its slice lies nothing that was looked at, and if that
    counted as outside, every voxel would be on the surface.

    Raises:
        ValueError: the spacing has another number of axes.
    """
    if spacing is not None and len(spacing) != truth.ndim:
        raise ValueError(f"a spacing of {truth.ndim} axes expected, got {len(spacing)}")
    axes = [axis for axis, size in enumerate(truth.shape) if size != 1] or [truth.ndim - 1]
    shape = [truth.shape[axis] for axis in axes]
    kept = None if spacing is None else [spacing[axis] for axis in axes]
    return prediction.reshape(shape), truth.reshape(shape), kept


class Surfaces(NamedTuple):
    """The surface voxels of two masks in one grid, worked out once for all spacings."""

    prediction: Mask
    truth: Mask

    def distances(self, spacings: Sequence[Spacing | None]) -> list[tuple[Distances, Distances]]:
        """Return the distances of both directions, for each spacing."""
        # A mask has no surface if all its borders lie at ignored voxels.
        if not (self.prediction.any() and self.truth.any()):
            return [(np.empty(0), np.empty(0)) for _ in spacings]
        there = _nearest(self.prediction, self.truth, spacings)
        back = _nearest(self.truth, self.prediction, spacings)
        return list(zip(there, back, strict=True))


def find_surfaces(prediction: Mask, truth: Mask, ignored: Mask) -> Surfaces:
    """Return the surfaces of two masks; `ignored` voxels belong to neither and make no surface."""
    # What lies outside the grid is outside the mask, so cropping to the joint bounding box changes
    # no surface. A neighbour that is ignored may be in the mask or not.
    return Surfaces(
        prediction & ~_inner(prediction | ignored),
        truth & ~_inner(truth | ignored),
    )


def _inner(mask: Mask) -> Mask:
    """Return the voxels of a mask whose face neighbours all exist and are in it."""
    inside = (slice(1, -1),) * mask.ndim  # These voxels have two neighbours along every axis.
    inner = np.zeros_like(mask)
    inner[inside] = mask[inside]
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            neighbours = (*inside[:axis], side, *inside[axis + 1 :])
            inner[inside] &= mask[neighbours]
    return inner


def _nearest(sources: Mask, targets: Mask, spacings: Sequence[Spacing | None]) -> list[Distances]:
    """Return the distance from every voxel of `sources` to the nearest of `targets`, per spacing.

    The nearest in each plane is found first, then the nearest across planes. Spacings that differ
    by a factor in the planes, such as voxels and mm of square pixels, share the first step, which
    is most of the work.
    """
    found, known, squares = [], None, np.empty(0)
    for spacing in spacings:
        steps = np.ones(sources.ndim) if spacing is None else np.array(spacing, np.float64)
        if sources.ndim < 3:  # a single plane
            between, inside, planes = 1.0, steps, (sources[np.newaxis], targets[np.newaxis])
        else:
            between, inside, planes = float(steps[0]), steps[1:], (sources, targets)
        form = inside / inside[0]
        if known is None or not np.array_equal(form, known):
            known, squares = form, _squares_in_planes(planes[1], form)
        found.append(inside[0] * _across_planes(planes[0], squares, between / inside[0]))
    return found


def _squares_in_planes(targets: Mask, steps: Distances) -> Distances:
    """Return the squared distance of every voxel to the nearest target in its plane.

    It is infinite in a plane without targets.
    """
    squares = np.full(targets.shape, np.inf)
    for plane, square in zip(targets, squares, strict=True):
        if plane.any():
            np.square(ndimage.distance_transform_edt(~plane, sampling=steps), out=square)
    return squares


def _across_planes(sources: Mask, squares: Distances, step: float) -> Distances:
    """Return the distance of every source to the nearest target of all planes, a step apart."""
    heights = step * np.arange(len(sources))
    nearest = []
    for height, plane in zip(heights, sources, strict=True):
        columns = squares[:, plane]  # (planes, sources in this plane)
        nearest.append((columns + (heights - height)[:, np.newaxis] ** 2).min(axis=0))
    distances: Distances = np.sqrt(np.concatenate(nearest))
    return distances


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """Return the smallest box around a mask that is not empty, with a margin inside the grid."""
    box = []
    for _ in range(mask.ndim):  # Each round drops the first axis, so little is left to look at.
        inside = np.flatnonzero(mask.any(axis=tuple(range(1, mask.ndim))))
        box.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + 1 + margin))
        mask = np.asarray(mask.any(axis=0))
    return tuple(box)
