"""CrossMatch: UniMatch whose feature view becomes two, which also learn from each other.

Zhao, Wang, Ding, "CrossMatch: Enhance Semi-Supervised Medical Image Segmentation with Perturbation
Strategies and Knowledge Distillation", IEEE Journal of Biomedical and Health Informatics 2024.

- Feature views: channel dropout of 1/4 (weak) and of 3/4 (strong) on the encoder's five maps, of
  the weak view u (u_w, u_s) and of the second strong view s2 (s2_w, s2_s).
- Labels of u, u_w and u_s: the best class where it is 0.95 sure, without gradient.
- KD = (1 - e) mean of D(u_w <- u), D(u_s <- u), D(s2_w <- u), D(s2_s <- u)
  + e mean of D(s2_w <- u_w), D(s2_s <- u_s), e = 0.3, D the Dice loss.
- L = 1/2 [L_x + 1/4 D(s1 <- u) + 1/4 D(s2 <- u) + 1/2 KD], L_x = 1/2 (cross-entropy + Dice).

Views, weights and boxes are those of `unimatch`, whose deviations hold here too: boxes show another
unlabelled row of the batch, and bring its labels of the same kind. So the authors' extra forward
passes of further slices, in training mode but for the first after a validation, are not needed.
They take Nesterov's momentum (`nesterov`, on in preset `reference`) and choose the checkpoint on
validation and test patients together; here it is chosen on validation patients only, as for all
methods. Their threshold relaxation and the controller of dropout are switched off and left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Method, Update
from diffrect.methods.losses import confident_labels, cross_entropy_dice, dice_loss
from diffrect.methods.unimatch import REFERENCE_VIEWS, VIEWS, perturb_features
from diffrect.networks.unet import crop_like


@dataclass(frozen=True)
class CrossMatchOptions:
    """Settings of CrossMatch; the weights are those of the total, all factors multiplied."""

    threshold: float = 0.95
    """Pixels of a label whose best class is less probable count in no loss."""
    weak_dropout: float = 0.25
    """Share of the channels of the encoder's maps that the weak feature views drop."""
    strong_dropout: float = 0.75
    """Share of the channels of the encoder's maps that the strong feature views drop."""
    supervised_weight: float = 0.25
    """Weight of cross-entropy plus Dice on the labelled rows."""
    strong_weight: float = 0.125
    """Weight of the loss of each strong view."""
    distillation_weight: float = 0.25
    """Weight of KD, the losses of the feature views."""
    crossed_share: float = 0.3
    """e, the share of KD in which feature views learn from feature views."""
    nesterov: bool = False
    """Whether SGD has Nesterov's momentum, as in the released code."""

    def __post_init__(self) -> None:
        for name in ("threshold", "crossed_share"):
            within(name, getattr(self, name), 0, 1)
        for name in ("weak_dropout", "strong_dropout"):
            within(name, getattr(self, name), 0, 0.99)
        for name in ("supervised_weight", "strong_weight", "distillation_weight"):
            within(name, getattr(self, name), 0, 1e6)


class Views(NamedTuple):
    """What is known of a view of some rows, its own and with perturbed features."""

    clean: Tensor
    weak: Tensor
    strong: Tensor


class CrossMatch(Method):
    """The segmenter learns its confident predictions in two strong and four feature views."""

    Options = CrossMatchOptions
    presets = {"default": VIEWS, "reference": {**REFERENCE_VIEWS, "nesterov": True}}  # noqa: RUF012
    strong_views = 2
    needs_unet = True

    def optimizers(self) -> dict[str, Optimizer]:
        """Return SGD, with Nesterov's momentum if that is wanted."""
        return {"segmenter": self.sgd(self.segmenter, nesterov=self.options.nesterov)}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of L."""
        assert batch.second is not None  # because of `strong_views`
        rows, options = batch.labelled, self.options
        known, unknown = self.forward(batch.weak, rows)
        one, two = self.forward(torch.cat([batch.strong[rows:], batch.second.strong[rows:]]),
                                len(batch.weak) - rows)  # fmt: skip
        labels = Views(*(confident_labels(x, options.threshold) for x in unknown))
        moved = Views(*(moved_labels(batch.second, x) for x in labels))
        supervised = cross_entropy_dice(known, batch.label)
        first = pseudo_dice(one, moved_labels(batch, labels.clean))
        second = pseudo_dice(two.clean, moved.clean)
        distilled = distillation(unknown, two, labels.clean, moved, options.crossed_share)
        unsupervised = options.strong_weight * (first + second)
        unsupervised = unsupervised + options.distillation_weight * distilled
        total = options.supervised_weight * supervised + unsupervised
        logs = {
            "supervised": supervised,
            "unsupervised": unsupervised,
            "strong_views": (first + second) / 2,
            "feature_views": distilled,
            "sure_share": (labels.clean != IGNORED).to(total.dtype).mean(),
            "segmenter_total": total,
        }
        yield Update("segmenter", total, logs)

    def forward(self, images: Tensor, first: int) -> tuple[Tensor, Views]:
        """Return logits of the first rows of images, and three kinds of them of the others."""
        options, count = self.options, len(images) - first
        maps = perturb_features(
            self.unet.encode(images), first, options.weak_dropout, options.strong_dropout
        )
        logits = crop_like(self.unet.decoder(maps), images)
        plain, *others = logits.split([first, count, count, count])
        return plain, Views(*others)


def moved_labels(batch: Batch, labels: Tensor) -> Tensor:
    """Return class maps of the unlabelled rows as the strong view shows them."""
    return batch.as_strong(torch.cat([batch.label, labels]))[batch.labelled :]


def pseudo_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return D, the Dice loss over the pixels that are not ignored; 0 if all are."""
    return dice_loss(logits.softmax(dim=1), target)


def distillation(own: Views, second: Views, label: Tensor, moved: Views, share: float) -> Tensor:
    """Return KD.

    Args:
        own: logits of the weak view, whose feature views learn.
        second: logits of the second strong view, whose feature views learn.
        label: class map (B, H, W) of the clean weak view.
        moved: class maps of the weak view and its feature views, as the second strong view shows
            the slices.
        share: e.
    """
    plain = [pseudo_dice(own.weak, label), pseudo_dice(own.strong, label)]
    plain += [pseudo_dice(second.weak, moved.clean), pseudo_dice(second.strong, moved.clean)]
    crossed = [pseudo_dice(second.weak, moved.weak), pseudo_dice(second.strong, moved.strong)]
    return (1 - share) * torch.stack(plain).mean() + share * torch.stack(crossed).mean()
