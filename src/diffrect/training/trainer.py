"""One training: its networks, optimisers and data, and how one iteration of it is taken.

A method supplies updates; everything else is once for all methods, here and in `loop.py`.

Randomness is a function of (seed, rank, step), never of history, so a run that was stopped and
resumed ends with the same weights as one that was not.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch, RawBatch
from diffrect.data.loader import training_batches
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import make_batch
from diffrect.data.volumes import training_volumes
from diffrect.distributed.averages import average_gradients, average_statistics
from diffrect.distributed.sums import shared_statistics
from diffrect.distributed.sync_norm import synchronise
from diffrect.errors import InputError
from diffrect.inference.segmenter import Segmenter
from diffrect.methods.base import Method, Problem, Update
from diffrect.methods.registry import Resolved, resolve
from diffrect.training.average import Candidates, WeightAverage
from diffrect.training.checkpoints.best import BestSoFar
from diffrect.training.checkpoints.saving import Saver
from diffrect.training.fabric import DTYPES, launch, make_fabric
from diffrect.training.finite import Guard
from diffrect.training.own_code import check_use, try_network
from diffrect.training.statistics import PreciseStatistics
from diffrect.training.validation import classes_shown


class Trainer:
    """Everything that one training holds: networks, optimisers, data and what it has come to.

    Attributes:
        step: iterations done.
        precise: counts batch norm's statistics anew before the network predicts, if that is wanted.
        scored: what validates: scans of patients, or blocks of slices.
        shown: the classes that it shows, which choose the best checkpoint.
        best: what its validations have said so far.
        saver: writes the checkpoints.
        guard: checks losses and gradients, and counts the iterations that were left out.
    """

    def __init__(self, store: Store, run: Path, config: TrainConfig, split: Split) -> None:
        self.store, self.run, self.config, self.split = store, run, config, split
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
        self.best = BestSoFar()
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

    # ---- what predicts ------------------------------------------------------------------------

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


def seed_everything(seed: int, rank: int, step: int) -> None:
    """Make all random draws of an iteration a function of (seed, rank, step)."""
    state = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
