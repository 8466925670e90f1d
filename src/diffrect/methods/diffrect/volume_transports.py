"""LFR with whole volumes in place of single slices: the option `rectifier` = volume or components.

The transports are those of `transports.py`, learned from other pairs and applied at other times. A
labelled slice goes from a spoilt label to the truth (fine to precise). An unlabelled one goes from
the label of a changed image, of an earlier teacher or a spoilt one to the teacher's label in its
volume (coarse to fine). All volumes are corrected at once and now and then; in between, the
corrections are applied to the fresh labels of a batch's rows.

With `components`, the correction is the reduction of each class to its largest part in the volume,
and there is nothing to learn.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from diffrect.data.batch import Batch
from diffrect.data.view_options import ViewOptions
from diffrect.methods.base import Update
from diffrect.methods.diffrect.label_errors import (
    ErrorOptions,
    change_heavily,
    random_grid,
    spoil,
    warp,
    warp_labels,
)
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import Draws, PseudoLabels
from diffrect.methods.diffrect.volume_labels import VolumeLabels, channels_last
from diffrect.methods.losses import cross_entropy_dice
from diffrect.networks.calibration import calibration_guidance
from diffrect.networks.latent_rectifier import LatentRectifier

EARLY, WEAK, SPOILT = 0.3, 0.2, (0.8, 0.5)  # shares of examples; SPOILT: labelled, unlabelled

WARM_UP = 60  # iterations in which the learning rate rises


class Examples(NamedTuple):
    """Rows to train the rectifier on, the labelled ones first."""

    images: Tensor
    """(B, slices * C, H, W), the slice's own channels first."""
    coarse: Tensor
    """(B, labels, classes, H, W): its own label, its neighbours', the volume's mean."""
    target: Tensor
    """(B, H, W) class map."""
    guidance: Tensor
    """(B,) how far `coarse` is off, see `calibration_guidance`."""


