"""A label of a volume, whoever made it, corrected on its own grid."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from diffrect.console import summary
from diffrect.data.case import Case, check_case, label_slices
from diffrect.imaging.geometry import turn_onto
from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import choose_slicing
from diffrect.imaging.volume import Volume
from diffrect.inference.arrays import laid_out
from diffrect.inference.rectifying.label_rectifier import Guidance, LabelRectifier
from diffrect.inference.segment import ScaledSlices


@dataclass(frozen=True)
class RectifiedLabel:
    """A corrected label and what was changed in it.

    Attributes:
        labels: uint8 (X, Y, Z), the corrected label.
        given: the label before, of the same shape.
        confidence: float32 of the same shape: the probability of the class that was proposed in
            place of the given one, whether it was taken or not; 0 where none was proposed.
        guidance: how far the label was taken to be off, from 0 to 1.
        difference: 1 - Dice of label and teacher, the mean over the classes that either has.
    """

    labels: np.ndarray
    given: np.ndarray
    confidence: np.ndarray
    guidance: float
    difference: float

    def __repr__(self) -> str:
        """Return shape and what changed in one line."""
        size = " x ".join(map(str, self.labels.shape))
        changed = f"{self.changed_share:.1%} of the foreground changed"
        return summary(self, f"{size} voxels, {changed}, guidance {self.guidance:.2f}")

    @property
    def changes(self) -> np.ndarray:
        """What happened to each voxel, uint8: 0 nothing, 1 changed, 2 proposed and not taken."""
        changed = self.labels != self.given
        return np.where(changed, 1, np.where(self.confidence > 0, 2, 0)).astype(np.uint8)

    @property
    def changed_share(self) -> float:
        """Changed voxels per voxel that is foreground before or after; 0 if none is."""
        foreground = int(np.count_nonzero((self.labels > 0) | (self.given > 0)))
        return int(np.count_nonzero(self.labels != self.given)) / max(1, foreground)

    def in_layout(self, single: bool) -> "RectifiedLabel":
        """Return it in the layout of the caller's array: (H, W) for a single slice."""
        return self._mapped(lambda array: laid_out(array, single))

    def turned(self, image: Volume, label: Volume) -> "RectifiedLabel":
        """Return it with its axes as the label's file stores them, if it holds the whole grid.

        Args:
            image: the scan on whose grid it is.
            label: the label file as it was read.
        """
        if label.cropped:
            return self
        return self._mapped(lambda array: turn_onto(label, replace(image, array=array)).array)

    def _mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> "RectifiedLabel":
        """Return it with all its arrays changed."""
        labels, given, confidence = map(change, (self.labels, self.given, self.confidence))
        return replace(self, labels=labels, given=given, confidence=confidence)


def rectify_volume(
    rectifier: LabelRectifier,
    image: Volume,
    label: Volume,
    *,
    guidance: Guidance = "auto",
    axis: str | None = None,
) -> RectifiedLabel:
    """Return the corrected label of a volume, on the grid of its image.

    Args:
        rectifier: of a trained run.
        image: raw intensities, (X, Y, Z) or (X, Y, Z, C).
        label: class codes (X, Y, Z); its axes may be stored in another order than the image's.
        guidance: how far the label is off, from 0 (hardly) to 1 (widely); auto measures it.
        axis: cut the volume in another way than the model's, see `choose_slicing`.

    Raises:
        InputError: label and image lie differently, other channels or codes than the model's, or
            constant intensities.
    """
    task = rectifier.task
    label = turn_onto(image, label)
    check_case(Case(str(image.path), "", image, label), task.channels)
    slicing = choose_slicing(image, axis or task.axis)
    codes = label_slices(label, len(task.classes), slicing)
    raw = slicing.view(image.array)
    limits = Intensity.parse(task.intensity).limits(raw, image.path)
    zoom = rectifier.segmenter.zoom(slicing.spacing(image), str(image.path))
    found = rectifier.rectify(ScaledSlices(raw, limits), codes, zoom, guidance)
    labels, given, confidence = map(slicing.volume, (found.labels, codes, found.confidence))
    return RectifiedLabel(labels, given, confidence, found.guidance, found.difference)
