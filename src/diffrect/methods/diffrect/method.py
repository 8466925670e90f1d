"""DiffRect: pseudo-labels corrected by latent diffusion.

Liu, Li, Yuan, "DiffRect: Latent Diffusion Label Rectification for Semi-supervised Medical Image
Segmentation", MICCAI 2024. Each iteration makes up to three updates, in `DiffRect.updates`:

1. `segmenter_update`: the segmenter learns from labels and from its own pseudo-labels.
2. `Transports.rectifier_update`: the rectifier learns two transports, coarse to fine (strong view
   -> weak view) and fine to precise (weak view -> ground truth).
3. `rectification_update`: the segmenter learns from pseudo-labels that the rectifier has corrected.

With the option `rectification_update` = joint, the third one shares the forward pass and the
optimiser step of the first. The paper's two modules are Label Context Calibration (LCC, Sec. 2.1,
`networks/calibration.py`) and Latent Feature Rectification (LFR, Sec. 2.2: the network in
`networks/rectifier.py`, its training and use in `transports.py` beside this file). The losses of
the first and the third update are in `segmenter_updates.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.data.batch import Batch
from diffrect.data.volumes import TrainingVolumes
from diffrect.errors import InputError
from diffrect.methods.base import (
    Corrections,
    Problem,
    Update,
    in_eval_mode,
    make_teacher,
)
from diffrect.methods.consistency import MayHaveTeacher
from diffrect.methods.diffrect.make import (
    make_optimizer,
    make_rectifier,
    make_transports,
    make_volume_labels,
)
from diffrect.methods.diffrect.options import REFERENCE, DiffRectOptions
from diffrect.methods.diffrect.parts import (
    Draws,
    PseudoLabel,
    PseudoLabels,
    joined,
    pseudo_label,
)
from diffrect.methods.diffrect.segmenter_updates import rectification_update, segmenter_update
from diffrect.methods.diffrect.volume_labels import VolumeLabels
from diffrect.methods.diffrect.volume_transports import VolumeTransports
from diffrect.methods.losses import poly_rate
from diffrect.networks.latent_rectifier import LatentRectifier


class DiffRect(MayHaveTeacher):
    """The segmenter, the rectifier and their three updates."""

    Options = DiffRectOptions
    presets = {"reference": REFERENCE}  # noqa: RUF012

    def __init__(self, problem: Problem, options: DiffRectOptions) -> None:
        super().__init__(problem, options)
        self.options: DiffRectOptions = options
        self.rectifier = make_rectifier(problem, options)
        self.teacher = make_teacher(self.segmenter) if options.teacher_decay else None
        self.volumes: VolumeLabels | None = None
        if options.of_volumes:
            self.volumes = make_volume_labels(problem.classes, options)
        self.transports = make_transports(
            self.rectifier, self.teacher, self.volumes, problem, options
        )
        self.rectify_from = options.start(problem.iterations)
        self.strong_views = 2 if options.second_view else 1

    def check_batch(self, labelled: int, unlabelled: int) -> None:
        """Refuse a single slice so small that a network's deepest map is one pixel.

        One pixel has no batch statistics. That concerns the denoiser, and a teacher with statistics
        of its own. A pass that trains both transports has at least two rows; if one transport is
        left out, a pass has only the labelled or only the unlabelled rows.
        """
        options = self.options
        if self.has_own_statistics and unlabelled == 1 and self.problem.size <= 16:
            raise InputError(
                "--batch-unlabelled",
                "at least 2 slices of 16 x 16 pixels or fewer with teacher_statistics=own",
                got=1,
                setting="batch_unlabelled",
            )
        one_transport = not (options.coarse_to_fine and options.fine_to_precise)
        name, rows = (
            ("labelled", labelled) if options.fine_to_precise else ("unlabelled", unlabelled)
        )
        if (
            self.options.learns_rectifier
            and one_transport
            and rows == 1
            and self.problem.size <= 64
        ):
            raise InputError(
                f"--batch-{name}",
                "at least 2 slices of 64 x 64 pixels or fewer to train one transport alone",
                got=1,
                setting=f"batch_{name}",
            )

    # ---- the three updates -------------------------------------------------------------------

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the updates of iteration `step`, see the head of this file."""
        options = self.options
        weight = options.weight(step, self.problem.iterations)
        rectified_weight = options.rectified_weight(step, self.problem.iterations)
        weak_logits, strong_logits, second_logits = self.forward_views(batch)
        pseudo = PseudoLabels(
            weak=self.weak_pseudo_label(batch, weak_logits),
            strong=pseudo_label(strong_logits, options),
        )
        rectifying = options.rectification and step >= self.rectify_from
        if isinstance(self.transports, VolumeTransports):
            rectifying = self.transports.prepare(step, rectifying)
        joins = rectifying and options.rectification_update == "joint"

        rectified = self.transports.rectify(batch, pseudo) if joins else None
        taught = pseudo.weak
        if rectified is not None and options.consistency_target == "rectified":
            taught = PseudoLabel(given=rectified, target=rectified)
        update = segmenter_update(
            batch, weak_logits, strong_logits, second_logits, taught, weight, options
        )
        if rectified is not None:
            strong = options.rectification_view == "strong"
            views = (strong_logits, second_logits) if strong else (weak_logits, None)
            update = joined(
                update, rectification_update(batch, rectified, *views, rectified_weight, options)
            )
        if self.volumes is not None:
            update = replace(update, logs={**update.logs, **self.volumes.notes})
        learns = self.learns_rectifier(step)
        if not learns:  # lines of the log may be due only in iterations in which it rests
            update = replace(update, logs={**update.logs, **self.carried})
        yield update
        # This frees their graph before the next one grows.
        del update, weak_logits, strong_logits, second_logits

        if learns:
            update = self.transports.rectifier_update(batch, pseudo, weight)
            self.carried = update.logs
            yield update
            del update

        if rectifying and not joins:
            rectified = self.transports.rectify(batch, pseudo)
            view = batch.strong if options.rectification_view == "strong" else batch.weak
            yield rectification_update(
                batch, rectified, self.segmenter(view), None, rectified_weight, options
            )

    def learns_rectifier(self, step: int) -> bool:
        """Return whether iteration `step` has a second update."""
        start = self.transports.start if isinstance(self.transports, VolumeTransports) else 0
        due = step >= start and step % self.options.rectifier_interval == 0
        return self.options.learns_rectifier and due

    # ---- forward passes of the segmenter ------------------------------------------------------

    def forward_views(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the logits of the weak view, of the strong view and of a second strong view.

        In one forward pass the views share their batch statistics, and the unlabelled rows of the
        weak view are left out where nothing needs them. Of the second strong view only unlabelled
        rows are forwarded; None if there is none.
        """
        second = [] if batch.second is None else [batch.second.strong[batch.labelled :]]
        if self.options.forward == "separate":
            weak, strong = self.segmenter(batch.weak), self.segmenter(batch.strong)
            return weak, strong, self.segmenter(second[0]) if second else None
        needed = len(batch.weak) if self.needs_whole_weak_view else batch.labelled
        logits = self.segmenter(torch.cat([batch.weak[:needed], batch.strong, *second]))
        both = needed + len(batch.strong)
        return logits[:needed], logits[needed:both], logits[both:] if second else None

    @property
    def needs_whole_weak_view(self) -> bool:
        """Whether a loss or a pseudo-label reads the segmenter's logits of unlabelled weak rows."""
        options = self.options
        joins = options.rectification and options.rectification_update == "joint"
        rectified = joins and options.rectification_view == "weak"
        return options.complementary or self.teacher is None or rectified

    def weak_pseudo_label(self, batch: Batch, weak_logits: Tensor) -> PseudoLabel:
        """Return the weak view's pseudo-label: the moving average's, or the segmenter's own."""
        if self.teacher is None:
            return pseudo_label(weak_logits, self.options)
        if self.reads_labelled_rows:
            return pseudo_label(self.teach(self.teacher, batch), self.options)
        found = pseudo_label(self.teach_unlabelled(self.teacher, batch), self.options)
        return PseudoLabel(*(torch.cat([batch.label, maps]) for maps in found))

    @property
    def reads_labelled_rows(self) -> bool:
        """Whether anything reads the pseudo-labels of labelled rows, whose labels are known."""
        return self.options.rectification and self.options.rectifier == "slice"

    @torch.no_grad()
    def teach(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """Return the teacher's logits (B, C, H, W) of the weak view.

        With statistics of its own, labelled rows are seen with those that follow the unlabelled
        rows.
        """
        if not self.has_own_statistics:
            logits: Tensor = teacher(batch.weak)
            return logits
        unlabelled = self.teach_unlabelled(teacher, batch)
        return torch.cat([teacher(batch.weak[: batch.labelled]), unlabelled])

    # ---- what the training loop asks for ------------------------------------------------------

    @property
    def draws(self) -> Draws:
        """The random draws of the rectifier, which a test or a benchmark may replace."""
        return self.transports.draws

    @draws.setter
    def draws(self, draws: Draws) -> None:
        self.transports.draws = draws

    @torch.no_grad()
    def corrections(self, batch: Batch, step: int) -> Corrections | None:
        """Return the pseudo-labels of unlabelled rows before and after the rectifier, for a look.

        In whole volumes, the corrections are those that training uses now.
        """
        if not self.options.rectification or step < self.rectify_from:
            return None
        with in_eval_mode(self.predictor, self.rectifier):
            given = self.predictor(batch.weak).argmax(dim=1)
            if isinstance(self.transports, VolumeTransports):
                if self.volumes is None or self.volumes.corrected is None:
                    return None
                after = self.volumes.shown(batch, given[batch.labelled :])
            else:
                after = self.transports.correct(batch, given)
        return Corrections(given[batch.labelled :], after)

    @property
    def beside_predictor(self) -> Mapping[str, nn.Module]:
        """The rectifier, unless it is a control's, which learns nothing."""
        return {"rectifier": self.rectifier} if self.options.learns_rectifier else {}

    @property
    def needs_volumes(self) -> bool:
        """Whether pseudo-labels are corrected in whole volumes."""
        return self.volumes is not None

    def attach(self, volumes: TrainingVolumes) -> None:
        """Receive all slices of the training patients, whose labels are corrected."""
        assert self.volumes is not None
        self.volumes.attach(volumes)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say of which classes only the largest part is kept."""
        if self.volumes is None:
            return ()
        return (self.volumes.parts.explained(self.problem.task.classes),)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser for the segmenter and one for the rectifier."""
        segmenter: Optimizer = self.sgd(self.segmenter)
        if isinstance(self.rectifier, LatentRectifier):
            return {
                "segmenter": segmenter,
                "rectifier": make_optimizer(self.rectifier, self.problem),
            }
        return {"segmenter": segmenter, "rectifier": self.sgd(self.rectifier)}

    def set_rates(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """Let both rates decay; the rectifier's stays constant without `rectifier_decay`."""
        super().set_rates(optimizers, step)
        rate, iterations = self.problem.rate, self.problem.iterations
        if self.options.rectifier_decay:
            rate = poly_rate(rate, step, iterations)
        if isinstance(self.transports, VolumeTransports):
            rate = self.transports.rate(rate, step)
        self.set_rate(optimizers["rectifier"], rate)
