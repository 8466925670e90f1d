"""Latent Feature Rectification (LFR) as a method: what the rectifier learns and what it corrects.

DiffRect (MICCAI 2024), Sec. 2.2. The rectifier, a conditional latent diffusion network, transports
label maps towards better ones. Two transports are learned from pairs that training has anyway:

- coarse to fine, from the strong view's pseudo-label to the weak view's (unlabelled rows);
- fine to precise, from the weak view's pseudo-label to the ground truth (labelled rows).

Learning them is the second update of an iteration (`Transports.rectifier_update`). The third update
uses them: `Transports.rectify` corrects the weak view's pseudo-labels, for which nobody knows the
truth. How far a label map has to be moved enters as the calibration guidance of Label Context
Calibration (LCC, Sec. 2.1), see `Transports.calibrate`.
"""

import torch
from torch import Tensor

from diffrect.data.batch import Batch
from diffrect.distributed.sums import shared_mean
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.base import Update
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.parts import (
    Draws,
    PseudoLabel,
    PseudoLabels,
    pseudo_label,
    pseudo_label_loss,
)
from diffrect.methods.losses import complementary_loss, cross_entropy_dice
from diffrect.networks.calibration import calibration_guidance
from diffrect.networks.rectifier import Rectifier


class Transports:
    """The transports that a rectifier learns and applies.

    Args:
        rectifier: the network; it stays the method's own, with its parameters.
        options: settings of DiffRect.
        classes: number of classes, background included.
    """

    def __init__(self, rectifier: Rectifier, options: DiffRectOptions, classes: int) -> None:
        self.rectifier, self.options, self.classes = rectifier, options, classes
        self.draws = Draws()

    # ---- second update: learn the transports --------------------------------------------------

    def rectifier_update(self, batch: Batch, pseudo: PseudoLabels, weight: float) -> Update:
        """Return the update that trains the rectifier on the transports the options ask for.

        Args:
            batch: the batch.
            pseudo: pseudo-labels of its weak and its strong view.
            weight: of the losses on pseudo-labels.
        """
        if not (self.options.coarse_to_fine and self.options.fine_to_precise):
            return self.learn_one(batch, pseudo, weight)
        if self.options.transports == "joint":
            return self.learn_jointly(batch, pseudo, weight)
        return self.learn_separately(batch, pseudo, weight)

    def learn_jointly(self, batch: Batch, pseudo: PseudoLabels, weight: float) -> Update:
        """Learn each transport on the rows it is about, in one pass.

        Labelled rows go from fine to precise (weak view -> ground truth), unlabelled rows from
        coarse to fine (strong view -> weak view).
        """
        rows = batch.labelled
        precise = batch.completed(pseudo.weak.given)
        fine = PseudoLabel(
            given=batch.as_strong(precise),
            target=batch.as_strong(batch.with_labels(pseudo.weak.target)),
        )
        images = torch.cat([batch.weak[:rows], batch.strong[rows:]])
        source = torch.cat([pseudo.weak.given[:rows], pseudo.strong.given[rows:]])
        target = torch.cat([precise[:rows], fine.given[rows:]])
        guidance = self.calibrate(source, target, slice(rows))
        logits, latent = self.transport("joint", images, source, target, guidance)
        supervised = cross_entropy_dice(logits[:rows], batch.label)
        unsupervised = pseudo_label_loss(logits[rows:], fine.target[rows:], self.options)
        total = supervised + latent + weight * unsupervised
        logs = {
            "rectifier_supervised": supervised,
            "rectifier_unsupervised": unsupervised,
            "latent": latent,
            "guidance_weak_to_label": guidance[:rows].mean(),
            "guidance_strong_to_weak": guidance[rows:].mean() if len(guidance) > 1 else guidance[0],
            "rectifier_total": total,
        }
        return Update("rectifier", total, logs)

    def learn_separately(self, batch: Batch, pseudo: PseudoLabels, weight: float) -> Update:
        """Learn both transports on all rows, one after the other.

        Coarse to fine then aims at the rectified weak view.
        """
        rows = batch.labelled

        # Fine to precise: weak view -> ground truth; a row without one goes to itself.
        precise = batch.completed(pseudo.weak.given)
        to_label = self.calibrate(pseudo.weak.given, precise, slice(rows))
        weak_rectified, latent_to_label = self.transport(
            "weak_to_label", batch.weak, pseudo.weak.given, precise, to_label
        )
        supervised = cross_entropy_dice(weak_rectified[:rows], batch.label)

        # Coarse to fine: strong view -> weak view.
        fine = PseudoLabel(
            *(batch.as_strong(maps) for maps in pseudo_label(weak_rectified, self.options))
        )
        to_weak = self.calibrate(pseudo.strong.given, fine.given, slice(rows, None))
        strong_rectified, latent_to_weak = self.transport(
            "strong_to_weak",
            batch.strong,
            pseudo.strong.given,
            batch.as_strong(pseudo.weak.given),
            to_weak,
        )
        unsupervised = pseudo_label_loss(strong_rectified[rows:], fine.target[rows:], self.options)
        if self.options.complementary:
            complementary, confidence = complementary_loss(
                batch.as_strong(weak_rectified), strong_rectified
            )
            unsupervised = unsupervised + confidence * complementary

        total = supervised + latent_to_label + weight * (unsupervised + latent_to_weak)
        logs = {
            "rectifier_supervised": supervised,
            "rectifier_unsupervised": unsupervised,
            "latent_weak_to_label": latent_to_label,
            "latent_strong_to_weak": latent_to_weak,
            "guidance_weak_to_label": to_label.mean(),
            "guidance_strong_to_weak": to_weak.mean(),
            "rectifier_total": total,
        }
        return Update("rectifier", total, logs)

    def learn_one(self, batch: Batch, pseudo: PseudoLabels, weight: float) -> Update:
        """Learn one transport and leave the other out: an ablation.

        In either preset, fine to precise trains on the labelled rows only (weak view -> ground
        truth), coarse to fine on the unlabelled rows only (strong view -> weak view).
        """
        rows = batch.labelled
        if self.options.fine_to_precise:
            images, source = batch.weak[:rows], pseudo.weak.given[:rows]
            target = torch.where(batch.label == IGNORED, source, batch.label)
        else:
            images, source = batch.strong[rows:], pseudo.strong.given[rows:]
            fine = PseudoLabel(*(batch.as_strong(batch.with_labels(maps)) for maps in pseudo.weak))
            target = fine.given[rows:]
        guidance = self.calibrate(source, target, slice(None))
        logits, latent = self.transport("single", images, source, target, guidance)
        if self.options.fine_to_precise:
            name, loss = "rectifier_supervised", cross_entropy_dice(logits, batch.label)
        else:
            name = "rectifier_unsupervised"
            loss = weight * pseudo_label_loss(logits, fine.target[rows:], self.options)
        total = loss + latent
        logs = {name: loss, "latent": latent, "guidance": guidance.mean(), "rectifier_total": total}
        return Update("rectifier", total, logs)

    def transport(
        self, name: str, images: Tensor, source: Tensor, target: Tensor, guidance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run one training pass of the rectifier with fresh diffusion steps and noise.

        Args:
            name: of the transport, for `Draws`.
            images: (B, channels, H, W) in [0, 1].
            source: class maps (B, H, W) to move.
            target: class maps (B, H, W) to move them to.
            guidance: calibration guidance, (B,) or (1,).

        Returns:
            Logits (B, classes, H, W) and the mean squared error of the denoised latent.
        """
        step = self.draws.timestep(name, len(images), self.options.diffusion_steps, images)
        noise = self.draws.normal(name, self.rectifier.latent_shape(images), images)
        return self.rectifier.transport(images, source, target, guidance, step, noise)

    # ---- third update: apply them -------------------------------------------------------------

    def rectify(self, batch: Batch, pseudo: PseudoLabels) -> Tensor:
        """Return the weak view's pseudo-labels (B, H, W) corrected, sampled from noise.

        Labelled rows keep their labels. They go through the rectifier only in training mode, where
        they are part of the batch statistics. The control `identity` corrects nothing.
        """
        if self.options.rectifier == "identity":
            return batch.with_labels(pseudo.weak.target)
        training = self.options.sampling_mode == "train"
        first = 0 if training else batch.labelled
        images = batch.weak[first:]
        guidance = self.calibrate_sampling(batch, pseudo)
        noise = self.draws.normal("sampling", self.rectifier.latent_shape(images), images)
        self.rectifier.train(training)
        logits = self.rectifier.rectify(images, pseudo.weak.given[first:], guidance, noise)
        self.rectifier.train()
        rectified = pseudo_label(logits[batch.labelled - first :], self.options).target
        return torch.cat([batch.label, rectified])

    def correct(self, batch: Batch, given: Tensor) -> Tensor:
        """Return the corrected pseudo-labels (U, H, W) of a batch's unlabelled rows, for a look.

        The rectifier is in eval mode, and the noise is always the same and not of the training.

        Args:
            batch: the batch.
            given: pseudo-labels (B, H, W) of all rows, every pixel a class.
        """
        if self.options.rectifier == "identity":
            return given[batch.labelled :]
        images = batch.weak[batch.labelled :]
        guidance = self.calibrate(given, batch.completed(given), slice(batch.labelled))
        guidance = guidance[: batch.labelled].mean(dim=0, keepdim=True)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.rectifier.latent_shape(images), generator=generator).to(images)
        logits = self.rectifier.rectify(images, given[batch.labelled :], guidance, noise)
        return logits.argmax(dim=1)

    # ---- calibration (LCC): how far label maps have to be moved -------------------------------

    def calibrate(self, source: Tensor, target: Tensor, rows: slice) -> Tensor:
        """Return the calibration guidance between class maps (B, H, W).

        Args:
            source: class maps to move.
            target: class maps to move them to.
            rows: rows that one value for the whole batch is measured on.

        Returns:
            One value per row (B,), or one for the whole batch (1,), in [0, 1).
        """
        if self.options.guidance == "none":
            return torch.zeros(1, device=source.device, dtype=self.rectifier.alphas.dtype)
        per_row = self.options.guidance == "row"
        if not per_row:
            source, target = source[rows], target[rows]
        dtype = next(self.rectifier.parameters()).dtype
        return calibration_guidance(source, target, self.classes, per_row, dtype)

    def calibrate_sampling(self, batch: Batch, pseudo: PseudoLabels) -> Tensor:
        """Return how far pseudo-labels are off, (1,), to rectify labels whose truth is unknown.

        It is the mean of the labelled rows, the only ones with a truth. If fine to precise is left
        out, it is that of the unlabelled rows, from strong view to weak view.
        """
        rows = batch.labelled
        if self.options.fine_to_precise:
            fine = torch.where(batch.label == IGNORED, pseudo.weak.given[:rows], batch.label)
            guidance = self.calibrate(pseudo.weak.given[:rows], fine, slice(rows))
        else:
            fine = batch.as_strong(batch.with_labels(pseudo.weak.given))[rows:]
            guidance = self.calibrate(pseudo.strong.given[rows:], fine, slice(None))
        return shared_mean(guidance.mean(dim=0, keepdim=True))
