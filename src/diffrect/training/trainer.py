"""The only training loop. A method supplies updates; everything else is here once for all methods.

Randomness is a function of (seed, rank, step), never of history, so a run that was stopped and
resumed ends with the same weights as one that was not.
"""

import math
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch, RawBatch
from diffrect.data.loader import iterate, training_batches
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import make_batch
from diffrect.data.volumes import training_volumes
from diffrect.distributed.averages import (
    any_process,
    average_gradients,
    average_logs,
    average_statistics,
)
from diffrect.distributed.sums import shared_statistics
from diffrect.distributed.sync_norm import synchronise
from diffrect.errors import InputError
from diffrect.inference.segmenter import Segmenter
from diffrect.methods.base import Method, Problem, Update
from diffrect.methods.registry import Resolved, resolve
from diffrect.plugins.settings import plugin_options
from diffrect.runs.architecture import describe
from diffrect.runs.model_state import ModelState, halved, name_of
from diffrect.runs.names import BEST
from diffrect.runs.provenance import code_version
from diffrect.runs.resume import TrainingState
from diffrect.runs.state import load_average, load_optimizers, load_weights
from diffrect.training.average import Candidates, WeightAverage
from diffrect.training.fabric import DTYPES, batch_explained, launch, make_fabric
from diffrect.training.finite import Guard
from diffrect.training.loggers.names import parse_loggers, takes_pictures
from diffrect.training.monitor import Monitor
from diffrect.training.own_code import check_use, try_network
from diffrect.training.pictures.album import Album
from diffrect.training.profiling import StepProfiler
from diffrect.training.saving import Saver
from diffrect.training.statistics import PreciseStatistics, statistics_of
from diffrect.training.stop import StopRequest
from diffrect.training.validation import classes_shown, validate


