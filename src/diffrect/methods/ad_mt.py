"""AD-MT: two teachers, moved in turn, vote on labels; the student may overrule their quarrels.

Zhao, Wang, Wang, Yu, Yuan, Zhou, "Alternate Diverse Teaching for Semi-supervised Medical Image
Segmentation", ECCV 2024.

- Turns: a teacher is in turn for a random 1 to 50 iterations, then the other. In the first one's
  turns the strong view has changed intensities; in the second one's it is the weak view with a box
  of another unlabelled row (CutMix). Only the teacher in turn moves, and it labels with the
  statistics of what it is shown, while the other is in eval mode.
- Vote: q = v_1 q_1 + (1 - v_1) q_2, v_k ~ exp(-H(q_k)), H in bits; the label is argmax q with
  confidence max q. Where the teachers disagree and the student is surer than q of another class,
  the student's label and confidence count.
- Total: 1/2 (cross-entropy + Dice) on labelled rows + w(i) Dice of the strong view over the pixels
  of confidence 0.95, w(i) = 2 exp(-5 (1 - t)^2) in 50 stairs over the first quarter.
- Teachers: a = min(1 - 1 / (n + 1), 0.99), n = i / 2 - 50 (rounded down), batch norm's statistics
  included; plain copies before. The student predicts.

The turns keep their published length, because the decay of the teachers does; the 100 iterations of
copies and the ramp are shares of 30,000 (`copy_share`, `ramp_share`). All turns are drawn when the
method is made, so that they are the same in every process. The student sees labelled rows and both
views of unlabelled ones in one pass. The released code leaves the student's labels where they are
when boxes are pasted, so that within a box they are those of another slice; here they move along
(`student_moves` = false, as in preset `reference`, repeats it). Jitter is that of UniMatch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffrect.checks import at_least, within
from diffrect.data.batch import Batch
from diffrect.data.view_options import OLDER_SSL4MIS_VIEWS
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Method, Problem, Update, make_teacher, move_average
from diffrect.methods.consistency import TeacherOptions, with_boxes
from diffrect.methods.losses import cross_entropy_dice, dice_loss

VIEWS: dict[str, Any] = {
    "jitter_low": 0.5,
    "jitter_high": 1.5,
    "jitter_probability": 0.8,
    "blur_sigma": 2.0,
    "blur_probability": 0.2,
    "cutmix_probability": 0.0,
}


@dataclass(frozen=True)
class ADMTOptions(TeacherOptions):
    """Settings of AD-MT."""

    consistency_weight: float = 2.0
    """Largest weight of the loss on unlabelled rows."""
    ramp_stairs: int = 50
    """Number of stairs in which the weight of the loss on unlabelled rows rises."""
    ramp_share: float = 0.25
    """Share of the training over which the weight of the loss on unlabelled rows rises; 0 = the
    weight is constant."""
    threshold: float = 0.95
    """Pixels whose pseudo-label is less confident count in no loss."""
    longest_turn: int = 50
    """Largest number of iterations in which a teacher is in turn."""
    copy_share: float = 1 / 300
    """Share of the training in which the teacher in turn becomes a copy of the student."""
    student_moves: bool = True
    """Whether the student's labels move with the boxes of CutMix; the released code's do not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("threshold", self.threshold, 0, 1)
        at_least("longest_turn", self.longest_turn, 1, 10**6)
        within("copy_share", self.copy_share, 0, 1)


class ADMT(Method):
    """The student learns labels, and what both teachers and itself agree on."""

    Options = ADMTOptions
    presets = {  # noqa: RUF012
        "default": VIEWS,
        "reference": {**VIEWS, **OLDER_SSL4MIS_VIEWS, "student_moves": False},
    }
    turns: Tensor
    """(iterations,) bool, whether the second teacher is in turn."""

    def __init__(self, problem: Problem, options: ADMTOptions) -> None:
        super().__init__(problem, options)
        self.teacher, self.second_teacher = (make_teacher(self.segmenter) for _ in range(2))
        self.register_buffer("turns", draw_turns(problem.iterations, options.longest_turn))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of labels and of the strong view's pseudo-labels."""
        rows, options = batch.labelled, self.options
        second = bool(self.turns[step])
        shown = with_boxes(batch) if second else batch
        votes = vote(*self.teach(batch.weak[rows:], second))
        logits = self.segmenter(torch.cat([batch.weak, shown.strong[rows:]]))
        sure, own = logits[: len(batch.weak)].detach().softmax(dim=1).max(dim=1)
        # Labelled rows, which boxes may show, bring their labels.
        certain = torch.ones_like(sure[:rows])
        known = (batch.label, certain, torch.zeros_like(certain, dtype=torch.bool))
        voted, confidence, quarrel = (
            shown.as_strong(torch.cat(pair)) for pair in zip(known, votes, strict=True)
        )
        if options.student_moves:
            own, sure = shown.as_strong(own), shown.as_strong(sure)
        label, confidence = overrule(voted, confidence, quarrel, own, sure)
        target = torch.where(confidence >= options.threshold, label, IGNORED)[rows:]
        supervised = cross_entropy_dice(logits[:rows], batch.label)
        consistency = dice_loss(logits[len(batch.weak) :].softmax(dim=1), target)
        weight = options.weight(step, self.problem.iterations)
        yield options.update(supervised, consistency, weight)

    @torch.no_grad()
    def teach(self, images: Tensor, second: bool) -> tuple[Tensor, Tensor]:
        """Return both teachers' probabilities of images, the one in turn in training mode."""
        self.teacher.train(not second)
        self.second_teacher.train(second)
        return self.teacher(images).softmax(dim=1), self.second_teacher(images).softmax(dim=1)

    def after_step(self, step: int) -> None:
        """Move the teacher in turn towards the student."""
        teacher: nn.Module = self.second_teacher if self.turns[step] else self.teacher
        since = step // 2 - round(self.options.copy_share * self.problem.iterations) // 2
        decay = self.options.teacher_decay if since >= 0 else 0.0
        move_average(teacher, self.segmenter, decay, max(since, 0))


def draw_turns(iterations: int, longest: int) -> Tensor:
    """Draw for each iteration whether the second teacher is in turn, turns of 1 to `longest`."""
    ends = torch.randint(1, longest + 1, (iterations,)).cumsum(0)
    return torch.searchsorted(ends, torch.arange(iterations), right=True) % 2 == 1


def vote(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return label and confidence of two teachers' q (B, K, H, W), and where they disagree."""
    entropies = [-(q * (q + 1e-10).log2()).sum(dim=1, keepdim=True) for q in (first, second)]
    shares = (-torch.stack(entropies)).softmax(dim=0)
    confidence, label = (shares[0] * first + shares[1] * second).max(dim=1)
    return label, confidence, first.argmax(dim=1) != second.argmax(dim=1)


def overrule(
    label: Tensor, confidence: Tensor, quarrel: Tensor, own: Tensor, sure: Tensor
) -> tuple[Tensor, Tensor]:
    """Return label and confidence of a `vote`, or the student's where it wins a quarrel.

    `own` and `sure` are its label and confidence. All maps are (B, H, W).
    """
    wins = quarrel & (own != label) & (sure > confidence)
    return torch.where(wins, own, label), torch.where(wins, sure, confidence)
