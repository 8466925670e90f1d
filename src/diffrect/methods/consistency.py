"""The frame of methods with a ramped consistency loss: its weight, a teacher, input noise, boxes.

The frame is that of the SSL4MIS benchmark, in which these methods were carried from classification
to segmentation: total = 1/2 (CE + Dice) on labelled rows + w(i) consistency on unlabelled rows,
w(i) = 0.1 exp(-5 (1 - i / I)^2) in 200 stairs.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from diffrect.checks import at_least, within
from diffrect.data.batch import Batch
from diffrect.methods.base import (
    Method,
    Problem,
    Update,
    make_teacher,
    move_average,
    own_statistics,
)
from diffrect.methods.losses import consistency_ramp


@dataclass(frozen=True)
class ConsistencyOptions:
    """Weights of the two losses."""

    supervised_weight: float = 0.5
    """Weight of cross-entropy plus Dice on the labelled rows."""
    consistency_weight: float = 0.1
    """Largest weight of the loss on unlabelled rows."""
    ramp_stairs: int = 200
    """Number of stairs in which the weight of the loss on unlabelled rows rises."""
    ramp_share: float = 1.0
    """Share of the training over which the weight of the loss on unlabelled rows rises; 0 = the
    weight is constant."""

    def __post_init__(self) -> None:
        for name in ("supervised_weight", "consistency_weight"):
            within(name, getattr(self, name), 0, 1e6)
        at_least("ramp_stairs", self.ramp_stairs, 1)
        within("ramp_share", self.ramp_share, 0, 1)

    def weight(self, step: int, iterations: int) -> float:
        """Return w(i), the weight of the consistency loss in iteration `step` of `iterations`."""
        rise = round(self.ramp_share * iterations)
        ramp = consistency_ramp(step, rise, self.ramp_stairs) if rise else 1.0
        return self.consistency_weight * ramp

    def update(self, supervised: Tensor, consistency: Tensor, weight: float) -> Update:
        """Return the update of the weighted sum of both losses.

        Args:
            supervised: loss on labelled rows.
            consistency: loss on unlabelled rows.
            weight: of the second, see `weight`.
        """
        total = self.supervised_weight * supervised + weight * consistency
        logs: dict[str, Tensor | float] = {
            "supervised": supervised,
            "unsupervised": consistency,
            "consistency_weight": weight,
            "segmenter_total": total,
        }
        return Update("segmenter", total, logs)


@dataclass(frozen=True)
class TeacherOptions(ConsistencyOptions):
    """Weights of the two losses, and the teacher's decay."""

    teacher_decay: float = 0.99
    """Decay of the teacher, a moving average of the segmenter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("teacher_decay", self.teacher_decay, 0, 1)


class TeacherMethod(Method):
    """A student that predicts, and a teacher that is the moving average of its parameters.

    The teacher stays in training mode, with dropout and batch norm over its own inputs, and its
    running statistics are its own, as in the official code of Mean Teacher and of UA-MT.
    """

    strong_views = 0

    def __init__(self, problem: Problem, options: TeacherOptions) -> None:
        super().__init__(problem, options)
        self.teacher = make_teacher(self.segmenter)

    def after_step(self, step: int) -> None:
        """Move the teacher's parameters towards the student's."""
        decay = self.options.teacher_decay
        move_average(self.teacher, self.segmenter, decay, step, buffers=False)

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's probabilities (B, classes, H, W) of images (B, channels, H, W)."""
        logits: Tensor = self.teacher(images)
        return logits.softmax(dim=1)


class MayHaveTeacher(Method):
    """A method whose pseudo-labels may come from a moving average, which then predicts.

    Its options have `teacher_decay`, 0 for no teacher, and `teacher_statistics`, the segmenter's or
    those of the rows that the teacher labels. It makes `teacher` itself, in eval mode or None.
    """

    teacher: nn.Module | None

    @property
    def has_own_statistics(self) -> bool:
        """Whether the teacher's batch norm follows what the teacher is shown."""
        return self.teacher is not None and bool(self.options.teacher_statistics == "own")

    def after_step(self, step: int) -> None:
        """Move the teacher, if there is one, towards the segmenter."""
        if self.teacher is not None:
            decay, averaged = self.options.teacher_decay, not self.has_own_statistics
            move_average(self.teacher, self.segmenter, decay, step, buffers=averaged)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or eval mode; the teacher always stays in eval mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    @torch.no_grad()
    def teach_unlabelled(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """Return a teacher's logits (U, C, H, W) of the unlabelled rows of the weak view.

        With statistics of its own, they are seen with their own, which its running ones follow.
        """
        with own_statistics(teacher) if self.has_own_statistics else nullcontext():
            logits: Tensor = teacher(batch.weak[batch.labelled :])
        return logits

    @property
    def predictor(self) -> nn.Module:
        """The teacher, or the segmenter if there is none."""
        return self.segmenter if self.teacher is None else self.teacher


def with_noise(images: Tensor) -> Tensor:
    """Return images plus Gaussian noise, standard deviation 0.1, cut to +-0.2 (UA-MT, 2019)."""
    return images + (0.1 * torch.randn_like(images)).clamp(-0.2, 0.2)


def squared_difference(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the mean over rows, classes and pixels of (p - q)^2."""
    return (probabilities - target).square().mean()


def with_boxes(batch: Batch) -> Batch:
    """Return the batch with weak views as strong ones, boxes of other unlabelled rows pasted in.

    All boxes have one size: their sides are sqrt(1 - l) of the slice's, l ~ Beta(4, 4), cut at its
    edges. The centres are uniform from an eighth of the slice on, the partners are a permutation.
    """
    rows, (height, width) = len(batch.weak), batch.weak.shape[-2:]
    half = float((1 - torch.distributions.Beta(4.0, 4.0).sample()).sqrt()) / 2
    inside = []
    for side in (height, width):
        centre = torch.randint(side // 8, side, (rows, 1))
        inside.append((torch.arange(side) - centre).abs() <= half * side)
    pasted = inside[0][:, :, None] & inside[1][:, None, :]
    pasted[: batch.labelled] = False
    partner = torch.cat(
        [torch.arange(batch.labelled), batch.labelled + torch.randperm(rows - batch.labelled)]
    )
    device = batch.weak.device
    boxed = replace(batch, pasted=pasted.to(device), partner=partner.to(device))
    return replace(boxed, strong=boxed.as_strong(batch.weak))
