"""One scan as every source yields it, and its way to the slices that networks see."""

from dataclasses import dataclass, field

import numpy as np

from diffrect.data.intensity import Intensity, scale
from diffrect.data.slicing import THIRD_AXIS, Slicing
from diffrect.data.volume import Volume
from diffrect.errors import InputError


@dataclass(frozen=True)
class Case:
    """One scan of one patient.

    Attributes:
        id: unique in its data set; names the case's folder in the store.
        patient: splits are made by patient, never by case.
        image: intensities.
        label: class codes 0..C-1 on the image's grid; None means unlabelled.
        normalised: the intensities are in [0, 1] already; min-max leaves them as they are.
    """

    id: str
    patient: str
    image: Volume
    label: Volume | None
    normalised: bool = False


@dataclass(frozen=True)
class Conversion:
    """How volumes become slices of the store.

    Attributes:
        axis: the policy of `choose_slicing`.
        intensity: how intensities are normalised.
        trust_image: labels lie on their image's grid whatever their own geometry says.
    """

    axis: str = THIRD_AXIS
    intensity: Intensity = field(default_factory=Intensity)
    trust_image: bool = False


def image_slices(
    volume: Volume,
    *,
    normalised: bool = False,
    slicing: Slicing | None = None,
    intensity: Intensity | None = None,
) -> np.ndarray:
    """The slices of a volume, (Z, C, H, W) float32 in [0, 1]; each channel is scaled as a whole.

    By default they lie along the file's third axis, scaled to (v - min) / (max - min) unless they
    are ``normalised`` already.

    Raises:
        InputError: a constant channel; or ``normalised`` intensities outside [0, 1].
    """
    slices = (slicing or Slicing()).view(volume.array)
    limits = (intensity or Intensity()).limits(slices, volume.path, normalised=normalised)
    return scale(slices, limits)


def label_slices(volume: Volume, classes: int, slicing: Slicing | None = None) -> np.ndarray:
    """Slices of a label map, (Z, H, W) uint8 with codes 0..classes-1.

    Raises:
        InputError: a code of ``classes`` or more.
    """
    highest = int(volume.array.max())
    if highest >= classes:
        expected = f"expected label codes 0 to {classes - 1} ({classes} classes)"
        raise InputError(f"{volume.path}: {expected}, found {highest}")
    slices = (slicing or Slicing()).view(volume.array)
    return np.ascontiguousarray(slices, dtype=np.uint8)


def grid_labels(slices: np.ndarray, slicing: Slicing | None = None) -> np.ndarray:
    """Label slices (Z, H, W) back in the file's axis order (X, Y, Z)."""
    slicing = slicing or Slicing()
    shape = [0, 0, 0]
    for axis, length in zip(slicing.axes, slices.shape, strict=True):
        shape[axis] = length
    labels = np.empty(shape, slices.dtype)
    slicing.view(labels)[...] = slices
    return labels


def check_case(case: Case, channels: int, *, trust_image: bool = False) -> None:
    """Refuse a case whose parts do not fit each other or its data set.

    With ``trust_image``, labels of the image's shape are taken to lie on its grid whatever their
    own geometry says.

    Raises:
        InputError: image and label of different shape or place, or another number of channels.
    """
    shape = case.image.array.shape
    found = shape[3] if len(shape) == 4 else 1
    if found != channels:
        raise InputError(f"{case.image.path}: expected {channels} channel(s), got {found}")
    if case.label is None:
        return
    if case.label.array.shape != shape[:3]:
        expected = f"expected the shape of its image, {shape[:3]}"
        raise InputError(f"{case.label.path}: {expected}, got {case.label.array.shape}")
    if not trust_image:
        _check_same_place(case.image, case.label)


def _check_same_place(image: Volume, label: Volume) -> None:
    """Refuse a label whose corners lie elsewhere than its image's."""
    if image.spacing is None or label.spacing is None:
        return
    trust = "--trust-image-geometry takes the image's"
    if not np.allclose(image.spacing, label.spacing, rtol=0.01, atol=0):
        here, there = (tuple(f"{size:g}" for size in v.spacing or ()) for v in (label, image))
        raise InputError(
            f"{label.path}: expected the spacing of its image {image.path}, "
            f"{' x '.join(there)} mm, got {' x '.join(here)} mm; {trust}"
        )
    last = np.array(image.array.shape[:3]) - 1
    corners = np.array(
        [[i, j, k, 1] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])]
    )
    apart = np.linalg.norm(corners @ (image.affine - label.affine).T, axis=1).max()
    # Half a voxel is beyond what rounding in a header can do.
    if apart > 0.5 * min(np.linalg.norm(image.affine[:3, :3], axis=0)):
        raise InputError(
            f"{label.path}: expected the place of its image {image.path}, their affines lie up to "
            f"{apart:.3g} mm apart; {trust}"
        )
