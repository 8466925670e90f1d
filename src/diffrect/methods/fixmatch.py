"""FixMatch: confident predictions of the weak view are the labels of the strong view.

Sohn, Berthelot, Li, Zhang, Carlini, Cubuk, Kurakin, Zhang, Raffel, "FixMatch: Simplifying
Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020. Equation numbers are
theirs.

- Eq. 3: cross-entropy of the labelled weak view; here cross-entropy plus Dice, as in all methods.
- Eq. 4: mean over pixels of [max q >= 0.95] H(argmax q, p_strong), q the weak view's prediction
  without gradient. Unsure pixels contribute 0 and count in the mean.
- Total: Eq. 3 + lambda_u Eq. 4, lambda_u = 1, constant; no teacher.

FixMatch was published with RandAugment and seven unlabelled images per labelled one. Here the
strong view is the protocol's contrast, brightness, sharpness and blur, without CutMix
(`cutmix_probability` is 0 unless set), and batches are the protocol's. Weak and strong view are
forwarded one after the other, each with its own batch statistics.

Preset `reference` is what the SSL4MIS benchmark's script computes instead: a pixel is sure where
(max - min) / max > 0.8, unsure pixels are taught as background, Dice and DiffRect's complementary
loss are added, the weight rises to 0.1, and the strong view is jitter from 0.2 to 1.8 (theirs has
no sharpness). The script never uses its teacher, so there is none here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.labels import IGNORED
from diffrect.methods.base import Method, Update
from diffrect.methods.consistency import ConsistencyOptions
from diffrect.methods.losses import (
    complementary_loss,
    confident_labels,
    cross_entropy_dice,
    pseudo_label,
    sure_cross_entropy,
)

REFERENCE = {
    "supervised_weight": 1.0,
    "consistency_weight": 0.1,
    "ramp_share": 1.0,
    "threshold": 0.8,
    "confidence": "spread",
    "unsure_pixels": "background",
    "pseudo_label_loss": "cross_entropy_dice",
    "complementary": True,
    "geometry": "single",
    "turn_probability": 1.0,
    "jitter_low": 0.2,
    "jitter_high": 1.8,
    "jitter_probability": 1.0,
    "blur_sigma": 0.0,
}


@dataclass(frozen=True)
class FixMatchOptions(ConsistencyOptions):
    """Settings of FixMatch."""

    supervised_weight: float = 1.0
    """Weight of cross-entropy plus Dice on the labelled rows."""
    consistency_weight: float = 1.0
    """Largest weight of the loss on unlabelled rows, lambda_u."""
    ramp_share: float = 0.0
    """Share of the training over which the weight of the loss on unlabelled rows rises; 0 = the
    weight is constant, as published."""
    threshold: float = 0.95
    """tau, the confidence from which on a pixel of the weak view is sure."""
    confidence: Literal["largest", "spread"] = "largest"
    """Confidence of a pixel: its largest probability, or (largest - smallest) / largest."""
    unsure_pixels: Literal["ignore", "background"] = "ignore"
    """Whether unsure pixels contribute nothing or are taught as background."""
    pseudo_label_loss: Literal["cross_entropy", "cross_entropy_dice"] = "cross_entropy"
    """Loss against pseudo-labels: Eq. 4, or cross-entropy plus Dice over the sure pixels."""
    complementary: bool = False
    """Whether the complementary loss of the two views is added."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("threshold", self.threshold, 0, 1)


class FixMatch(Method):
    """The segmenter learns labels of the weak view and its own pseudo-labels of the strong one."""

    Options = FixMatchOptions
    presets = {"default": {"cutmix_probability": 0.0}, "reference": REFERENCE}  # noqa: RUF012

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of Eq. 3 + lambda_u Eq. 4."""
        rows, options = batch.labelled, self.options
        # Only the complementary loss reads the strong view of labelled rows.
        first = 0 if options.complementary else rows
        weak = self.segmenter(batch.weak)
        strong = self.segmenter(batch.strong[first:])
        supervised = cross_entropy_dice(weak[:rows], batch.label)
        target = batch.as_strong(batch.with_labels(self.sure_labels(weak)))[rows:]
        consistency = self.pseudo_label_loss(strong[rows - first :], target)
        if options.complementary:
            complementary, confidence = complementary_loss(batch.as_strong(weak), strong)
            consistency = consistency + confidence * complementary
        weight = options.weight(step, self.problem.iterations)
        yield options.update(supervised, consistency, weight)

    def sure_labels(self, logits: Tensor) -> Tensor:
        """Return class maps (B, H, W) of the weak view; unsure pixels are ignored or background."""
        unsure = IGNORED if self.options.unsure_pixels == "ignore" else 0
        if self.options.confidence == "spread":
            return pseudo_label(logits, self.options.threshold, unsure)
        return confident_labels(logits, self.options.threshold, unsure)

    def pseudo_label_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return Eq. 4, whose mean counts the unsure pixels too, or cross-entropy plus Dice."""
        if self.options.pseudo_label_loss == "cross_entropy":
            return sure_cross_entropy(logits, target)
        return cross_entropy_dice(logits, target)
