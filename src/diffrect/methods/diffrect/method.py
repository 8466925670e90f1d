"""DiffRect: pseudo-labels corrected by latent diffusion.

Liu, Li, Yuan, "DiffRect: Latent Diffusion Label Rectification for Semi-supervised Medical Image
Segmentation", MICCAI 2024. Each iteration makes three updates: the segmenter learns from labels
and from its own pseudo-labels; the rectifier learns two transports, coarse to fine (strong view ->
weak view) and fine to precise (weak view -> ground truth); the segmenter learns once more, from
pseudo-labels that the rectifier has corrected. With `rectification_update` "joint" the last shares
the first one's forward and optimiser step.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.data.batch import Batch
from diffrect.distributed.sums import shared_mean
from diffrect.labels import IGNORED
from diffrect.methods.base import Method, Problem, Update, make_teacher, move_average
from diffrect.methods.diffrect.options import REFERENCE, DiffRectOptions
from diffrect.methods.diffrect.parts import Draws, PseudoLabel, joined
from diffrect.methods.diffrect.transports import (
    joint_transports,
    separate_transports,
    single_transport,
)
from diffrect.methods.losses import (
    complementary_loss,
    consistency_ramp,
    cross_entropy,
    cross_entropy_dice,
    pseudo_label,
)
from diffrect.networks.calibration import calibration_guidance
from diffrect.networks.rectifier import Rectifier


class DiffRect(Method):
    """The segmenter, the rectifier and their three updates."""

    Options = DiffRectOptions
    presets = {"reference": REFERENCE}  # noqa: RUF012

    def __init__(self, problem: Problem, options: DiffRectOptions) -> None:
        super().__init__(problem, options)
        self.options: DiffRectOptions = options
        self.rectifier = Rectifier(
            problem.channels,
            problem.classes,
            colouring=options.colouring,
            sees_image=options.rectifier_image,
            denoiser_input=options.denoiser_input,
            clamp_latent=options.clamp_latent,
            diffusion_steps=options.diffusion_steps,
            sample_steps=options.sample_steps,
        )
        self.teacher = make_teacher(self.segmenter) if options.teacher_decay else None
        self.draws = Draws()
        start = options.rectify_from
        self.rectify_from = problem.iterations // 30 if start is None else start

    # ---- the three updates -------------------------------------------------------------------

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        options = self.options
        rise = options.rise(self.problem.iterations)
        weight = options.consistency_weight * consistency_ramp(step, rise, options.ramp_stairs)
        weak_logits, strong_logits = self.forward_views(batch)
        weak = self.weak_pseudo_label(batch, weak_logits)
        strong = self.pseudo_label(strong_logits)
        rectifying = options.rectification and step >= self.rectify_from
        joins = rectifying and options.rectification_update == "joint"

        update = self.segmenter_update(batch, weak_logits, strong_logits, weak, weight)
        if joins:
            rectified = self.rectify(batch, weak, strong)
            logits = strong_logits if options.rectification_view == "strong" else weak_logits
            update = joined(update, self.rectification_update(batch, rectified, logits))
        yield update
        del update, weak_logits, strong_logits  # their graph is not needed any more

        if options.rectification and step % options.rectifier_interval == 0:
            yield self.rectifier_update(batch, weak, strong, weight)

        if rectifying and not joins:
            rectified = self.rectify(batch, weak, strong)
            view = batch.strong if options.rectification_view == "strong" else batch.weak
            yield self.rectification_update(batch, rectified, self.segmenter(view))

    def segmenter_update(
        self,
        batch: Batch,
        weak_logits: Tensor,
        strong_logits: Tensor,
        weak: PseudoLabel,
        weight: float,
    ) -> Update:
        """First update: labels, and weak-to-strong consistency on unlabelled rows."""
        rows = batch.labelled
        supervised = cross_entropy_dice(weak_logits[:rows], batch.label)
        if self.options.labelled_views == "both":
            supervised = (supervised + cross_entropy_dice(strong_logits[:rows], batch.label)) / 2
        target = batch.as_strong(batch.with_labels(weak.target))
        unsupervised = self.pseudo_label_loss(strong_logits[rows:], target[rows:])
        logs: dict[str, Tensor | float] = {"supervised": supervised, "consistency_weight": weight}
        if self.options.complementary:
            complementary, confidence = complementary_loss(
                batch.as_strong(weak_logits), strong_logits
            )
            unsupervised = unsupervised + confidence * complementary
            logs |= {"complementary": complementary, "confidence_weight": confidence}
        total = supervised + weight * unsupervised
        logs |= {"unsupervised": unsupervised, "segmenter_total": total}
        return Update("segmenter", total, logs)

    def rectifier_update(
        self, batch: Batch, weak: PseudoLabel, strong: PseudoLabel, weight: float
    ) -> Update:
        """Second update: the rectifier learns to take labels from coarse to fine and to precise."""
        if not (self.options.coarse_to_fine and self.options.fine_to_precise):
            return single_transport(self, batch, weak, strong, weight)
        if self.options.transports == "joint":
            return joint_transports(self, batch, weak, strong, weight)
        return separate_transports(self, batch, weak, strong, weight)

    def rectification_update(self, batch: Batch, rectified: Tensor, logits: Tensor) -> Update:
        """Third update: the segmenter learns rectified pseudo-labels of unlabelled rows.

        Args:
            batch: the batch.
            rectified: what `rectify` gives.
            logits: the segmenter's, of the view that `rectification_view` names.
        """
        rows = batch.labelled
        if self.options.rectification_view == "strong":
            rectified = batch.as_strong(rectified)
        loss = self.pseudo_label_loss(logits[rows:], rectified[rows:])
        total = self.options.rectification_weight * loss
        if self.options.rectification_labelled:
            total = total + cross_entropy_dice(logits[:rows], rectified[:rows])
        return Update("segmenter", total, {"rectification": loss})

    # ---- their parts --------------------------------------------------------------------------

    def forward_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of the weak view and of the strong view.

        In one forward the views share their batch statistics, and the weak view's unlabelled rows
        are left out where nothing needs them.
        """
        if self.options.forward == "separate":
            return self.segmenter(batch.weak), self.segmenter(batch.strong)
        needed = len(batch.weak) if self.needs_whole_weak_view else batch.labelled
        logits = self.segmenter(torch.cat([batch.weak[:needed], batch.strong]))
        return logits[:needed], logits[needed:]

    @property
    def needs_whole_weak_view(self) -> bool:
        """Whether a loss or a pseudo-label reads the segmenter's logits of unlabelled weak rows."""
        options = self.options
        joins = options.rectification and options.rectification_update == "joint"
        rectified = joins and options.rectification_view == "weak"
        return options.complementary or self.teacher is None or rectified

    def weak_pseudo_label(self, batch: Batch, weak_logits: Tensor) -> PseudoLabel:
        """The weak view's pseudo-label: the moving average's, or the segmenter's own."""
        if self.teacher is None:
            return self.pseudo_label(weak_logits)
        with torch.no_grad():
            return self.pseudo_label(self.teacher(batch.weak))

    def pseudo_label(self, logits: Tensor) -> PseudoLabel:
        """Hard labels of logits, with the pixels marked that are not sure."""
        if self.options.unsure_pixels == "background":
            label = pseudo_label(logits, self.options.confidence, unsure=0)
            return PseudoLabel(label, label)
        return PseudoLabel(
            logits.detach().argmax(dim=1), pseudo_label(logits, self.options.confidence, IGNORED)
        )

    def pseudo_label_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of unlabelled rows against a pseudo-label."""
        if self.options.pseudo_label_loss == "cross_entropy":
            return cross_entropy(logits, target)
        return cross_entropy_dice(logits, target)

    def guidance(self, coarse: Tensor, fine: Tensor, rows: slice) -> Tensor:
        """Calibration guidance per row (B,), or (1,) over `rows` alone for the whole batch."""
        if self.options.guidance == "none":
            return torch.zeros(1, device=coarse.device, dtype=self.rectifier.alphas.dtype)
        per_row = self.options.guidance == "row"
        if not per_row:
            coarse, fine = coarse[rows], fine[rows]
        dtype = next(self.rectifier.parameters()).dtype
        return calibration_guidance(coarse, fine, self.problem.classes, per_row, dtype)

    def transport(
        self, name: str, images: Tensor, coarse: Tensor, target: Tensor, guidance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One training pass of the rectifier with fresh diffusion steps and noise."""
        step = self.draws.timestep(name, len(images), self.options.diffusion_steps, images)
        noise = self.draws.normal(name, self.rectifier.latent_shape(images), images)
        return self.rectifier.transport(images, coarse, target, guidance, step, noise)

    def rectify(self, batch: Batch, weak: PseudoLabel, strong: PseudoLabel) -> Tensor:
        """The weak view's pseudo-labels (B, H, W) corrected by the rectifier, sampled from noise.

        Labelled rows keep their labels; they are sampled along only in training mode, where they
        are part of the batch statistics.
        """
        training = self.options.sampling_mode == "train"
        first = 0 if training else batch.labelled
        images = batch.weak[first:]
        guidance = self.sampling_guidance(batch, weak, strong)
        noise = self.draws.normal("sampling", self.rectifier.latent_shape(images), images)
        self.rectifier.train(training)
        logits = self.rectifier.rectify(images, weak.given[first:], guidance, noise)
        self.rectifier.train()
        rectified = self.pseudo_label(logits[batch.labelled - first :]).target
        return torch.cat([batch.label, rectified])

    def sampling_guidance(self, batch: Batch, weak: PseudoLabel, strong: PseudoLabel) -> Tensor:
        """How far pseudo-labels are off, (1,): known of labelled rows alone, and their mean.

        Without the transport to the ground truth: that of unlabelled rows, strong view to weak.
        """
        rows = batch.labelled
        if self.options.fine_to_precise:
            fine = torch.where(batch.label == IGNORED, weak.given[:rows], batch.label)
            guidance = self.guidance(weak.given[:rows], fine, slice(rows))
        else:
            fine = batch.as_strong(batch.with_labels(weak.given))[rows:]
            guidance = self.guidance(strong.given[rows:], fine, slice(None))
        return shared_mean(guidance.mean(dim=0, keepdim=True))

    # ---- what the training loop asks for ------------------------------------------------------

    def after_step(self, step: int) -> None:
        if self.teacher is not None:
            move_average(self.teacher, self.segmenter, self.options.teacher_decay, step)

    def train(self, mode: bool = True) -> "DiffRect":
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    @property
    def predictor(self) -> nn.Module:
        return self.segmenter if self.teacher is None else self.teacher

    def optimizers(self) -> dict[str, Optimizer]:
        return {"segmenter": self.sgd(self.segmenter), "rectifier": self.sgd(self.rectifier)}

    def set_rates(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        super().set_rates(optimizers, step)
        if not self.options.rectifier_decay:
            self.set_rate(optimizers["rectifier"], self.problem.rate)
