"""ABD: two students of BCP exchange the patches of a slice of which they are least sure.

Chi, Pang, Zhang, Liu, "Adaptive Bidirectional Displacement for Semi-Supervised Medical Image
Segmentation", CVPR 2024, in the variant that builds on BCP (`bcp`, whose first stage, mask, labels
and teacher it has).

- Student 1 learns BCP's loss of the weak view, student 2 that of a strong view with the same mask;
  the teacher, which follows student 1, labels each view.
- Cross teaching: C_k = Dice(p_k, argmax of the other student) on all mixtures.
- Displacement: of 4 x 4 patches, the least sure one of each weak mixture becomes a sure one of the
  strong mixture, then the least sure one of that a sure one of the changed weak mixture. Which one:
  with probability 1/2 the surest, else of the 4 surest the one whose mean logits z are most like
  those of the patch that goes, by KL(softmax z_least | softmax z).
- Both students see all mixtures so changed and teach each other again: C'_k.
- L = sum over students of BCP's loss + C_k + C'_k. Student 1 predicts.

The strong view has jitter from 0.2 to 1.8 (sharpness too here), and with probability 1/2 a box of
2 to 40 % of the slice shows black and white noise, with the label background there; the authors
jitter that noise too. Both students start from the last weights of the first stage, without its
momentum. A patch is a quarter of the slice's side, rounded down; what is left over at the right and
bottom stays. The authors keep the learning rate constant (`rate_decay`) and choose the student that
is better in validation. Their variant with a transformer as second student is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from diffrect.checks import at_least, within
from diffrect.data.batch import Batch
from diffrect.data.view_options import OLDER_SSL4MIS_VIEWS, ViewOptions
from diffrect.data.views import random_boxes
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Problem, Update, move_average
from diffrect.methods.bcp import BCP, BCPOptions, Pasted, random_mask
from diffrect.methods.losses import dice_loss

VIEWS: dict[str, Any] = {
    "jitter_low": 0.2,
    "jitter_high": 1.8,
    "jitter_probability": 1.0,
    "blur_sigma": 0.0,
    "cutmix_probability": 0.0,
}
NOISE = ViewOptions(cutmix_probability=0.5, cutmix_area=0.4)
"""How often boxes of noise appear and how large they are."""


@dataclass(frozen=True)
class TwoStudentsOptions(BCPOptions):
    """Settings of BCP with two students."""

    cross_weight: float = 1.0
    """Weight of the losses by which the students teach each other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("cross_weight", self.cross_weight, 0, 1e6)


