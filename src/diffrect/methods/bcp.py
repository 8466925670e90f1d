"""BCP: paste labelled into unlabelled slices and unlabelled into labelled ones, and learn both.

Bai, Chen, Li, Shen, Wang, "Bidirectional Copy-Paste for Semi-Supervised Medical Image
Segmentation", CVPR 2023.

- Images: x_in = x_l M + x_u (1 - M), x_out = x_u M + x_l (1 - M); M is 0 in a box of 2/3 of each
  side and 1 outside, at random, one for the whole batch and iteration.
- Labels are mixed alike; unlabelled slices bring the teacher's argmax, of which each class
  keeps its largest component per slice (8-connected).
- Each region has a loss of its own, 1/2 (cross-entropy + Dice) inside the region, times
  alpha = 1/2 where it is unlabelled; the total is the sum over both mixtures.
- Teacher: moving average, decay 0.99, batch norm's statistics included; it predicts in training
  mode. It starts from a network trained on labelled slices pasted into each other.

That pre-training is 10,000 of 40,000 published iterations: here the first quarter of the training,
so that BCP gets no more iterations than its rivals (`pretrain_share`). The teacher then starts from
the last weights, not from the best by validation, which a method does not see. Where the authors
split a batch in halves, all rows take part in both roles here, so batches may be odd. The authors
keep the learning rate constant: `rate_decay` = false, as in preset `reference`, which also has
their weak views. Up to October 2023 their code let the background's Dice loss see both regions,
which is not repeated here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.data.view_options import OLDER_SSL4MIS_VIEWS
from diffrect.imaging.components import keep_largest_components
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Method, Problem, Update, make_teacher, move_average
from diffrect.methods.losses import cross_entropy_dice


@dataclass(frozen=True)
class BCPOptions:
    """Settings of BCP."""

    pretrain_share: float = 0.25
    """Share of the training that learns only labelled slices, pasted into each other."""
    box_share: float = 2 / 3
    """Height and width of the box, as shares of the slice's."""
    unlabelled_weight: float = 0.5
    """alpha, the weight of regions with pseudo-labels."""
    teacher_decay: float = 0.99
    """Decay of the teacher, a moving average of the segmenter."""
    rate_decay: bool = True
    """Whether the learning rate decays as in all methods; false = constant, as published."""

    def __post_init__(self) -> None:
        for name in ("pretrain_share", "box_share", "teacher_decay"):
            within(name, getattr(self, name), 0, 1)
        within("unlabelled_weight", self.unlabelled_weight, 0, 1e6)


class BCP(Method):
    """Learn labelled slices in each other first, then labelled and unlabelled ones both ways."""

    Options = BCPOptions
    presets = {"reference": {**OLDER_SSL4MIS_VIEWS, "rate_decay": False}}  # noqa: RUF012
    strong_views = 0

    def __init__(self, problem: Problem, options: BCPOptions) -> None:
        super().__init__(problem, options)
        self.teacher = make_teacher(self.segmenter)
        self.pretrain_until = round(options.pretrain_share * problem.iterations)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of the pre-training, or that of both mixtures."""
        height, width = batch.weak.shape[-2:]
        outside = random_mask(height, width, self.options.box_share).to(batch.weak.device)
        paste = self.pretraining if step < self.pretrain_until else self.self_training
        supervised, unsupervised = paste(batch, outside)
        total = supervised + self.options.unlabelled_weight * unsupervised
        logs = {"supervised": supervised, "unsupervised": unsupervised, "segmenter_total": total}
        yield Update("segmenter", total, logs)

    def pretraining(self, batch: Batch, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each labelled row around a box of the next one, and 0.

        Args:
            batch: the batch.
            outside: (H, W), false inside the box.
        """
        images, label = batch.weak[: batch.labelled], batch.label
        logits = self.segmenter(torch.where(outside, images, images.roll(-1, 0)))
        loss = region_loss(logits, label, outside)
        loss = loss + region_loss(logits, label.roll(-1, 0), ~outside)
        return loss, torch.zeros_like(loss)

    def self_training(self, batch: Batch, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of the labelled and of the unlabelled regions of x_out and x_in.

        Args:
            batch: the batch.
            outside: (H, W), false inside the box.
        """
        taught = self.teach(batch.weak[batch.labelled :])
        pasted = Pasted.of(batch.weak, batch.label, taught, outside)
        return pasted.losses(self.segmenter(pasted.out), self.segmenter(pasted.into))

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's logits (B, classes, H, W) of images."""
        logits: Tensor = self.teacher(images)
        return logits

    def after_step(self, step: int) -> None:
        """Copy the segmenter to the teacher while pre-training, then average."""
        pretraining = step < self.pretrain_until
        decay = 0.0 if pretraining else self.options.teacher_decay
        move_average(self.teacher, self.segmenter, decay, None)

    def set_rates(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """Let the learning rate decay, or keep it constant as published."""
        if self.options.rate_decay:
            super().set_rates(optimizers, step)


@dataclass(frozen=True)
class Pasted:
    """Slices pasted into each other with their labels, as many as the more numerous rows.

    Attributes:
        out: x_out, unlabelled rows outside the box, (B, channels, H, W).
        into: x_in, labelled rows outside.
        known: the true labels in `out` and in `into`, class maps (B, H, W).
        guess: the teacher's labels of the unlabelled rows, largest components only.
        outside: M, (H, W).
    """

    out: Tensor
    into: Tensor
    known: tuple[Tensor, Tensor]
    guess: Tensor
    outside: Tensor

    @classmethod
    def of(cls, images: Tensor, label: Tensor, taught: Tensor, outside: Tensor) -> "Pasted":
        """Paste rows of images, the labelled ones first; `taught` are logits of the others."""
        guess = largest_components(taught.argmax(dim=1))
        known, unknown = images[: len(label)], images[len(label) :]
        row = torch.arange(max(len(known), len(unknown)), device=known.device)
        # The two mixtures pair each unlabelled row with different labelled ones.
        around, inner, other = row % len(known), (row + 1) % len(known), row % len(unknown)
        out = torch.where(outside, unknown[other], known[inner])
        into = torch.where(outside, known[around], unknown[other])
        return cls(out, into, (label[inner], label[around]), guess[other], outside)

    def losses(self, out: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of the labelled and of the unlabelled regions, given the logits."""
        supervised = region_loss(out, self.known[0], ~self.outside)
        supervised = supervised + region_loss(into, self.known[1], self.outside)
        unsupervised = region_loss(out, self.guess, self.outside)
        return supervised, unsupervised + region_loss(into, self.guess, ~self.outside)


def random_mask(height: int, width: int, share: float) -> Tensor:
    """Return M (height, width): false inside a random box of `share` of both sides."""
    tall, wide = int(height * share), int(width * share)
    top, left = (int(torch.randint(max(1, free), ())) for free in (height - tall, width - wide))
    outside = torch.ones(height, width, dtype=torch.bool)
    outside[top : top + tall, left : left + wide] = False
    return outside


def region_loss(logits: Tensor, target: Tensor, region: Tensor) -> Tensor:
    """Return 1/2 (cross-entropy + Dice) of the pixels in `region` (H, W)."""
    return cross_entropy_dice(logits, torch.where(region, target, IGNORED)) / 2


def largest_components(labels: Tensor) -> Tensor:
    """Return class maps (B, H, W) with only the largest 8-connected part of each class of a row."""
    kept = labels.cpu().numpy().copy()
    for row in kept:
        keep_largest_components(row)
    return torch.from_numpy(kept).to(labels.device)
