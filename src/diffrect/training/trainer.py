"""The only training loop. A method supplies updates; everything else is here once for all methods.

Randomness is a function of (seed, rank, step), never of history, so a run that was stopped and
resumed ends with the same weights as one that was not.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.optim import Optimizer

from diffrect.config import TrainConfig, ViewOptions, config_to_dict
from diffrect.data.batch import Batch, RawBatch
from diffrect.data.loader import iterate, training_batches
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.data.views import make_batch
from diffrect.distributed.averages import (
    any_process,
    average_gradients,
    average_logs,
    average_statistics,
)
from diffrect.distributed.sums import share_statistics
from diffrect.distributed.sync_norm import synchronise
from diffrect.errors import InputError
from diffrect.inference.segmenter import Segmenter
from diffrect.methods.base import Method, Problem, Update
from diffrect.methods.registry import resolve
from diffrect.runs.checkpoint import checkpoint_path, save_checkpoint
from diffrect.runs.folder import forget_replaced
from diffrect.training.fabric import DTYPES, batch_explained, launch, make_fabric
from diffrect.training.finite import (
    LIMIT,
    SMALLEST_SCALE,
    Buffers,
    blow_up_message,
    check_state,
    find_blow_up,
)
from diffrect.training.monitor import Monitor
from diffrect.training.profiling import StepProfiler
from diffrect.training.stop import StopRequest
from diffrect.training.validation import validate


class Trainer:
    """Everything that one training holds: networks, optimisers, data and progress."""

    def __init__(self, store: Store, run: Path, config: TrainConfig, split: Split) -> None:
        self.store, self.run, self.config, self.split = store, run, config, split
        self.profiler: StepProfiler | None = None
        resolved = resolve(config)
        self.views: ViewOptions = resolved.view_options
        self.task = Task(store.channels, store.classes, store.intensity, store.axis)
        self.fabric = make_fabric(config)
        launch(self.fabric, config)
        share_statistics(self.fabric.world_size if config.sync_batchnorm else 1)
        self.batches = training_batches(
            store,
            split,
            config,
            resolved.method.unlabelled,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        torch.manual_seed(config.seed)  # the same initial weights on every rank
        rate, size = config.learning_rate, config.side
        problem = Problem(store.channels, len(store.classes), config.iterations, rate, size=size)
        method = resolved.method(problem, resolved.method_options)
        if config.sync_batchnorm:
            synchronise(method)
        self.dtype = DTYPES.get(config.precision, torch.float32)
        self.method: Method = method.to(self.fabric.device, self.dtype)
        # the layout in which convolutions run fastest, see docs/reports
        self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers: dict[str, Optimizer] = {
            name: cast(Optimizer, self.fabric.setup_optimizers(optimizer))
            for name, optimizer in self.method.optimizers().items()
        }
        self.step = 0
        self.best = -math.inf
        self.last_dice = math.nan
        self.validated = 0  # the iterations done at the last validation
        self.skipped = self.in_a_row = self.overflows = 0
        self.blow_up: str | None = None
        self.buffers = Buffers(self.method) if config.nonfinite == "skip" else None

    # ---- one iteration ------------------------------------------------------------------------

    def iteration(self, raw: RawBatch) -> dict[str, float]:
        """Views, updates and optimiser steps of iteration `self.step`; returns its losses.

        Where a number is not finite and such iterations are to be skipped, what is left of it is.
        """
        seed_everything(self.config.seed, self.fabric.global_rank, self.step)
        batch = self.make_batch(raw.to(self.fabric.device))
        self.method.train()
        self.method.set_rates(self.optimizers, self.step)
        logs: dict[str, Any] = {}
        updates = self.method.updates(batch, self.step)
        if self.buffers:
            self.buffers.keep()
        self.blow_up = None
        while self.blow_up is None:
            with self.fabric.autocast():
                update = next(updates, None)
            if update is None:
                break
            self.blow_up = self.descend(update, raw)
            logs |= update.logs
        average_statistics(self.fabric, self.method)
        if self.blow_up and self.buffers:
            self.buffers.restore()
        self.in_a_row = self.in_a_row + 1 if self.blow_up else 0
        self.skipped += bool(self.blow_up)
        self.method.after_step(self.step)
        self.step += 1
        counts = {"skipped": self.skipped, "overflows": self.overflows}
        return logs | {name: count for name, count in counts.items() if count}

    def descend(self, update: Update, raw: RawBatch) -> str | None:
        """Takes one optimiser step, or says why it cannot be taken: numbers that are not finite.

        Raises:
            InputError: so it is, and such iterations are not to be skipped, or have been too often.
        """
        if update.name not in self.optimizers:
            known = ", ".join(self.optimizers)
            raise InputError(
                f"--method {self.config.method}: expected updates of {known}, got {update.name!r}"
            )
        optimizer = self.optimizers[update.name]
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(update.loss)
        loss = average_gradients(self.fabric, optimizer, update.loss)
        what = find_blow_up(loss, optimizer)
        if what == "gradient" and self.loss_scale > SMALLEST_SCALE:
            what, self.overflows = None, self.overflows + 1  # its scaler skips and scales down
        if what is None:
            optimizer.step()
            return None
        message = blow_up_message(str(self.run), what, update.name, self.step, raw.cases)
        if self.config.nonfinite == "stop" or self.in_a_row >= LIMIT:
            raise InputError(message)
        return message

    @property
    def loss_scale(self) -> float:
        """What precision 16-mixed multiplies losses with; 0 for the others, which have none."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return 0.0 if scaler is None else float(scaler.get_scale())

    def make_batch(self, raw: RawBatch) -> Batch:
        """The views of a batch of slices that the method reads, on the device."""
        return make_batch(raw, self.config.side, self.views, self.dtype, self.method.strong_views)

    # ---- state --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that going on needs: tensors and plain values."""
        return {
            "step": self.step,
            "best": self.best,
            "last_dice": self.last_dice,
            "validated": self.validated,
            "skipped": self.skipped,
            "overflows": self.overflows,
            "config": config_to_dict(self.config),
            "task": self.task.to_dict(),
            "split": self.split.to_dict(),
            "method": self.method.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "loss_scale": self.fabric.strategy.precision.state_dict(),  # 16-mixed alone has one
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes back to a saved state."""
        self.method.load_state_dict(state["method"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if state.get("loss_scale"):
            self.fabric.strategy.precision.load_state_dict(state["loss_scale"])
        self.step, self.best = state["step"], state["best"]
        self.last_dice = state["last_dice"]
        # these were not saved at first
        self.validated = state.get("validated", self.step)
        self.skipped, self.overflows = state.get("skipped", 0), state.get("overflows", 0)

    def save(self, name: str) -> None:
        """Writes the checkpoint called `name` on the first process; the others wait for it.

        Raises:
            InputError: a number in it is not finite, or the first process could not write it.
        """
        path = checkpoint_path(self.run, name)
        state = self.state()
        where = f"{path} after iteration {self.step}"
        check_state({"method": state["method"], "optimizers": state["optimizers"]}, where)
        failure: OSError | None = None
        if self.fabric.is_global_zero:
            before = checkpoint_path(self.run, "previous") if name == "last" else None
            try:
                save_checkpoint(state, path, before)
            except OSError as error:
                failure = error
        failed = any_process(self.fabric, failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise InputError(f"{path}: the first process could not write it")
        if name == "last" and self.fabric.is_global_zero:
            forget_replaced(self.run)

    # ---- the loop -----------------------------------------------------------------------------

    def fit(self, monitor: Monitor, stop: StopRequest) -> None:
        """Runs to the last iteration, or until a stop is asked for; saves either way."""
        config = self.config
        if self.validation_due:  # the stop came during it
            self.validate(monitor, stop)
        for raw in iterate(self.batches, self.step, config.iterations, config.workers):
            with batch_explained(config, self.fabric):
                logs = self.iteration(raw)
            if self.profiler is not None:
                self.profiler.step()
            if self.blow_up:
                monitor.skipped(self.step, self.blow_up, raw.cases)
            if monitor.is_logged(self.step):
                monitor.iteration(self.step, average_logs(self.fabric, logs), self.last_dice)
            if self.validation_due:
                self.validate(monitor, stop)
            self.stop_if_asked(stop)
        self.stop_if_asked(stop)
        monitor.finish(self.step)

    def stop_if_asked(self, stop: StopRequest) -> None:
        """Saves and stops, unless everything is done."""
        finished = self.step == self.config.iterations and not self.validation_due
        if any_process(self.fabric, stop.requested) and not finished:
            self.save("last")
            raise KeyboardInterrupt(
                f"stopped after iteration {self.step} of {self.config.iterations}; go on with: "
                f"diffrect train {self.store.path} {self.run} --resume"
            )

    @property
    def segmenter(self) -> Segmenter:
        """The predictor as it is now, over whole slices."""
        return Segmenter(
            self.method.predictor,
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
        """Scores the predictor on the validation patients and keeps the best checkpoint.

        A stop that is asked for meanwhile leaves it for when the training goes on.
        """
        monitor.validation_begins()
        scores = validate(self.segmenter, self.store, self.split.val, self.fabric, stop)
        if scores is None:
            return
        self.last_dice, self.validated = scores["dice"], self.step
        better = self.last_dice > self.best
        if better:
            self.best = self.last_dice
        monitor.validation(self.step, scores, self.best)
        monitor.sync()
        if better:
            self.save("best")
        self.save("last")


def seed_everything(seed: int, rank: int, step: int) -> None:
    """Makes all random draws of an iteration a function of (seed, rank, step)."""
    state = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
