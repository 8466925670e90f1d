"""The moving average of the network that learns, for every method alike: the option `--average`.

It is Mean Teacher's average (Tarvainen & Valpola, NeurIPS 2017) of `Method.segmenter`, with
statistics of batch norm that are its own: those of the unlabelled weak rows of each batch, which it
sees in eval mode. Training does not change: nothing is drawn, and nothing learns from it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from torch import nn

from diffrect.data.batch import Batch
from diffrect.distributed.averages import average_statistics
from diffrect.methods.base import Method, make_teacher, move_average, own_statistics
from diffrect.runs.names import AVERAGE, STUDENT


class WeightAverage:
    """The average of a method's segmenter.

    Args:
        method: the method, on its device.
        decay: of the average, see `move_average`.
        fabric: the processes, and the precision in which networks run.

    Attributes:
        network: the average, in eval mode.
    """

    def __init__(self, method: Method, decay: float, fabric: Fabric) -> None:
        self.method, self.decay, self.fabric = method, decay, fabric
        self.network = make_teacher(method.segmenter)

    @torch.no_grad()
    def follow(self, batch: Batch, step: int) -> None:
        """Count the statistics of a batch, then move towards the segmenter after iteration `step`.

        Args:
            batch: the views of the iteration.
            step: the iteration, from 0.
        """
        rows = batch.weak[batch.labelled :]
        with self.fabric.autocast(), own_statistics(self.network):
            self.network(rows if len(rows) else batch.weak)
        average_statistics(self.fabric, self.network)
        move_average(self.network, self.method.segmenter, self.decay, step, buffers=False)


@dataclass
class Candidates:
    """The networks that are validated beside the one that predicts, each with its best Dice.

    Attributes:
        method: the method that is trained.
        average: its average.
        best: the highest Dice of each candidate so far, by the name of its checkpoint.
        best_steps: iterations done when that checkpoint was made.
    """

    method: Method
    average: WeightAverage
    best: dict[str, float] = field(default_factory=dict)
    best_steps: dict[str, int] = field(default_factory=dict)

    def networks(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the candidates by the names of their checkpoints."""
        yield STUDENT, self.method.segmenter
        yield AVERAGE, self.average.network

    def dice(
        self,
        predictor: nn.Module,
        scores: Mapping[str, float],
        score: Callable[[nn.Module], Mapping[str, float] | None],
    ) -> dict[str, float] | None:
        """Return the Dice of each candidate; None if a stop was asked for meanwhile.

        Args:
            predictor: the network that predicts.
            scores: its scores, which are also those of a candidate that is this network.
            score: returns the scores of another network, or None.
        """
        dice: dict[str, float] = {}
        for name, network in self.networks():
            found = scores if network is predictor else score(network)
            if found is None:
                return None
            dice[name] = found["dice"]
        return dice

    def judge(self, dice: Mapping[str, float], step: int) -> None:
        """Remember the candidates whose Dice is their best so far, or undefined.

        Args:
            dice: of each candidate in a validation; NaN if there is nothing to choose by.
            step: iterations done.
        """
        for name, value in dice.items():
            if value > self.best.get(name, -math.inf):
                self.best[name] = value
                self.best_steps[name] = step
            elif math.isnan(value):
                self.best_steps[name] = step
