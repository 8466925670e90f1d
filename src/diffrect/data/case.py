"""One scan as every source yields it, and its conversion to the slices that networks see."""

from dataclasses import dataclass, field, replace

import numpy as np

from diffrect.console import count
from diffrect.errors import InputError
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.intensity import Intensity, scale
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.slicing import THIRD_AXIS, Slicing
from diffrect.imaging.volume import Volume


@dataclass(frozen=True)
class Case:
    """One scan of one patient.

    Attributes:
        id: unique in its data set; names the case's folder in the store.
        patient: splits are made by patient, never by case.
        image: intensities.
        label: class codes 0..C-1 on the image's grid, and `IGNORED` where nobody has annotated;
            None means unlabelled.
        normalised: the intensities are in [0, 1] already; min-max leaves them as they are.
    """

    id: str
    patient: str
    image: Volume
    label: Volume | None
    normalised: bool = False


@dataclass(frozen=True)
class Conversion:
    """The way in which volumes become slices of the store.

    Attributes:
        axis: the policy of `choose_slicing`.
        intensity: how intensities are normalised.
    """

    axis: str = THIRD_AXIS
    intensity: Intensity = field(default_factory=Intensity)


def image_slices(
    volume: Volume,
    *,
    normalised: bool = False,
    slicing: Slicing | None = None,
    intensity: Intensity | None = None,
) -> np.ndarray:
    """Return the slices of a volume; each channel is scaled as a whole.

    Args:
        volume: intensities.
        normalised: they are in [0, 1] already; min-max leaves them as they are.
        slicing: how it is cut; None cuts along the file's third axis.
        intensity: how it is scaled; None scales by (v - min) / (max - min).

    Returns:
        (Z, C, H, W) float32 in [0, 1].

    Raises:
        InputError: a constant channel; or `normalised` intensities outside [0, 1].
    """
    slices = (slicing or Slicing()).view(volume.array)
    limits = (intensity or Intensity()).limits(slices, volume.path, normalised=normalised)
    return scale(slices, limits)


def label_slices(volume: Volume, classes: int, slicing: Slicing | None = None) -> np.ndarray:
    """Return the slices of a label map, (Z, H, W) uint8 with codes 0..classes-1 and `IGNORED`.

    Raises:
        InputError: the map holds another code.
    """
    highest = int(np.max(volume.array, initial=0, where=volume.array != IGNORED))
    if highest >= classes:
        expected = f"label codes 0 to {classes - 1} ({classes} classes)"
        raise InputError(volume.path, expected, found=highest)
    slices = (slicing or Slicing()).view(volume.array)
    return np.ascontiguousarray(slices, dtype=np.uint8)


def turn_label(case: Case) -> Case:
    """Return a case whose label is stored as its image is, see `turn_onto`."""
    if case.label is None:
        return case
    return replace(case, label=turn_onto(case.image, case.label))


def check_case(case: Case, channels: int) -> None:
    """Refuse a case whose parts do not fit each other or its data set.

    Raises:
        InputError: image and label of different shape, or on grids that lie differently in space;
            or another number of channels.
    """
    shape = case.image.array.shape
    found = shape[3] if len(shape) == 4 else 1
    if found != channels:
        raise InputError(case.image.path, count(channels, "channel"), got=found)
    if case.label is None:
        return
    if case.label.array.shape != shape[:3]:
        expected = f"the shape of its image, {shape[:3]}"
        raise InputError(case.label.path, expected, got=case.label.array.shape)
    check_geometry(case.image, case.label, "its image")
