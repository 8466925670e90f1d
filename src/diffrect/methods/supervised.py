"""Labelled slices only: the lower bound that every semi-supervised method has to beat.

The loss is cross-entropy plus Dice. The SSL4MIS benchmark takes half of it, which at SGD's common
learning rate is a smaller step: `supervised_weight` = 0.5, as in preset `reference`. With all
training patients labelled (`labelled` = 100%) it is the upper bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from diffrect.checks import within
from diffrect.data.batch import Batch
from diffrect.methods.base import Method, Update
from diffrect.methods.losses import cross_entropy_dice


@dataclass(frozen=True)
class SupervisedOptions:
    """Settings of the labelled-only baseline."""

    supervised_weight: float = 1.0
    """Weight of cross-entropy plus Dice."""

    def __post_init__(self) -> None:
        within("supervised_weight", self.supervised_weight, 0, 1e6)


class Supervised(Method):
    """Cross-entropy and Dice on the labelled rows of the weak view.

    Its batches have labelled rows only, as many as those of other methods have rows in all, so that
    it sees as many slices per iteration as its rivals.
    """

    Options = SupervisedOptions
    presets = {"reference": {"supervised_weight": 0.5}}  # noqa: RUF012
    unlabelled = False
    strong_views = 0

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the update of the labels."""
        loss = cross_entropy_dice(self.segmenter(batch.weak[: batch.labelled]), batch.label)
        total = self.options.supervised_weight * loss
        yield Update("segmenter", total, {"supervised": loss})
