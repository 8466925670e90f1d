"""A volume in, its labels on the same grid out, a few slices at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffrect.data.case import Case, check_case
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.imaging.components import keep_largest_components
from diffrect.imaging.intensity import Intensity, scale
from diffrect.imaging.resample import labels_from_logits, probabilities_from_logits
from diffrect.imaging.slicing import Slicing, Zoom, choose_slicing
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
    cut = CutVolume.of(volume, segmenter, task, axis)
    labels = np.empty(volume.array.shape[:3], np.uint8, order="F")
    # A few slices are all that ever exists of a volume besides itself and its labels.
    for part, logits in cut.logits():
        found = labels_from_logits(logits, cut.shape, segmenter.interpolation, cut.zoom)
        cut.slicing.view(labels)[part] = found.cpu().numpy()
        if probabilities is not None:
            shares = cut.probabilities(logits).permute(0, 2, 3, 1)
            cut.slicing.view(probabilities)[part] = shares.cpu().numpy()
    if largest_component:
        keep_largest_components(labels)
    return labels


@dataclass(frozen=True)
class CutVolume:
    """A volume as the slices that a segmenter labels.

    Attributes:
        volume: what is cut.
        segmenter: labels the slices.
        slicing: how the volume is cut.
        slices: the normalised slices (Z, C, H, W).
        zoom: how they become the network's input.
    """

    volume: Volume
    segmenter: Segmenter
    slicing: Slicing
    slices: "ScaledSlices"
    zoom: Zoom

    @classmethod
    def of(
        cls, volume: Volume, segmenter: Segmenter, task: Task, axis: str | None = None
    ) -> "CutVolume":
        """Cut a volume for a segmenter.

        Args:
            volume: raw intensities, (X, Y, Z) or (X, Y, Z, C).
            segmenter: labels the slices.
            task: says how volumes are cut and normalised, and how many channels they have.
            axis: cut it in another way than the task's, see `choose_slicing`.

        Raises:
            InputError: see `segment`.
        """
        check_case(Case(str(volume.path), "", volume, None), task.channels)
        slicing = choose_slicing(volume, axis or task.axis)
        raw = slicing.view(volume.array)
        slices = ScaledSlices(raw, Intensity.parse(task.intensity).limits(raw, volume.path))
        zoom = segmenter.zoom(slicing.spacing(volume), str(volume.path))
        return cls(volume, segmenter, slicing, slices, zoom)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the slices."""
        height, width = self.slices.slices.shape[1:3]
        return height, width

    def logits(self, at_once: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Run the network over the slices, see `Segmenter.logits`.

        Raises:
            InputError: it computes values that are not finite.
        """
        for part, logits in self.segmenter.logits(self.slices, self.zoom, at_once):
            # A sum is finite only if all are; it takes a sixtieth of the time.
            if not (bool(logits.sum().isfinite()) or bool(logits.isfinite().all())):
                raise InputError(self.volume.path, "numbers from the model", got="NaN or infinity")
            yield part, logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the float32 probabilities (B, classes, H, W) of logits on the slices' own grid."""
        interpolation = self.segmenter.interpolation
        return probabilities_from_logits(logits, self.shape, interpolation, self.zoom)


@dataclass(frozen=True)
class ScaledSlices:
    """Raw slices that are normalised when they are read, so that no normalised copy exists."""

    slices: np.ndarray
    limits: np.ndarray

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, part: slice) -> np.ndarray:
        return scale(self.slices[part], self.limits)
