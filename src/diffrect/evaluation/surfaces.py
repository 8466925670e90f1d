"""Surfaces of masks and the distances between them, exact, in voxels or mm."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]
Spacing = Sequence[float]


def surface_distances(
    prediction: Mask, truth: Mask, spacing: Spacing | None = None
) -> tuple[Distances, Distances]:
    """Distances from every surface voxel of one mask to the nearest of the other, both ways.

    Returns (prediction to truth, truth to prediction), 1-D; both are empty if a mask is empty.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of one shape expected, got {prediction.shape} and {truth.shape}")
    if not (prediction.any() and truth.any()):
        return np.empty(0), np.empty(0)
    box = bounding_box(prediction | truth)
    nowhere = np.zeros_like(truth[box])
    (both,) = find_surfaces(prediction[box], truth[box], nowhere).distances([spacing])
    return both


class Surfaces(NamedTuple):
    """The surface voxels of two masks in one grid, worked out once for every spacing."""

    prediction: Mask
    truth: Mask

    def distances(self, spacings: Sequence[Spacing | None]) -> list[tuple[Distances, Distances]]:
        """Both directions, for each spacing."""
        if not (self.prediction.any() and self.truth.any()):  # every border lies at ignored voxels
            return [(np.empty(0), np.empty(0)) for _ in spacings]
        there = _nearest(self.prediction, self.truth, spacings)
        back = _nearest(self.truth, self.prediction, spacings)
        return list(zip(there, back, strict=True))


def find_surfaces(prediction: Mask, truth: Mask, ignored: Mask) -> Surfaces:
    """The surfaces of two masks; `ignored` voxels belong to neither and make none."""
    # Outside the grid counts as outside the mask, so cropping to the joint bounding box changes
    # no surface. A neighbour that is ignored may be in the mask or not.
    return Surfaces(
        prediction & ~_inner(prediction | ignored),
        truth & ~_inner(truth | ignored),
    )


def _inner(mask: Mask) -> Mask:
    """Voxels of a mask whose face neighbours are all in it, none outside the grid."""
    inside = (slice(1, -1),) * mask.ndim  # has two neighbours along every axis, if there is any
    inner = np.zeros_like(mask)
    inner[inside] = mask[inside]
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            neighbours = (*inside[:axis], side, *inside[axis + 1 :])
            inner[inside] &= mask[neighbours]
    return inner


def _nearest(sources: Mask, targets: Mask, spacings: Sequence[Spacing | None]) -> list[Distances]:
    """Distance from every voxel of `sources` to the nearest one of `targets`, for each spacing.

    First the nearest in each plane, then across planes. Spacings that differ by a factor in the
    planes, such as voxels and mm of square pixels, share the first, which is most of the work.
    """
    found, known, squares = [], None, np.empty(0)
    for spacing in spacings:
        steps = np.ones(sources.ndim) if spacing is None else np.array(spacing, np.float64)
        if sources.ndim < 3:  # is one plane
            between, inside, planes = 1.0, steps, (sources[np.newaxis], targets[np.newaxis])
        else:
            between, inside, planes = float(steps[0]), steps[1:], (sources, targets)
        form = inside / inside[0]
        if known is None or not np.array_equal(form, known):
            known, squares = form, _squares_in_planes(planes[1], form)
        found.append(inside[0] * _across_planes(planes[0], squares, between / inside[0]))
    return found


def _squares_in_planes(targets: Mask, steps: Distances) -> Distances:
    """Squared distance of every voxel to the nearest target in its plane; infinite without any."""
    squares = np.full(targets.shape, np.inf)
    for plane, square in zip(targets, squares, strict=True):
        if plane.any():
            np.square(ndimage.distance_transform_edt(~plane, sampling=steps), out=square)
    return squares


def _across_planes(sources: Mask, squares: Distances, step: float) -> Distances:
    """Distance of every source to the nearest target of all planes, which lie a step apart."""
    heights = step * np.arange(len(sources))
    nearest = []
    for height, plane in zip(heights, sources, strict=True):
        columns = squares[:, plane]  # (planes, sources in this one)
        nearest.append((columns + (heights - height)[:, np.newaxis] ** 2).min(axis=0))
    return np.sqrt(np.concatenate(nearest))


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty, and a margin inside the grid."""
    box = []
    for _ in range(mask.ndim):  # the first axis goes each time, so that little is left to look at
        inside = np.flatnonzero(mask.any(axis=tuple(range(1, mask.ndim))))
        box.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + 1 + margin))
        mask = np.asarray(mask.any(axis=0))
    return tuple(box)
