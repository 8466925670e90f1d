"""UniMatch: two strong views and one view with perturbed features learn from one weak view.

Yang, Qi, Feng, Zhang, Shi, "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation", CVPR 2023. Its total is
L = 1/2 (L_x + lambda L_fp + mu / 2 (L_s1 + L_s2)), lambda = mu = 1/2, where each unlabelled loss
counts the pixels whose weak prediction is at least 0.95 sure. For medical images, as here, L_x is
1/2 (cross-entropy + Dice) and the unlabelled losses are only Dice; the paper's loss on natural
images is `pseudo_label_loss` = cross_entropy.

- Strong views: independent draws of jitter, of blur up to 2 pixels (probability 1/2) and of a
  CutMix box of 2 to 40 % of the slice (probability 1/2). The boxes show another unlabelled row of
  the batch, with that row's labels; the authors draw a further batch to fill them and predict it
  in eval mode (`box_labels` = eval predicts the rows of the batch so). Brightness and contrast
  change by factors of 0.5 to 1.5, as published; so does sharpness here, each of the three with
  probability 0.8 (the authors: all or none). Boxes are as often wide as tall: the logarithm of
  their aspect is uniform from 0.3 to 1 / 0.3 (the authors: the aspect itself).
- Feature view: channel dropout of 1/2 on each of the encoder's five maps, unlabelled rows only
  (the authors decode perturbed labelled rows too and drop the result: `perturbed_rows` = all). Its
  targets are the row's own, without boxes.

These strong views hold in both presets; preset `reference` also has the authors' weak views and
both options. There is no teacher and no ramp. The authors choose the checkpoint on validation and
test patients together; here it is chosen on validation patients only, as for all methods.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.data.view_options import OLDER_SSL4MIS_VIEWS
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Method, Update
from diffrect.methods.losses import (
    confident_labels,
    cross_entropy,
    cross_entropy_dice,
    dice_loss,
)
from diffrect.networks.unet import crop_like

VIEWS: dict[str, Any] = {
    "jitter_low": 0.5,
    "jitter_high": 1.5,
    "jitter_probability": 0.8,
    "blur_sigma": 2.0,
    "cutmix_probability": 0.5,
    "cutmix_area": 0.4,
    "cutmix_from": "unlabelled",
}


REFERENCE_VIEWS: dict[str, Any] = {**VIEWS, **OLDER_SSL4MIS_VIEWS, "eight_bit": True}
REFERENCE: dict[str, Any] = {**REFERENCE_VIEWS, "perturbed_rows": "all", "box_labels": "eval"}


@dataclass(frozen=True)
class UniMatchOptions:
    """Settings of UniMatch; the weights are those of the total, all factors multiplied."""

    threshold: float = 0.95
    """Pixels of the weak view whose best class is less probable count in no loss."""
    feature_dropout: float = 0.5
    """Share of the channels of the encoder's maps that the feature view drops."""
    supervised_weight: float = 0.25
    """Weight of cross-entropy plus Dice on the labelled rows."""
    strong_weight: float = 0.125
    """Weight of the loss of each strong view."""
    feature_weight: float = 0.25
    """Weight of the feature view's loss."""
    pseudo_label_loss: Literal["dice", "cross_entropy"] = "dice"
    """Loss against pseudo-labels."""
    perturbed_rows: Literal["unlabelled", "all"] = "unlabelled"
    """Rows that are decoded with perturbed features; labelled ones are in no loss, but in the
    statistics of the decoder's batch norm."""
    box_labels: Literal["training", "eval"] = "training"
    """Mode of the segmenter that labels what the boxes of CutMix show: in training mode, as all
    pseudo-labels, or in eval mode."""

    def __post_init__(self) -> None:
        within("threshold", self.threshold, 0, 1)
        within("feature_dropout", self.feature_dropout, 0, 0.99)
        for name in ("supervised_weight", "strong_weight", "feature_weight"):
            within(name, getattr(self, name), 0, 1e6)


class UniMatch(Method):
    """The segmenter learns its confident weak predictions in three other views."""

    Options = UniMatchOptions
    presets = {"default": VIEWS, "reference": REFERENCE}  # noqa: RUF012
    strong_views = 2
    needs_unet = True

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of L."""
        assert batch.second is not None  # because of `strong_views`
        rows, options = batch.labelled, self.options
        clean, perturbed = self.forward_weak(batch)
        one, two = self.segmenter(
            torch.cat([batch.strong[rows:], batch.second.strong[rows:]])
        ).chunk(2)
        target = batch.with_labels(confident_labels(clean, options.threshold))
        shown = target if options.box_labels == "training" else self.labels_in_eval_mode(batch)
        supervised = cross_entropy_dice(clean[:rows], batch.label)
        first = self.pseudo_label_loss(one, batch.as_strong(target, shown)[rows:])
        second = self.pseudo_label_loss(two, batch.second.as_strong(target, shown)[rows:])
        feature = self.pseudo_label_loss(perturbed, target[rows:])
        unsupervised = options.strong_weight * (first + second) + options.feature_weight * feature
        total = options.supervised_weight * supervised + unsupervised
        logs = {
            "supervised": supervised,
            "unsupervised": unsupervised,
            "strong_views": (first + second) / 2,
            "feature_view": feature,
            "sure_share": (target[rows:] != IGNORED).to(total.dtype).mean(),
            "segmenter_total": total,
        }
        yield Update("segmenter", total, logs)

    def forward_weak(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits of the weak view, and of its unlabelled rows with perturbed features."""
        rows, every = len(batch.weak), self.options.perturbed_rows == "all"
        maps = self.unet.encode(batch.weak)
        first = 0 if every else batch.labelled
        both = perturb_features(maps, first, self.options.feature_dropout)
        logits = crop_like(self.unet.decoder(both), batch.weak)
        return logits[:rows], logits[rows + (batch.labelled if every else 0) :]

    @torch.no_grad()
    def labels_in_eval_mode(self, batch: Batch) -> Tensor:
        """Return class maps (B, H, W) of the weak view, predicted in eval mode."""
        training = self.segmenter.training
        self.segmenter.eval()
        logits = self.segmenter(batch.weak)
        self.segmenter.train(training)
        return batch.with_labels(confident_labels(logits, self.options.threshold))

    def pseudo_label_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss over the pixels that are not ignored; 0 if all are."""
        if self.options.pseudo_label_loss == "cross_entropy":
            return cross_entropy(logits, target)
        return dice_loss(logits.softmax(dim=1), target)


def perturb_features(maps: list[Tensor], first: int, *shares: float) -> list[Tensor]:
    """Repeat all but the first rows of maps behind all rows, with channels dropped.

    Args:
        maps: feature maps (B, C, h, w).
        first: number of rows that are not repeated, such as the labelled ones.
        shares: for each repetition the share of the channels to drop, drawn for each map and row;
            those that stay are scaled by 1 / (1 - share).
    """
    return [torch.cat([x, *(F.dropout2d(x[first:], share) for share in shares)]) for x in maps]
