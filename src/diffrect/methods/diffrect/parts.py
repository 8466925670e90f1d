"""Parts of DiffRect: its pseudo-labels, its random draws, updates that join."""

from typing import NamedTuple

import torch
from torch import Tensor

from diffrect.methods.base import Update


class PseudoLabel(NamedTuple):
    """A pseudo-label (B, H, W) as input of the rectifier and as target of a loss."""

    given: Tensor
    """Class map, every pixel a class."""
    target: Tensor
    """The same where unsure pixels are marked, see `DiffRectOptions.unsure_pixels`."""


class Draws:
    """Random draws of an iteration, in one place so that a test can replay recorded ones."""

    def timestep(self, name: str, rows: int, steps: int, like: Tensor) -> Tensor:
        """Diffusion steps (rows,), uniform on 0 to steps - 1."""
        return torch.randint(steps, (rows,), device=like.device)

    def normal(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Standard normal noise of `shape`."""
        return torch.randn(shape, device=like.device, dtype=like.dtype)


def joined(first: Update, second: Update) -> Update:
    """One optimiser step for two updates of one optimiser: the sum of their losses."""
    return Update(first.name, first.loss + second.loss, {**first.logs, **second.logs})
