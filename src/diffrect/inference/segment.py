"""A volume in, its labels on the same grid out, a few slices at a time."""

from dataclasses import dataclass

import numpy as np
import torch

from diffrect.data.case import Case, check_case
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.imaging.components import keep_largest_components
from diffrect.imaging.intensity import Intensity, scale
from diffrect.imaging.resample import labels_from_logits, probabilities_from_logits
from diffrect.imaging.slicing import choose_slicing
from diffrect.imaging.volume import Volume
from diffrect.inference.segmenter import Segmenter


@torch.inference_mode()
def segment(
    segmenter: Segmenter,
    task: Task,
    volume: Volume,
    *,
    axis: str | None = None,
    largest_component: bool = False,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Return the labels of a volume, uint8 (X, Y, Z) on its own grid, whatever axis is cut.

    Args:
        segmenter: labels the slices.
        task: says how volumes are cut and normalised, and how many channels they have.
        volume: raw intensities, (X, Y, Z) or (X, Y, Z, C).
        axis: cut it in another way than the task's, see `choose_slicing`.
        largest_component: keep only the largest connected part of each class.
        probabilities: float32 (X, Y, Z, classes) to fill; may lie on disk.

    Raises:
        InputError: constant intensities, other channels than the task's, a spacing that is needed
            and unknown, or a network that computes values that are not finite.
    """
    check_case(Case(str(volume.path), "", volume, None), task.channels)
    slicing = choose_slicing(volume, axis or task.axis)
    raw = slicing.view(volume.array)
    images = ScaledSlices(raw, Intensity.parse(task.intensity).limits(raw, volume.path))
    zoom = segmenter.zoom(slicing.spacing(volume), str(volume.path))
    labels = np.empty(volume.array.shape[:3], np.uint8, order="F")
    shape = (raw.shape[1], raw.shape[2])
    # A few slices are all that ever exists of a volume besides itself and its labels.
    for part, logits in segmenter.logits(images, zoom):
        if not bool(logits.isfinite().all()):
            raise InputError(volume.path, "numbers from the model", got="NaN or infinity")
        found = labels_from_logits(logits, shape, segmenter.interpolation, zoom)
        slicing.view(labels)[part] = found.cpu().numpy()
        if probabilities is not None:
            shares = probabilities_from_logits(logits, shape, segmenter.interpolation, zoom)
            slicing.view(probabilities)[part] = shares.permute(0, 2, 3, 1).cpu().numpy()
    if largest_component:
        keep_largest_components(labels)
    return labels


@dataclass(frozen=True)
class ScaledSlices:
    """Raw slices that are normalised when they are read, so that no normalised copy exists."""

    slices: np.ndarray
    limits: np.ndarray

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, part: slice) -> np.ndarray:
        return scale(self.slices[part], self.limits)
