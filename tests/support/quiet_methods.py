"""Methods for test_processes.py: DiffRect without randomness, and one whose second process dies.

Run on two processes by `diffrect train --method support.quiet_methods:Quiet`, with `tests` on the
path.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from diffrect.data.batch import Batch
from diffrect.methods.base import Problem, Update
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import Draws
from diffrect.methods.supervised import Supervised, SupervisedOptions

# views without randomness
OPTIONS = {
    "rectifier": "slice",  # lessons of volumes are drawn
    "rotation_degrees": 0.0,
    "scale_range": 0.0,
    "jitter_probability": 0.0,
    "blur_sigma": 0.0,
    "cutmix_probability": 0.0,
}


class FixedDraws(Draws):
    """The same for every row."""

    def timestep(self, name: str, rows: int, steps: int, like: Tensor) -> Tensor:
        return torch.full((rows,), steps // 2)

    def normal(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(len(name))
        row = torch.randn(shape[1:], generator=generator, dtype=torch.float64).to(like)
        return row.expand(shape)


class Quiet(DiffRect):
    """No dropout, no noise: what is left depends on the batch alone."""

    Options = DiffRectOptions

    def __init__(self, problem: Problem, options: DiffRectOptions) -> None:
        super().__init__(problem, options)
        self.draws = FixedDraws()
        for module in self.modules():
            if "Dropout" in type(module).__name__:
                module.p = 0.0  # type: ignore[assignment]


class Dying(Supervised):
    """The second process fails in its third iteration."""

    Options = SupervisedOptions

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        if step == 2 and os.environ.get("LOCAL_RANK") == "1":
            Path(os.environ["DEATH"]).write_text(str(time.time()))
            raise KeyError("the second process is ill")
        yield from super().updates(batch, step)