class VolumeTransports:
    """The transports that a rectifier learns and applies, with the labels of all volumes.

    Args:
        rectifier: the network; it stays the method's own. None with `rectifier` = components.
        teacher: the network that makes the pseudo-labels, in eval mode.
        labels: the labels of all volumes; they stay the method's own.
        options: settings of DiffRect.
        iterations: length of the training.
    """

    def __init__(
        self,
        rectifier: LatentRectifier | None,
        teacher: nn.Module,
        labels: VolumeLabels,
        options: DiffRectOptions,
        iterations: int,
    ) -> None:
        self.rectifier, self.teacher, self.labels = rectifier, teacher, labels
        self.options = options
        self.draws = Draws()
        self.start = round(options.relabel_from * iterations)
        self.interval = max(1, round(options.relabel_share * iterations))

    def prepare(self, step: int, rectifying: bool) -> bool:
        """Label and correct all volumes where that is due in iteration `step`.

        Args:
            step: the iteration.
            rectifying: whether corrected labels are wanted.

        Returns:
            Whether there are corrected labels now.
        """
        if step < self.start:
            return False
        labels = self.labels
        due = (step - self.start) % self.interval == 0
        if due or not labels.history or (rectifying and labels.corrected is None):
            if rectifying:
                self.relabel()
            else:
                labels.label_all(self.teacher, self.like)
        return labels.corrected is not None

    def relabel(self) -> tuple[Tensor, Tensor]:
        """Label and correct all volumes; return both class maps (N, H, W) of all slices."""
        self.labels.label_all(self.teacher, self.like)
        after = self.corrected()
        self.labels.correct(after)
        return self.labels.history[-1], after

    def corrected(self) -> Tensor:
        """Return the corrected class maps (N, H, W) of all slices."""
        if self.rectifier is None:
            return self.labels.targets
        better = self.labels.targets.clone()
        unlabelled = (~self.labels.slices.labelled).nonzero()[:, 0]
        self.rectifier.eval()
        for rows, own in self.labels.shares(unlabelled, self.teacher, self.like):
            better[rows] = self.correct_some(self.rectifier, rows, own).argmax(dim=1).byte().cpu()
        self.rectifier.train()
        return self.labels.largest_parts(better) if self.options.largest_part else better

    @torch.no_grad()
    def correct_some(self, rectifier: LatentRectifier, rows: Tensor, own: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W) of some slices' corrected labels.

        Args:
            rectifier: the network, in eval mode.
            rows: the slices (B,).
            own: the teacher's probabilities of them (B, classes, H, W).
        """
        like = self.like
        around = self.labels.context(rows)
        images = channels_last(around.images.flatten(1, 2).to(like))
        coarse = torch.cat([own[:, None].float(), around.labels], dim=1).to(like)
        guidance = torch.tensor([self.options.given_guidance]).to(like)
        noise = torch.randn(rectifier.latent_shape(images)).to(like)
        return rectifier.rectify(images, coarse, guidance, noise, self.options.correction_weight)

    def rate(self, rate: float, step: int) -> float:
        """Return the rectifier's learning rate in iteration `step`, from that of SGD.

        AdamW takes a tenth of it, to which it rises first.
        """
        rise = (step - self.start + 1) / WARM_UP
        return rate / 10 * min(1.0, max(0.0, rise))

    @property
    def like(self) -> Tensor:
        """A tensor of the device and type of the networks."""
        return next(self.teacher.parameters())

    def rectify(self, batch: Batch, pseudo: PseudoLabels) -> Tensor:
        """Return the weak view's pseudo-labels (B, H, W) with the volumes' corrections.

        Labelled rows keep their labels.
        """
        fresh = pseudo.weak.given[batch.labelled :]
        return torch.cat([batch.label, self.labels.shown(batch, fresh)])

    # ---- second update: learn the transports --------------------------------------------------

    def rectifier_update(self, batch: Batch, pseudo: PseudoLabels, weight: float) -> Update:
        """Return the update that trains the rectifier on slices drawn from all volumes.

        Args:
            batch: the batch; only its numbers of rows are used.
            pseudo: not used.
            weight: not used; the targets in the volumes are better than the pseudo-labels of rows.
        """
        assert self.rectifier is not None
        rows = batch.labelled
        made = self.examples(rows, len(batch.weak) - rows, ViewOptions(), ErrorOptions())
        images, target = made.images, self.labels.one_hot(made.target).to(made.images)
        step = self.draws.timestep("joint", len(images), self.options.diffusion_steps, images)
        noise = self.draws.normal("joint", self.rectifier.latent_shape(images), images)
        out = self.rectifier.transport(images, made.coarse, target, made.guidance, step, noise)
        parts = {"rectifier_supervised": slice(rows), "rectifier_unsupervised": slice(rows, None)}
        losses = {n: cross_entropy_dice(out.logits[p], made.target[p]) for n, p in parts.items()}
        decoded = [cross_entropy_dice(out.decoded[p], made.target[p]) for p in parts.values()]
        total = torch.stack([*losses.values()]).sum() + out.latent
        total = total + 0.5 * torch.stack(decoded).sum()
        logs = {
            **losses,
            "latent": out.latent,
            "guidance_weak_to_label": made.guidance[:rows].mean(),
            "guidance_strong_to_weak": made.guidance[rows:].mean(),
            "rectifier_total": total,
        }
        return Update("rectifier", total, logs)

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
        labels, like = self.labels, self.like
        known = labels.slices.labelled
        rows = torch.cat([_draw(known, labelled), _draw(~known, unlabelled)])
        grid = random_grid(len(rows), labels.slices.images.shape[-1], errors)
        early = torch.rand(len(rows)) < EARLY
        which = int(torch.randint(len(labels.history), ()))
        images, context = labels.context(rows)
        context = torch.where(
            early.view(-1, 1, 1, 1, 1), labels.context(rows, which).labels, context
        )
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
