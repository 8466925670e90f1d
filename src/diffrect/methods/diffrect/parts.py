"""Parts that both halves of DiffRect use: pseudo-labels, random draws, joined updates."""

from typing import NamedTuple

import torch
from torch import Tensor

from diffrect.imaging.label_codes import IGNORED
from diffrect.methods import losses
from diffrect.methods.base import Update
from diffrect.methods.diffrect.options import DiffRectOptions


class PseudoLabel(NamedTuple):
    """A pseudo-label (B, H, W) as input of the rectifier and as target of a loss."""

    given: Tensor
    """Class map, every pixel a class: what the rectifier is given."""
    target: Tensor
    """The same with unsure pixels marked, see `DiffRectOptions.unsure_pixels`."""


class PseudoLabels(NamedTuple):
    """The pseudo-labels of a batch."""

    weak: PseudoLabel
    """Of the weak view, without the boxes that the strong view shows."""
    strong: PseudoLabel
    """Of the strong view, as it shows the slices."""


def pseudo_label(logits: Tensor, options: DiffRectOptions) -> PseudoLabel:
    """Return the hard labels of logits (B, C, H, W), with the unsure pixels marked."""
    if options.unsure_pixels == "background":
        label = losses.pseudo_label(logits, options.confidence, unsure=0)
        return PseudoLabel(label, label)
    return PseudoLabel(
        given=logits.detach().argmax(dim=1),
        target=losses.pseudo_label(logits, options.confidence, unsure=IGNORED),
    )


def pseudo_label_loss(logits: Tensor, target: Tensor, options: DiffRectOptions) -> Tensor:
    """Return the loss of logits (B, C, H, W) against a pseudo-label's target (B, H, W)."""
    if options.pseudo_label_loss == "cross_entropy":
        return losses.cross_entropy(logits, target)
    return losses.cross_entropy_dice(logits, target)


class Draws:
    """The random draws of an iteration, in one place so that a test can replay recorded ones.

    `name` says what a draw is for: "joint", "single", "weak_to_label" or "strong_to_weak" for a
    transport, "sampling" for the third update.
    """

    def timestep(self, name: str, rows: int, steps: int, like: Tensor) -> Tensor:
        """Return diffusion steps (rows,), uniform on 0 to steps - 1.

        Args:
            name: what the draw is for.
            rows: number of rows.
            steps: T, length of the noise schedule.
            like: tensor on the device where the steps are needed.
        """
        return torch.randint(steps, (rows,), device=like.device)

    def normal(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return standard normal noise of `shape`, with the device and type of `like`."""
        return torch.randn(shape, device=like.device, dtype=like.dtype)


def joined(first: Update, second: Update) -> Update:
    """Return one update for two of the same optimiser: the sum of their losses, all their logs."""
    return Update(first.name, first.loss + second.loss, {**first.logs, **second.logs})
