"""Networks whose output is known by hand, for tests of what methods compute from it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch
from diffrect.data.task import Task
from diffrect.methods.base import Method, Problem
from diffrect.methods.registry import resolve

# Two classes, two pixels: p(class 1) = .8 and .4, truth 1 and 0; 1/2 (CE + Dice) = .246984.
TOY, TRUTH, HALF_LOSS = [0.8, 0.4], [1, 0], 0.246984


class Reads(nn.Module):
    """Takes the pixels of an image as p(class 1) of two classes, after `change`."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda p: p) -> None:
        super().__init__()
        self.change = change
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        p = self.change(images)
        return torch.cat([(1 - p).log(), p.log()], dim=1)

    def encode(self, images: Tensor) -> list[Tensor]:
        return [images]

    def decoder(self, maps: list[Tensor]) -> Tensor:
        return self(maps[0])


def a_problem(channels: int, classes: int, iterations: int, **schedule: Any) -> Problem:
    """A problem with that many classes."""
    names = ("background", *(f"class {code}" for code in range(1, classes)))
    return Problem(Task(channels, names, "minmax"), iterations, **schedule)


def says(*values: float) -> Reads:
    """A network that sees one row of pixels and predicts these probabilities of class 1."""
    row = torch.tensor(values, dtype=torch.float64)
    return Reads(lambda p: row.expand_as(p))


def rows(*pixels: list[float]) -> Tensor:
    """Images (B, 1, 1, W)."""
    return torch.tensor(pixels, dtype=torch.float64)[:, None, None, :]


def a_batch(*pixels: list[float], label: list[int] = TRUTH) -> Batch:
    """One labelled row, then unlabelled ones; the strong view is the weak one."""
    return Batch(rows(*pixels), rows(*pixels), torch.tensor([[label]]))


def a_method(
    name: str, preset: str = "default", iterations: int = 30000, **options: object
) -> Method:
    """A method of two classes whose segmenter reads its images as probabilities."""
    config = TrainConfig(method=name, preset=preset, options=options)  # type: ignore[arg-type]
    resolved = resolve(config)
    method = resolved.method(a_problem(1, 2, iterations, size=16), resolved.method_options)
    method.segmenter = Reads()  # type: ignore[assignment]
    return method


def the_update(method: Method, batch: Batch, step: int) -> dict[str, float]:
    """The numbers of the only update of an iteration, its loss as "loss"."""
    (update,) = method.updates(batch, step)
    assert update.name == "segmenter"
    return {"loss": update.loss.item()} | {k: float(v) for k, v in update.logs.items()}