@dataclass(frozen=True)
class ABDOptions(TwoStudentsOptions):
    """Settings of ABD."""

    grid: int = 4
    """Number of patches along each side of a slice."""
    surest: int = 4
    """Number of the surest patches among which the most similar one is searched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "surest"):
            at_least(name, getattr(self, name), 1, 64)


class View(NamedTuple):
    """A view of a batch as a student learns it."""

    images: Tensor
    """(B, channels, H, W), the labelled rows first."""
    label: Tensor
    """Class maps (L, H, W) of the labelled rows."""
    taught: Tensor
    """Logits (U, classes, H, W) of the teacher, of the unlabelled rows."""


class ABD(BCP):
    """Two students learn mixtures of a weak and of a strong view, and from each other."""

    Options: ClassVar[type[TwoStudentsOptions]] = ABDOptions
    presets = {  # noqa: RUF012
        "default": VIEWS,
        "reference": {**VIEWS, **OLDER_SSL4MIS_VIEWS, "rate_decay": False},
    }
    strong_views = 1

    def __init__(self, problem: Problem, options: TwoStudentsOptions) -> None:
        super().__init__(problem, options)
        self.other = problem.make_network()

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser of both students."""
        return {"segmenter": self.sgd(nn.ModuleList([self.segmenter, self.other]))}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of BCP's first stage, or that of L."""
        if step < self.pretrain_until:
            yield from super().updates(batch, step)
            return
        height, width = batch.weak.shape[-2:]
        outside = random_mask(height, width, self.options.box_share).to(batch.weak.device)
        views = self.views(batch)
        pasted = [Pasted.of(*view, outside) for view in views]
        supervised = unsupervised = batch.weak.new_zeros(())
        logits = []
        for student, mixed in zip((self.segmenter, self.other), pasted, strict=True):
            out, into = student(mixed.out), student(mixed.into)
            labelled, unlabelled = mixed.losses(out, into)
            supervised, unsupervised = supervised + labelled, unsupervised + unlabelled
            logits.append(torch.cat([out, into]))
        changed = self.exchange([torch.cat([mixed.out, mixed.into]) for mixed in pasted], logits)
        crossed = cross_teaching(*logits)
        crossed = crossed + cross_teaching(self.segmenter(changed), self.other(changed))
        total = supervised + self.options.unlabelled_weight * unsupervised
        total = total + self.options.cross_weight * crossed
        logs = {"supervised": supervised, "unsupervised": unsupervised, "crossed": crossed}
        more, further = self.further(views, step)
        total = total + more
        yield Update("segmenter", total, {**logs, **further, "segmenter_total": total})

    def views(self, batch: Batch) -> list[View]:
        """Return the weak and the strong view, labelled by the teacher."""
        rows = batch.labelled
        strong, label = with_noise_boxes(batch.strong, batch.label)
        pairs = ((batch.weak, batch.label), (strong, label))
        return [View(images, known, self.teach(images[rows:])) for images, known in pairs]

    def exchange(self, images: list[Tensor], logits: list[Tensor]) -> Tensor:
        """Return both students' mixtures (2 B, channels, H, W), changed by the other's.

        Args:
            images: weak and strong mixtures, (B, channels, H, W) each.
            logits: of student 1 and 2, (B, classes, H, W).
        """
        one, two = images[0].clone(), images[1].clone()
        side = max(1, min(one.shape[-2:]) // self.options.grid)
        tall, wide = (min(self.options.grid, extent // side) for extent in one.shape[-2:])
        means = [patch_means(x, side, tall, wide) for x in logits]
        sure = [patch_means(x.softmax(1).amax(1, True), side, tall, wide)[..., 0] for x in logits]
        alike = torch.rand(len(one)) >= 0.5
        for row, moves in enumerate(chosen_patches(sure, means, alike, self.options.surest)):
            a, b, c, d = (patch(index, side, wide) for index in moves)
            one[row][b] = two[row][c]
            two[row][d] = one[row][a]
        return torch.cat([one, two])

    def further(self, views: list[View], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Return a further loss of iteration `step`, and what to report of it."""
        return views[0].images.new_zeros(()), {}

    def after_step(self, step: int) -> None:
        """Move the teacher as BCP does; student 2 is a copy of student 1 in the first stage."""
        super().after_step(step)
        if step < self.pretrain_until:
            move_average(self.other, self.segmenter, 0.0, None)


def cross_teaching(one: Tensor, two: Tensor) -> Tensor:
    """Return C_1 + C_2 of both students' logits (B, classes, H, W)."""
    first = dice_loss(one.softmax(dim=1), two.detach().argmax(dim=1))
    return first + dice_loss(two.softmax(dim=1), one.detach().argmax(dim=1))


def with_noise_boxes(images: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (B, channels, H, W) with boxes of noise, and labels (L, H, W) without them."""
    inside, _ = random_boxes(len(images), 0, images.shape[-1], NOISE)
    noise = torch.randint(2, (len(images), 1, *images.shape[-2:])).to(images)
    inside = inside.to(images.device)
    hidden = inside[: len(label)] & (label != IGNORED)
    return torch.where(inside[:, None], noise, images), torch.where(hidden, 0, label)


def patch(index: int, side: int, wide: int) -> tuple[slice, slice, slice]:
    """Return where patch `index` is in an image (channels, H, W) with `wide` patches in a row."""
    top, left = index // wide * side, index % wide * side
    return slice(None), slice(top, top + side), slice(left, left + side)


def patch_means(maps: Tensor, side: int, tall: int, wide: int) -> Tensor:
    """Return the means (B, tall * wide, C) of the patches of maps (B, C, H, W), on the CPU."""
    kept = maps.detach()[..., : tall * side, : wide * side]
    return F.avg_pool2d(kept, side).flatten(2).transpose(1, 2).cpu()


def chosen_patches(
    sure: list[Tensor], means: list[Tensor], alike: Tensor, surest: int
) -> list[list[int]]:
    """Return (a, b, c, d) of each row: b of image 1 becomes c of 2, then d of 2 becomes a of 1.

    Args:
        sure: confidence (B, patches) in image 1 and 2.
        means: z, mean logits (B, patches, classes) in image 1 and 2.
        alike: (B,) bool, whether the most similar of the surest patches is taken.
        surest: number of patches to search.
    """
    row = torch.arange(len(alike))
    least = [x.argmin(dim=1) for x in sure]
    taken = []
    for own, other in ((0, 1), (1, 0)):
        best = sure[own].topk(min(surest, sure[own].shape[1]), dim=1).indices
        found = means[own][row[:, None], best].log_softmax(dim=2)
        sought = means[other][row, least[other]].log_softmax(dim=1)[:, None]
        nearest = (sought.exp() * (sought - found)).sum(dim=2).argmin(dim=1)
        taken.append(torch.where(alike, best[row, nearest], best[:, 0]))
    moves: list[list[int]] = torch.stack([taken[0], least[0], taken[1], least[1]], 1).tolist()
    return moves
