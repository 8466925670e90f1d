"""Labelled slices only: the lower bound that every semi-supervised method has to beat.

With all training patients labelled (`labelled` = 100%) it is the upper bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from diffrect.losses import cross_entropy_dice
from diffrect.methods.base import Batch, Method, Update


@dataclass(frozen=True)
class SupervisedOptions:
    """The supervised method has no settings of its own."""


class Supervised(Method):
    """Cross-entropy and Dice on the labelled rows of the weak view.

    Trained on whole batches of labelled rows (as many as other methods have rows in all), so that
    it sees as many slices per iteration as its rivals.
    """

    Options = SupervisedOptions
    unlabelled = False

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        loss = cross_entropy_dice(self.segmenter(batch.weak[: batch.labelled]), batch.label)
        yield Update("segmenter", loss, {"supervised": loss})