class Trainer:
    """Everything that one training holds: networks, optimisers, data and progress.

    Attributes:
        step: iterations done.
        precise: counts batch norm's statistics anew before the network predicts, if that is wanted.
        scored: what validates: scans of patients, or blocks of slices.
        shown: the classes that it shows, which choose the best checkpoint.
        best: the highest Dice of a validation so far, in [0, 1]; -inf before the first that is
            defined.
        last_dice: the Dice of the last validation; NaN before the first, or if it is undefined.
        best_step: iterations done when the best checkpoint was made; None before.
        validated: iterations done at the last validation.
        saver: writes the checkpoints.
        guard: checks losses and gradients, and counts the iterations that were left out.
    """

    def __init__(self, store: Store, run: Path, config: TrainConfig, split: Split) -> None:
        self.store, self.run, self.config, self.split = store, run, config, split
        self.profiler: StepProfiler | None = None
        resolved = resolve(config)
        self.views: ViewOptions = resolved.view_options
        self.fabric = make_fabric(config)
        launch(self.fabric, config)
        self.saver = Saver(self.fabric, run)
        self.batches = training_batches(
            store,
            split,
            config,
            resolved.method.unlabelled,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        self.dtype = DTYPES.get(config.precision, torch.float32)
        self.method = self.make_method(resolved)
        check_use(self.method, self.views, config)
        if self.method.needs_volumes:
            interpolation = self.views.interpolation
            self.method.attach(training_volumes(store, split, config, interpolation))
        self.optimizers: dict[str, Optimizer] = {
            name: cast(Optimizer, self.fabric.setup_optimizers(optimizer))
            for name, optimizer in self.method.optimizers().items()
        }
        self.candidates: Candidates | None = None
        if config.average:
            average = WeightAverage(self.method, config.average, self.fabric)
            self.candidates = Candidates(self.method, average)
        self.scored = store.validation_blocks(split)
        self.shown = classes_shown(store, self.scored)
        self.step = 0
        self.precise: PreciseStatistics | None = None
        if config.precise_statistics:
            interpolation = self.views.interpolation
            self.precise = PreciseStatistics(
                self.batches, config, interpolation, self.fabric, self.dtype
            )
        self.album: Album | None = None
        self.best = -math.inf
        self.last_dice = math.nan
        self.best_step: int | None = None
        self.validated = 0
        self.guard = Guard(self.method, run, skip=config.nonfinite == "skip")

    def make_method(self, resolved: Resolved) -> Method:
        """Return the method on its device, with the same initial weights on every process."""
        config = self.config
        torch.manual_seed(config.seed)
        rate, size = config.learning_rate, config.side
        task, network = self.store.task, config.network
        problem = Problem(task, config.iterations, rate, size=size, network=network)
        try_network(problem, config, unlabelled=resolved.method.unlabelled)
        method = resolved.method(problem, resolved.method_options)
        method.check_batch(config.batch_labelled, config.batch_unlabelled)
        if config.sync_batchnorm:
            synchronise(method)
        method.to(self.fabric.device, self.dtype)
        # Convolutions run fastest in this memory layout, see docs/reports/speed.md.
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
        return method

    # ---- one iteration ------------------------------------------------------------------------

    def iteration(self, raw: RawBatch) -> dict[str, float]:
        """Do iteration `self.step` and return its losses.

        If a loss or gradient is not finite and `nonfinite` is `skip`, the rest of the iteration is
        skipped.

        Raises:
            InputError: a value is not finite and skipping is off, or `LIMIT` iterations in a row
                were skipped.
        """
        # Every random draw below is a function of (seed, rank, step).
        seed_everything(self.config.seed, self.fabric.global_rank, self.step)

        # The weak and strong views are made on the device.
        batch = self.make_batch(raw.to(self.fabric.device))

        # The learning rates follow the schedule, and dropout and batch norm are switched on.
        self.method.train()
        self.method.set_rates(self.optimizers, self.step)

        # The method takes one or several optimiser steps.
        self.guard.begin()
        with shared_statistics(self.fabric.world_size if self.config.sync_batchnorm else 1):
            logs = self.take_updates(batch, raw)

        # All processes continue with the same statistics of batch norm.
        average_statistics(self.fabric, self.method)
        self.guard.end()

        # Moving averages follow the weights.
        self.method.after_step(self.step)
        if self.candidates is not None and self.guard.blow_up is None:
            self.candidates.average.follow(batch, self.step)
        self.step += 1
        return logs | self.guard.counts

    def take_updates(self, batch: Batch, raw: RawBatch) -> dict[str, Any]:
        """Take the optimiser steps that the method asks for, up to the first that cannot be taken.

        Returns:
            What the updates report.
        """
        logs: dict[str, Any] = {}
        updates = self.method.updates(batch, self.step)
        while self.guard.blow_up is None:
            # The method computes up to its next loss; then it waits for the step to be taken.
            with self.fabric.autocast():
                update = next(updates, None)
            if update is None:
                break
            self.descend(update, raw)
            logs |= update.logs
        return logs

    def descend(self, update: Update, raw: RawBatch) -> None:
        """Take one optimiser step, or note in the guard why it cannot be taken.

        Raises:
            InputError: a value is not finite and skipping is off, or `LIMIT` iterations in a row
                were skipped; or the method names an optimiser that it does not have.
        """
        if update.name not in self.optimizers:
            raise InputError(
                f"--method {self.config.method}",
                f"updates of {', '.join(self.optimizers)}",
                got=repr(update.name),
                setting="method",
            )
        # The gradients are averaged over the processes, so that all judge the same numbers.
        optimizer = self.optimizers[update.name]
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(update.loss)
        loss = average_gradients(self.fabric, optimizer, update.loss)
        what = self.guard.judge(loss, optimizer, self.loss_scale)
        if what is None:
            optimizer.step()
        else:
            self.guard.skip(what, update.name, self.step, raw.cases)

    @property
    def loss_scale(self) -> float:
        """The factor of losses in precision 16-mixed; 0 in the others, which have none."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return 0.0 if scaler is None else float(scaler.get_scale())

    def make_batch(self, raw: RawBatch) -> Batch:
        """Return the views that the method reads of a batch of slices, on their device."""
        return make_batch(raw, self.config.side, self.views, self.dtype, self.method.strong_views)

    # ---- state --------------------------------------------------------------------------------

    def state(self) -> TrainingState:
        """Return everything needed to resume."""
        predictor, others = self.method.predictor, self.candidates
        return TrainingState(
            step=self.step,
            best=self.best,
            last_dice=self.last_dice,
            validated=self.validated,
            skipped=self.guard.skipped,
            overflows=self.guard.overflows,
            config=self.config,
            task=self.store.task,
            split=self.split,
            method=self.method.state_dict(),
            optimizers={name: o.state_dict() for name, o in self.optimizers.items()},
            loss_scale=self.fabric.strategy.precision.state_dict(),  # only 16-mixed has one
            carried={name: float(value) for name, value in self.method.carried.items()},
            statistics={} if self.precise is None else statistics_of(self.predictor),
            best_step=self.best_step,
            predicts=name_of(predictor, self.method),
            network=describe(predictor),
            code=asdict(code_version()),
            average={} if others is None else others.average.network.state_dict(),
            best_others={} if others is None else dict(others.best),
            best_steps={} if others is None else dict(others.best_steps),
        )

    def model_states(self, step: int) -> dict[str, ModelState]:
        """Return the models that are best after iteration `step`, by their checkpoints' names."""
        states = {BEST: self.model_state()} if self.best_step == step else {}
        if self.candidates is not None:
            for name, network in self.candidates.networks():
                if self.candidates.best_steps.get(name) == step:
                    kind, weights = describe(network), network.state_dict()
                    states[name] = replace(self.model_state(), network=kind, predictor=weights)
        return states

    def model_state(self) -> ModelState:
        """Return what predicts and rectifies."""
        beside = self.method.beside_predictor
        return ModelState(
            step=self.step,
            config=self.config,
            task=self.store.task,
            code=asdict(code_version()),
            network=describe(self.method.predictor),
            predictor=self.predictor.state_dict(),
            beside={name: halved(network.state_dict()) for name, network in beside.items()},
        )

    def load(self, state: TrainingState) -> None:
        """Return to a saved state."""
        load_weights(self.method, state.method, state.path)
        load_optimizers(self.optimizers, state.optimizers, state.path)
        if state.loss_scale:
            self.fabric.strategy.precision.load_state_dict(dict(state.loss_scale))
        self.step, self.best, self.last_dice = state.step, state.best, state.last_dice
        self.validated, self.method.carried = state.validated, state.carried
        self.best_step = state.best_step
        self.guard.skipped, self.guard.overflows = state.skipped, state.overflows
        if self.candidates is not None:
            load_average(self.candidates.average.network, state.average, state.path)
            self.candidates.best = dict(state.best_others)
            self.candidates.best_steps = dict(state.best_steps)

    # ---- the loop -----------------------------------------------------------------------------

    def fit(self, monitor: Monitor, stop: StopRequest) -> None:
        """Train to the last iteration, or until a stop is asked for, and save either way.

        Raises:
            InputError: a value is not finite, or a batch does not fit into memory.
            KeyboardInterrupt: a stop was asked for; the state is saved.
        """
        monitor.remark(self.method.remarks)
        self.open_album()
        if self.step:
            for name, model in self.model_states(self.step).items():
                self.saver.save_missing(name, model)
        try:
            self.take_iterations(monitor, stop)
            self.saver.wait()
        finally:
            self.saver.close()
        monitor.finish(self.step)

    def take_iterations(self, monitor: Monitor, stop: StopRequest) -> None:
        """Train to the last iteration; the checkpoints may still be being written then.

        Raises:
            InputError: see `fit`.
            KeyboardInterrupt: see `fit`.
        """
        config = self.config

        # A validation that a stop has cut short comes first.
        if self.validation_due:
            self.validate(monitor, stop)
        for raw in iterate(self.batches, self.step, config.iterations, config.workers):
            # An iteration makes the views and takes the optimiser steps.
            with batch_explained(config, self.fabric):
                logs = self.iteration(raw)
            if self.profiler is not None:
                self.profiler.step()

            # Its losses are reported, or the reason why it was skipped.
            if self.guard.blow_up:
                monitor.skipped(self.step, self.guard.blow_up, raw.cases)
            if monitor.is_logged(self.step):
                monitor.iteration(self.step, average_logs(self.fabric, logs), self.last_dice)

            # A validation saves the state, and so does a stop that was asked for.
            if self.validation_due:
                self.validate(monitor, stop)
            self.stop_if_asked(stop)
        self.stop_if_asked(stop)

    def stop_if_asked(self, stop: StopRequest) -> None:
        """Save and stop if any process was asked to, unless everything is done.

        Raises:
            KeyboardInterrupt: saying how to resume.
            InputError: a checkpoint could not be written meanwhile, see `Saver.wait`.
            OSError: the same.
        """
        finished = self.step == self.config.iterations and not self.validation_due
        ends = stop.requested or self.saver.failed
        if any_process(self.fabric, ends) and not finished:
            self.saver.save(self.state())
            self.saver.wait()
            raise KeyboardInterrupt(
                f"stopped after iteration {self.step} of {self.config.iterations}; resume with: "
                f"diffrect train {self.store.path} {self.run} --resume{plugin_options(self.config)}"
            )

    def open_album(self) -> None:
        """Choose the slices of which pictures are drawn, if any are wanted."""
        config = self.config
        if config.log_images and takes_pictures(parse_loggers(config.logger)):
            self.album = Album(
                self.store,
                self.split,
                config,
                self.views.interpolation,
                self.fabric,
                self.dtype,
            )

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts as it is now, with precise statistics if they are wanted."""
        network = self.method.predictor
        return network if self.precise is None else self.precise.of(network, self.step)

    @property
    def segmenter(self) -> Segmenter:
        """The predictor as it is now, over whole slices."""
        return self.over_slices(self.predictor)

    def over_slices(self, network: nn.Module) -> Segmenter:
        """Return a network that sees whole slices as the predictor does."""
        return Segmenter(
            network,
            self.config.side,
            self.views.interpolation,
            self.config.spacing,
            self.fabric.device,
        )

    @property
    def validation_due(self) -> bool:
        """Whether the iterations done ask for a validation that has not been made."""
        interval, last = self.config.validation_interval, self.config.iterations
        return self.step != self.validated and (self.step % interval == 0 or self.step == last)

    def validate(self, monitor: Monitor, stop: StopRequest) -> None:
        """Score the predictor on the validation patients, and keep the best checkpoint.

        If a stop is asked for meanwhile, the validation is left for the next session.
        """
        # The network that predicts is scored on whole volumes, and those that compete with it.
        monitor.validation_begins()
        predictor, score = self.predictor, partial(self.scores, monitor=monitor, stop=stop)
        scores = score(predictor)
        others: dict[str, float] | None = {}
        if scores is not None and self.candidates is not None:
            others = self.candidates.dice(predictor, scores, score)
        if scores is None or others is None:
            return

        # The report is on the disk before the checkpoints that follow from it.
        self.last_dice, self.validated = scores["dice"], self.step
        better = self.last_dice > self.best
        if better:
            self.best = self.last_dice
        # With nothing to choose by, the last state is the best.
        kept = better or math.isnan(self.last_dice)
        if kept:
            self.best_step = self.step
        if self.candidates is not None:
            self.candidates.judge(others, self.step)
        named = {f"{name}_dice": dice for name, dice in others.items()}
        pictures = {} if self.album is None else self.album.pictures(self.method, self.step)
        monitor.validation(self.step, scores | named, self.best, pictures)
        monitor.sync()

        # The best models so far are kept apart from the last state.
        self.saver.save(self.state(), self.model_states(self.step))

    def scores(
        self, network: nn.Module, monitor: Monitor, stop: StopRequest
    ) -> dict[str, float] | None:
        """Return what `validate` says of a network; None if a stop was asked for."""
        return validate(
            self.over_slices(network),
            self.store,
            self.scored,
            self.shown,
            self.fabric,
            stop,
            monitor.validating,
            self.album.look if self.album is not None and network is self.predictor else None,
        )


def seed_everything(seed: int, rank: int, step: int) -> None:
    """Make all random draws of an iteration a function of (seed, rank, step)."""
    state = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
