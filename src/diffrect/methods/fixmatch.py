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

Four options make FixMatch the frame of the method `diffrect` without rectification, update by
update: `teacher_decay` = 0.99, `forward` = joint, `labelled_views` = both and `threshold` = 0, with
`cutmix_probability` = 1 and the ramp of `diffrect`. So a comparison can tell what rectified labels
are worth and what that frame is worth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Problem, Update, make_teacher
from diffrect.methods.consistency import ConsistencyOptions, MayHaveTeacher
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
    teacher_decay: float = 0.0
    """Decay of a moving average of the segmenter that makes the pseudo-labels, in eval mode, and
    predicts; 0 = there is none, as published."""
    teacher_statistics: Literal["student", "own"] = "own"
    """Statistics of batch norm in that moving average: the segmenter's, averaged, or those of the
    unlabelled weak rows that it labels."""
    forward: Literal["separate", "joint"] = "separate"
    """Whether the views are forwarded one after the other, or in one pass, with shared batch
    statistics."""
    labelled_views: Literal["weak", "both"] = "weak"
    """Views of the labelled slices that the segmenter learns from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("threshold", "teacher_decay"):
            within(name, getattr(self, name), 0, 1)


class FixMatch(MayHaveTeacher):
    """The segmenter learns labels of the weak view and its own pseudo-labels of the strong one."""

    Options = FixMatchOptions
    presets = {"default": {"cutmix_probability": 0.0}, "reference": REFERENCE}  # noqa: RUF012

    def __init__(self, problem: Problem, options: FixMatchOptions) -> None:
        super().__init__(problem, options)
        self.teacher = make_teacher(self.segmenter) if options.teacher_decay else None

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of Eq. 3 + lambda_u Eq. 4."""
        rows, options = batch.labelled, self.options
        weak, strong = self.forward_views(batch)
        supervised = cross_entropy_dice(weak[:rows], batch.label)
        if options.labelled_views == "both":
            supervised = (supervised + cross_entropy_dice(strong[:rows], batch.label)) / 2
        teacher = self.teacher
        known = weak[rows:] if teacher is None else self.teach_unlabelled(teacher, batch)
        label = self.sure_labels(known)
        target = batch.as_strong(torch.cat([batch.label, label]))[rows:]
        consistency = self.pseudo_label_loss(strong[-len(target) :], target)
        if options.complementary:
            complementary, confidence = complementary_loss(batch.as_strong(weak), strong)
            consistency = consistency + confidence * complementary
        weight = options.weight(step, self.problem.iterations)
        yield options.update(supervised, consistency, weight)

    def forward_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits of the weak and of the strong view.

        What no loss and no pseudo-label reads is left out: the labelled rows of the strong view,
        and in a joint pass the unlabelled ones of the weak view.
        """
        options, rows = self.options, batch.labelled
        first = 0 if options.complementary or options.labelled_views == "both" else rows
        if options.forward == "separate":
            return self.segmenter(batch.weak), self.segmenter(batch.strong[first:])
        whole = options.complementary or self.teacher is None
        needed = len(batch.weak) if whole else rows
        logits = self.segmenter(torch.cat([batch.weak[:needed], batch.strong[first:]]))
        return logits[:needed], logits[needed:]

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
