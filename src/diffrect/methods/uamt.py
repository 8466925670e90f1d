"""UA-MT: a mean teacher whose predictions count only where it is certain.

Yu, Wang, Li, Fu, Heng, "Uncertainty-Aware Self-ensembling Model for Semi-supervised 3D Left Atrium
Segmentation", MICCAI 2019. Equation numbers are theirs.

- Eq. 2: the mean q of T = 8 teacher passes with fresh noise and dropout has the entropy
  u = -sum_c q_c ln q_c at each pixel.
- Eq. 3: L_c = sum [u < H] |f'(x) - f(x)|^2 / sum [u < H], with the soft prediction f' of one more
  teacher pass.
- H rises from 3/4 U_max to U_max: H(i) = (3/4 + 1/4 exp(-5 (1 - i / I)^2)) U_max.

UA-MT was published for two classes: U_max = ln 2, and the square is a mean over the two classes.
Both constants stayed when the SSL4MIS benchmark went to more classes, and stay here by default;
`highest_entropy` = classes takes ln K and K instead. It was published in 3-D, with a ramp of 40
stairs and a rate divided by 10 every 2,500 of 6,000 iterations; here it works on slices, with the
benchmark's ramp of 200 stairs and the rate that all methods share.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffrect.checks import at_least
from diffrect.data.batch import Batch
from diffrect.data.view_options import SSL4MIS_VIEWS
from diffrect.distributed.sums import shared_sum
from diffrect.errors import InputError
from diffrect.methods.base import Update
from diffrect.methods.consistency import TeacherMethod, TeacherOptions, with_noise
from diffrect.methods.losses import consistency_ramp, cross_entropy_dice


@dataclass(frozen=True)
class UAMTOptions(TeacherOptions):
    """Settings of UA-MT."""

    passes: int = 8
    """T, the number of the teacher's passes that estimate the uncertainty; even."""
    highest_entropy: Literal["binary", "classes"] = "binary"
    """U_max and the divisor of the squares: ln 2 and 2 as published, or ln K and K."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("passes", self.passes, 2, 1000)
        if self.passes % 2:
            raise InputError("passes", "an even number", got=self.passes, setting="passes")


class UAMT(TeacherMethod):
    """The student learns labels, and the teacher's predictions where the teacher is certain."""

    Options = UAMTOptions
    presets = {"reference": SSL4MIS_VIEWS}  # noqa: RUF012

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of labels and of Eq. 3."""
        rows, iterations = batch.labelled, self.problem.iterations
        unlabelled = batch.weak[rows:]
        target = self.teach(with_noise(unlabelled))
        certain = self.uncertainty(unlabelled) < self.threshold(step)
        logits = self.segmenter(batch.weak)
        supervised = cross_entropy_dice(logits[:rows], batch.label)
        divisor = 2 if self.options.highest_entropy == "binary" else self.problem.classes
        consistency = masked_difference(logits[rows:].softmax(dim=1), target, certain, divisor)
        weight = self.options.weight(step, iterations)
        update = self.options.update(supervised, consistency, weight)
        share = certain.to(logits.dtype).mean()
        yield Update(update.name, update.loss, {**update.logs, "certain_share": share})

    def uncertainty(self, images: Tensor) -> Tensor:
        """Return Eq. 2 (B, H, W), computed in two passes at a time, as the official code does."""
        twice = torch.cat([images, images])
        pairs = [self.teach(with_noise(twice)) for _ in range(self.options.passes // 2)]
        return entropy(torch.stack([half for pair in pairs for half in pair.chunk(2)]).mean(dim=0))

    def threshold(self, step: int) -> float:
        """Return H of iteration `step`."""
        iterations = self.problem.iterations
        binary = self.options.highest_entropy == "binary"
        highest = math.log(2 if binary else self.problem.classes)
        return (0.75 + 0.25 * consistency_ramp(step, iterations, iterations)) * highest


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy over the classes, (B, classes, H, W) -> (B, H, W)."""
    return -(probabilities * (probabilities + 1e-6).log()).sum(dim=1)


def masked_difference(
    probabilities: Tensor, target: Tensor, certain: Tensor, divisor: int
) -> Tensor:
    """Return Eq. 3: the mean over the certain pixels of the squared difference.

    Args:
        probabilities: of the student, (B, classes, H, W).
        target: of the teacher, of the same shape.
        certain: (B, H, W), where the teacher is certain.
        divisor: of the squares summed over classes.
    """
    squares = (probabilities - target).square().sum(dim=1)
    total, pixels = shared_sum((squares * certain).sum()), shared_sum(certain.sum())
    return total / (divisor * pixels).clamp(min=1)
