"""Parts of DiffRect: its pseudo-labels, its random draws, and its ablation to one transport."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from diffrect.errors import InputError
from diffrect.losses import IGNORED, cross_entropy_dice
from diffrect.methods.base import Batch, Update

if TYPE_CHECKING:
    from diffrect.methods.diffrect import DiffRect


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


def single_transport(
    method: "DiffRect", batch: Batch, weak: PseudoLabel, strong: PseudoLabel, weight: float
) -> tuple[Update, Tensor]:
    """Second update with one of the two transports left out; also returns the guidance.

    Fine to precise alone trains on the labelled rows (weak view -> ground truth), coarse to fine
    alone on the unlabelled rows (strong view -> weak view), in either preset.

    Raises:
        InputError: a single slice that is too small for batch statistics.
    """
    rows = batch.labelled
    if method.options.fine_to_precise:
        images, coarse = batch.weak[:rows], weak.given[:rows]
        target = torch.where(batch.label == IGNORED, coarse, batch.label)
    else:
        images, coarse = batch.strong[rows:], strong.given[rows:]
        finer = PseudoLabel(*(batch.as_strong(batch.with_labels(part)) for part in weak))
        target = finer.given[rows:]
    if len(images) == 1 and max(images.shape[-2:]) <= 64:  # one pixel at the deepest level
        option = "labelled" if method.options.fine_to_precise else "unlabelled"
        raise InputError(
            f"--batch-{option}: expected at least 2 slices of 64 x 64 pixels or fewer to train one "
            "transport alone, got 1"
        )
    guidance = method.guidance(coarse, target, slice(None))
    logits, latent = method.transport("single", images, coarse, target, guidance)
    if method.options.fine_to_precise:
        name, loss = "rectifier_supervised", cross_entropy_dice(logits, batch.label)
    else:
        name = "rectifier_unsupervised"
        loss = weight * method.pseudo_label_loss(logits, finer.target[rows:])
    total = loss + latent
    logs = {name: loss, "latent": latent, "guidance": guidance.mean(), "rectifier_total": total}
    return Update("rectifier", total, logs), guidance.mean().reshape(1)
