"""The axis along which a volume is cut into slices, and how these are turned.

A policy says how to choose the axis; stores and models remember it. A `Slicing` is the choice for
one volume. In slices of the canonical planes, rows and columns increase towards the superior,
anterior and right, in this order, whatever the orientation of the file.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np

from diffrect.checks import one_of
from diffrect.errors import InputError
from diffrect.imaging.volume import Volume

FILE_AXES = ("0", "1", "2")
PLANES = ("sagittal", "coronal", "axial")  # their normals: right, anterior, superior
POLICIES = ("auto", *FILE_AXES, *reversed(PLANES))

Zoom = tuple[float, float] | None
"""Network pixels per pixel of the slice, in height and width; None if slices are resized."""

# Spacings are equal to within rounding in the file.
_EQUAL = 0.01


@dataclass(frozen=True)
class Slicing:
    """A view of a volume (X, Y, Z[, C]) as slices (slices, rows, columns[, C]).

    Attributes:
        axes: the file's axes that become slices, rows and columns.
        flips: whether each of the three is reversed.
    """

    axes: tuple[int, int, int] = (2, 1, 0)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def view(self, array: np.ndarray) -> np.ndarray:
        """Return the slices of an array, which share its memory: writing to them changes it."""
        turned = array.transpose((*self.axes, *range(3, array.ndim)))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def volume(self, slices: np.ndarray) -> np.ndarray:
        """Return slices as the array (X, Y, Z[, C]) of which they are the view."""
        shape = [0, 0, 0]
        for axis, size in zip(self.axes, slices.shape, strict=False):
            shape[axis] = size
        array = np.empty((*shape, *slices.shape[3:]), slices.dtype, order="F")
        self.view(array)[:] = slices
        return array

    def spacing(self, volume: Volume) -> tuple[float, float, float] | None:
        """Return the millimetres between slices, rows and columns, or None if not recorded."""
        if volume.spacing is None:
            return None
        z, y, x = (volume.spacing[axis] for axis in self.axes)
        return z, y, x

    def orientation(self, volume: Volume) -> str | None:
        """Return where slices, rows and columns increase, such as "SAR", or None if unknown."""
        if volume.spacing is None:
            return None
        turns = nib.io_orientation(volume.affine)
        codes = ""
        for axis, flip in zip(self.axes, self.flips, strict=True):
            if np.isnan(turns[axis, 0]):
                return None
            letters = ("LR", "PA", "IS")[int(turns[axis, 0])]
            codes += letters[int((turns[axis, 1] > 0) != flip)]
        return codes


# ACDC and the SSL4MIS benchmark cut along the file's third axis, transposed, nothing reversed.
THIRD_AXIS = "2"


def check_policy(policy: str) -> None:
    """Check that a policy is one of `POLICIES`.

    Raises:
        InputError: it is not.
    """
    one_of("--axis", policy, POLICIES)


def choose_slicing(volume: Volume, policy: str) -> Slicing:
    """Return how a policy cuts a volume.

    "0", "1" and "2" are the file's own axes, nothing reversed. "axial", "coronal" and "sagittal"
    are planes of the patient; the nearest axis of the file is taken. "auto" takes the axis with the
    coarsest spacing, and the most axial one of equally coarse axes; a volume of one slice stays one
    slice. If the file records no geometry, "auto" is the third axis.

    Raises:
        InputError: there is no such policy, or the affine does not say where the axes point.
    """
    check_policy(policy)
    if policy in FILE_AXES:
        return slicing_along(int(policy))
    turns = nib.io_orientation(volume.affine)
    if np.isnan(turns).any():
        expected = "an affine that says where every axis points (or --axis 0, 1 or 2)"
        raise InputError(volume.path, expected, got=volume.affine[:3, :3].tolist())
    nearest = {int(turns[axis, 0]): axis for axis in range(3)}  # canonical axis -> the file's
    chosen = _coarsest(volume, nearest) if policy == "auto" else PLANES.index(policy)
    order = (chosen, *(axis for axis in (2, 1, 0) if axis != chosen))
    slices, rows, columns = (nearest[axis] for axis in order)
    flips = tuple(bool(turns[axis, 1] < 0) for axis in (slices, rows, columns))
    return Slicing((slices, rows, columns), (flips[0], flips[1], flips[2]))


def slicing_along(first: int) -> Slicing:
    """Return the cut along one of the file's axes, 0 to 2, nothing reversed."""
    rows, columns = (axis for axis in (2, 1, 0) if axis != first)
    return Slicing((first, rows, columns))


def _coarsest(volume: Volume, nearest: dict[int, int]) -> int:
    """Return the canonical axis along which "auto" cuts."""
    shape = volume.array.shape[:3]
    single = [axis for axis in (2, 1, 0) if shape[nearest[axis]] == 1]
    if single:
        return single[0]
    spacing = volume.spacing or (1.0, 1.0, 1.0)
    largest = max(spacing) * (1 - _EQUAL)
    return next(axis for axis in (2, 1, 0) if spacing[nearest[axis]] >= largest)


def zoom_of(spacing: tuple[float, float, float] | None, target: float | None, name: str) -> Zoom:
    """Return the zoom that makes pixels of a given size.

    Args:
        spacing: millimetres between slices, rows and columns; None if unknown.
        target: millimetres per pixel of the network; None if slices are resized.
        name: what the message calls the slices.

    Raises:
        InputError: slices are resampled and their spacing is unknown.
    """
    if target is None:
        return None
    if spacing is None:
        expected = f"a spacing, because slices are resampled to {target:g} mm"
        raise InputError(name, expected, found="none")
    return spacing[1] / target, spacing[2] / target
