"""LFR with whole volumes in place of single slices: the option `rectifier` = volume or components.

The transports are those of `transports.py`, learned from other pairs and applied at other times. A
labelled slice goes from a spoilt label to the truth (fine to precise). An unlabelled one goes from
the label of a changed image, of an earlier teacher or a spoilt one to the teacher's label in its
volume (coarse to fine). All volumes are corrected at once and now and then; in between, the
corrections are applied to the fresh labels of a batch's rows.

With `components`, the correction is the reduction of each class that is one part to its largest
part in the volume, and there is nothing to learn.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.data.batch import Batch
from diffrect.data.packed import Packed
from diffrect.distributed.ranks import joined
from diffrect.methods.base import Update
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import Draws, PseudoLabels
from diffrect.methods.diffrect.volume_labels import VolumeLabels, channels_last
from diffrect.methods.diffrect.volume_lessons import Lessons
from diffrect.methods.losses import cross_entropy_dice
from diffrect.networks.latent_rectifier import LatentRectifier

JUDGED = 8  # labelled slices, and as many others, on which errors of latents are measured
WARM_UP = 60  # iterations in which the learning rate rises


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
        self.lessons = Lessons(teacher, labels)
        self.draws = Draws()
        self.start = round(options.relabel_from * iterations)
        self.diffusion_start = round(options.diffusion_from * iterations)
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
                self.relabel(diffusing=step >= self.diffusion_start)
            else:
                labels.label_all(self.teacher, self.like)
        return labels.corrected is not None

    def relabel(self, *, diffusing: bool = True) -> tuple[Packed, Packed]:
        """Label and correct all volumes; return both class maps (N, H, W) of all slices.

        Args:
            diffusing: whether the rectifier corrects, too, and not only the removal of parts.
        """
        self.labels.label_all(self.teacher, self.like)
        self.correct_all(self.rectifier if diffusing else None)
        assert self.labels.corrected is not None
        return self.labels.history[-1], self.labels.corrected

    def correct_all(self, rectifier: LatentRectifier | None) -> None:
        """Correct the labels of all volumes, and note what each part of the correction does.

        Args:
            rectifier: the network; None only removes the smaller parts of classes.
        """
        labels = self.labels
        assert labels.targets is not None
        better = labels.targets
        notes = labels.noted("parts", better)
        if rectifier is not None:
            unlabelled = (~labels.slices.labelled).nonzero()[:, 0]
            rectifier.eval()
            found = labels.labelled_by(
                self.teacher,
                self.like,
                unlabelled,
                lambda rows, own: self.correct_some(rectifier, rows, own).argmax(dim=1),
            )
            notes |= self.latent_errors(rectifier)
            rectifier.train()
            diffused = better.replaced(unlabelled, found)
            notes |= labels.noted("diffusion", diffused)
            better = labels.reduced(diffused)
        labels.correct(better)
        labels.notes |= notes

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
        noise = torch.randn(rectifier.latent_shape(images)).to(like)
        weight, decoded = self.options.correction_weight, self.options.decoded_share
        return rectifier.rectify(images, coarse, self.given.to(like), noise, weight, decoded)

    def rate(self, rate: float, step: int) -> float:
        """Return the rectifier's learning rate in iteration `step`, from that of SGD.

        AdamW takes a tenth of it, to which it rises first.
        """
        rise = (step - self.start + 1) / WARM_UP
        return rate / 10 * min(1.0, max(0.0, rise))

    @torch.no_grad()
    def latent_errors(self, rectifier: LatentRectifier) -> dict[str, float]:
        """Return how far latents are from the truth's, by which step, on lessons made for it.

        `latent_coarse` is the mean squared error of the coarse label's own latent, `latent_sampled`
        that of the latent sampled from it: if it is not smaller, the diffusion does nothing. The
        random draws of the training stay as they are.

        Args:
            rectifier: the network, in eval mode.
        """
        with torch.random.fork_rng(devices=[]):
            made = self.lessons.coloured(rectifier.colouring, JUDGED, JUDGED)
            images = channels_last(made.images)
            noise = torch.randn(rectifier.latent_shape(images)).to(images)
        target = rectifier.encode(rectifier.colouring(made.target).to(images)[:, None])[0]
        maps, conditions = rectifier.encode_images(images), rectifier.encode(made.coarse)
        sampled = rectifier.sample(maps, conditions, self.given.to(images), noise)
        found = {"latent_coarse": conditions[0], "latent_sampled": sampled}
        here = {n: float(F.mse_loss(x.float(), target.float())) for n, x in found.items()}
        everywhere = joined().gather([here])  # each process has drawn lessons of its own
        return {name: sum(e[name] for e in everywhere) / len(everywhere) for name in here}

    @property
    def given(self) -> Tensor:
        """The calibration guidance (1,) at which labels are corrected."""
        return torch.tensor([self.options.correcting_guidance])

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
        options, colouring = self.options, self.rectifier.colouring
        rows = batch.labelled if options.fine_to_precise else 0
        others = len(batch.weak) - batch.labelled if options.coarse_to_fine else 0
        made = self.lessons.coloured(colouring, rows, others)
        if options.guidance == "none":
            made = made._replace(guidance=torch.zeros_like(made.guidance))
        images, target = made.images, colouring(made.target).to(made.images)
        step = self.draws.timestep("joint", len(images), options.diffusion_steps, images)
        noise = self.draws.normal("joint", self.rectifier.latent_shape(images), images)
        out = self.rectifier.transport(images, made.coarse, target, made.guidance, step, noise)
        parts: dict[str, slice] = {}
        logs: dict[str, Tensor | float] = {}
        if rows:
            parts["rectifier_supervised"] = slice(rows)
            logs["guidance_weak_to_label"] = made.guidance[:rows].mean()
        if others:
            parts["rectifier_unsupervised"] = slice(rows, None)
            logs["guidance_strong_to_weak"] = made.guidance[rows:].mean()
        losses = {n: cross_entropy_dice(out.logits[p], made.target[p]) for n, p in parts.items()}
        decoded = [cross_entropy_dice(out.decoded[p], made.target[p]) for p in parts.values()]
        total = torch.stack([*losses.values()]).sum() + out.latent
        total = total + 0.5 * torch.stack(decoded).sum()
        logs = {**losses, "latent": out.latent, **logs, "rectifier_total": total}
        return Update("rectifier", total, logs)
