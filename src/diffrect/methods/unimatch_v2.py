"""UniMatch V2: a teacher labels two strong views whose features drop opposite channels.

Yang, Zhao, Zhao, "UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation",
arXiv 2410.10777, 2024.

- Teacher: moving average of the student, a = min(1 - 1 / (i + 1), 0.996), batch norm's statistics
  included, in eval mode. It labels the weak view; its confidence is the probability of the class.
- Complementary dropout: each channel of the student's encoder is doubled in one strong view and
  dropped in the other, at random per row; half of the rows keep all channels.
- L = 1/2 [L_x + 1/2 (l_1 + l_2)], l the cross-entropy of a strong view on the pixels that are 0.95
  sure, in the mean over all pixels.

It was published for natural images and a vision transformer; there is no medical code. For the
U-Net, channels are drawn for each of the five maps of the encoder, whose widths differ (the authors
have one mask for all levels), SGD and batches are those of all methods, and L_x is 1/2
(cross-entropy + Dice) as in UniMatch; preset `reference` has the publication's cross-entropy
(`labelled_loss`). Views and boxes are those of `unimatch`; the authors fill the boxes from the
batch in reverse order, so that a row in the middle shows itself. Labelled rows and strong views go
through the student in two passes. The student predicts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Method, Problem, Update, make_teacher, move_average
from diffrect.methods.losses import (
    confident_labels,
    cross_entropy,
    cross_entropy_dice,
    sure_cross_entropy,
)
from diffrect.methods.unimatch import REFERENCE_VIEWS, VIEWS
from diffrect.networks.unet import crop_like


@dataclass(frozen=True)
class UniMatchV2Options:
    """Settings of UniMatch V2; the weights are those of the total, all factors multiplied."""

    threshold: float = 0.95
    """Pixels whose best class is less probable to the teacher contribute nothing."""
    teacher_decay: float = 0.996
    """Decay of the teacher, a moving average of the segmenter."""
    supervised_weight: float = 0.25
    """Weight of the loss on the labelled rows."""
    strong_weight: float = 0.25
    """Weight of the loss of each strong view."""
    labelled_loss: Literal["cross_entropy_dice", "cross_entropy"] = "cross_entropy_dice"
    """Loss on the labelled rows: cross-entropy plus Dice, or the publication's cross-entropy."""

    def __post_init__(self) -> None:
        for name in ("threshold", "teacher_decay"):
            within(name, getattr(self, name), 0, 1)
        for name in ("supervised_weight", "strong_weight"):
            within(name, getattr(self, name), 0, 1e6)


class UniMatchV2(Method):
    """The segmenter learns its moving average's confident labels in two strong views."""

    Options = UniMatchV2Options
    presets = {  # noqa: RUF012
        "default": VIEWS,
        "reference": {
            **REFERENCE_VIEWS,
            "labelled_loss": "cross_entropy",
            "supervised_weight": 0.5,
        },
    }
    strong_views = 2
    needs_unet = True

    def __init__(self, problem: Problem, options: UniMatchV2Options) -> None:
        super().__init__(problem, options)
        self.teacher = make_teacher(self.segmenter)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of L."""
        assert batch.second is not None  # because of `strong_views`
        rows, options = batch.labelled, self.options
        target = torch.cat([batch.label, self.teach(batch.weak[rows:])])
        known = self.segmenter(batch.weak[:rows])
        one, two = self.forward_strong(batch.strong[rows:], batch.second.strong[rows:])
        plain = options.labelled_loss == "cross_entropy"
        supervised = (cross_entropy if plain else cross_entropy_dice)(known, batch.label)
        first = sure_cross_entropy(one, batch.as_strong(target)[rows:])
        second = sure_cross_entropy(two, batch.second.as_strong(target)[rows:])
        unsupervised = options.strong_weight * (first + second)
        total = options.supervised_weight * supervised + unsupervised
        logs = {
            "supervised": supervised,
            "unsupervised": unsupervised,
            "strong_views": (first + second) / 2,
            "sure_share": (target[rows:] != IGNORED).to(total.dtype).mean(),
            "segmenter_total": total,
        }
        yield Update("segmenter", total, logs)

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's class maps (B, H, W) of images, `IGNORED` where it is not sure."""
        self.teacher.eval()  # which a method in training mode is not
        return confident_labels(self.teacher(images), self.options.threshold)

    def forward_strong(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of two strong views of the same rows, with complementary dropout."""
        images = torch.cat([one, two])
        maps = complementary_dropout(self.unet.encode(images))
        first, second = crop_like(self.unet.decoder(maps), images).chunk(2)
        return first, second

    def after_step(self, step: int) -> None:
        """Move the teacher towards the student."""
        move_average(self.teacher, self.segmenter, self.options.teacher_decay, step)


def complementary_dropout(maps: list[Tensor]) -> list[Tensor]:
    """Return maps with channels doubled in one half of the rows and 0 in the other, at random.

    A random half of the pairs of rows keeps all channels.

    Args:
        maps: feature maps (2 B, C, h, w), two views of the same rows one after the other.
    """
    pairs = len(maps[0]) // 2
    kept = torch.randperm(pairs)[: pairs // 2]
    dropped = []
    for x in maps:
        mask = 2.0 * (torch.rand(pairs, x.shape[1]) < 0.5)
        mask[kept] = 1.0
        dropped.append(x * torch.cat([mask, 2 - mask])[:, :, None, None].to(x))
    return dropped
