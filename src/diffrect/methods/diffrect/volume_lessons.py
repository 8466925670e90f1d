"""What the rectifier of volumes learns from: slices, coarse labels of several origins, targets."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from diffrect.data.view_options import ViewOptions
from diffrect.methods.diffrect.label_errors import (
    ErrorOptions,
    change_heavily,
    random_grid,
    spoil,
    warp,
    warp_labels,
)
from diffrect.methods.diffrect.volume_labels import VolumeLabels, channels_last
from diffrect.networks.calibration import SemanticColouring, calibration_guidance

EARLY, WEAK, SPOILT = 0.3, 0.2, (0.8, 0.5)  # shares of examples; SPOILT: labelled, unlabelled


class Examples(NamedTuple):
    """Rows to train the rectifier on, the labelled ones first."""

    images: Tensor
    """(B, slices * C, H, W), the slice's own channels first."""
    coarse: Tensor
    """Its own label, its neighbours', the volume's mean: shares (B, labels, classes, H, W), or
    their colours (B, labels, 3, H, W)."""
    target: Tensor
    """(B, H, W) class map."""
    guidance: Tensor
    """(B,) how far `coarse` is off, see `calibration_guidance`."""


class Lessons:
    """Examples drawn from all volumes.

    Args:
        teacher: the network that makes the pseudo-labels, in eval mode; it stays the method's own.
        labels: the labels of all volumes; they stay the method's own.
    """

    def __init__(self, teacher: nn.Module, labels: VolumeLabels) -> None:
        self.teacher, self.labels = teacher, labels

    def coloured(self, colouring: SemanticColouring, labelled: int, unlabelled: int) -> Examples:
        """Return `examples` with the colours of their coarse labels.

        So many classes that the shares of all rows do not fit into memory are done piece by piece.

        Args:
            colouring: the rectifier's.
            labelled: number of labelled slices.
            unlabelled: number of unlabelled slices.
        """
        most = self.labels.at_once
        pieces = [(labelled, unlabelled)]
        if labelled + unlabelled > most:
            pieces = [(len(part), 0) for part in torch.arange(labelled).split(most)]
            pieces += [(0, len(part)) for part in torch.arange(unlabelled).split(most)]
        made = []
        for piece in pieces:
            found = self.examples(*piece, ViewOptions(), ErrorOptions())
            made.append(found._replace(coarse=colouring.mix(found.coarse)))
        return Examples(*map(torch.cat, zip(*made, strict=True))) if len(made) > 1 else made[0]

    @torch.no_grad()
    def examples(
        self, labelled: int, unlabelled: int, views: ViewOptions, errors: ErrorOptions
    ) -> Examples:
        """Draw slices, and coarse labels of several origins for them.

        Args:
            labelled: number of labelled slices.
            unlabelled: number of unlabelled slices.
            views: the strong view's changes of intensity.
            errors: how far examples are changed and their labels spoilt.

        Returns:
            The examples, on the device of the networks.
        """
        labels, like = self.labels, next(self.teacher.parameters())
        assert labels.targets is not None
        known = labels.slices.labelled
        rows = torch.cat([_draw(known, labelled), _draw(~known, unlabelled)])
        grid = random_grid(len(rows), labels.slices.images.shape[-1], errors)
        early = torch.rand(len(rows)) < EARLY
        which = int(torch.randint(len(labels.history), ()))
        images, context = labels.context(rows)
        if early.any():
            context[early] = labels.context(rows[early], which).labels
        weak = warp(images.to(like), grid)
        strong = change_heavily(weak.flatten(1, 2), views, errors).view_as(weak)

        # The own label: the teacher's of a changed image, or an earlier teacher's.
        lightly = (torch.rand(len(rows), 1, 1, 1) < WEAK).to(like.device)
        seen = torch.where(lightly, weak[:, 0], strong[:, 0])
        own = self.teacher(channels_last(seen)).float().softmax(dim=1)
        before = warp_labels(labels.one_hot(labels.history[which][rows]).to(own), grid)
        own = torch.where(early.view(-1, 1, 1, 1).to(like.device), before, own)

        coarse = torch.cat([own[:, None], warp_labels(context.to(own), grid)], dim=1)
        shares = torch.where(torch.arange(len(rows)) < labelled, *SPOILT)
        spoilt = torch.rand(len(rows)) < shares
        if spoilt.any():
            coarse[spoilt] = spoil(coarse[spoilt], errors)
        target = warp_labels(labels.one_hot(labels.targets[rows]).to(own), grid).argmax(dim=1)
        plain = (torch.rand(len(rows), 1, 1, 1, 1) < 0.5).to(like.device)
        shown = channels_last(torch.where(plain, weak, strong).flatten(1, 2))
        guidance = calibration_guidance(
            coarse[:, 0].argmax(1), target, labels.classes, per_row=True, dtype=like.dtype
        )
        return Examples(shown, coarse.to(like), target, guidance)


def _draw(which: Tensor, count: int) -> Tensor:
    """Draw `count` of the rows for which a mask (N,) is true, with repetition."""
    rows = which.nonzero()[:, 0]
    return rows[torch.randint(len(rows), (count,))]
