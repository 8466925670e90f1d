"""The only training loop. A method supplies updates; everything else is here once for all methods.

Randomness is a function of (seed, rank, step), never of history, so a run that was stopped and
resumed ends with the same weights as one that was not.
"""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from diffrect.batch import make_batch
from diffrect.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from diffrect.config import TrainConfig, ViewOptions, config_to_dict, read_config
from diffrect.data.augment import RawBatch
from diffrect.data.loader import iterate, training_batches
from diffrect.data.splits import Split, check_split, resolve_split
from diffrect.data.store import Store
from diffrect.devices import (
    DTYPES,
    any_process,
    average_gradients,
    average_statistics,
    make_fabric,
    memory_explained,
)
from diffrect.errors import InputError
from diffrect.methods import complete, resolve
from diffrect.methods.base import Batch, Method, Problem
from diffrect.model import Task
from diffrect.monitor import Monitor, StopRequest
from diffrect.profiling import StepProfiler
from diffrect.run_folder import (
    CONFIG_FILE,
    PROFILE_FOLDER,
    SPLIT_FILE,
    check_same_config,
    check_same_task,
    check_start,
    remember_store,
    remove_run,
    start_run,
)
from diffrect.validation import validate

# What going on needs of a checkpoint besides what predicting needs.
TRAINING_STATE = {"best", "last_dice", "split", "optimizers"}


class Trainer:
    """Everything that one training holds: networks, optimisers, data and progress."""

    def __init__(self, store: Store, run: Path, config: TrainConfig, split: Split) -> None:
        self.store, self.run, self.config, self.split = store, run, config, split
        self.profiler: StepProfiler | None = None
        resolved = resolve(config)
        self.views: ViewOptions = resolved.view_options
        self.task = Task(store.channels, store.classes, store.intensity, store.axis)
        self.fabric = make_fabric(config)
        self.fabric.launch()
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
        self.dtype = DTYPES.get(config.precision, torch.float32)
        self.method: Method = method.to(self.fabric.device, self.dtype)
        # the layout in which convolutions run fastest, see docs/benchmarks
        self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers: dict[str, Optimizer] = {
            name: cast(Optimizer, self.fabric.setup_optimizers(optimizer))
            for name, optimizer in self.method.optimizers().items()
        }
        self.step = 0
        self.best = -math.inf
        self.last_dice = math.nan

    # ---- one iteration ------------------------------------------------------------------------

    def iteration(self, raw: RawBatch) -> dict[str, float]:
        """Views, updates and optimiser steps of iteration `self.step`; returns its losses."""
        seed_everything(self.config.seed, self.fabric.global_rank, self.step)
        batch = self.make_batch(raw.to(self.fabric.device))
        self.method.train()
        self.method.set_rates(self.optimizers, self.step)
        logs: dict[str, Any] = {}
        updates = self.method.updates(batch, self.step)
        while True:
            with self.fabric.autocast():
                update = next(updates, None)
            if update is None:
                break
            self.check_finite(update.loss, update.name, raw)
            optimizer = self.optimizers[update.name]
            optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(update.loss)
            average_gradients(self.fabric, optimizer)
            optimizer.step()
            logs |= update.logs
        average_statistics(self.fabric, self.method)
        self.method.after_step(self.step)
        self.step += 1
        return logs

    def make_batch(self, raw: RawBatch) -> Batch:
        """The views of a batch of slices that the method reads, on the device."""
        return make_batch(raw, self.config.side, self.views, self.dtype, self.method.strong_views)

    def check_finite(self, loss: Tensor, name: str, raw: RawBatch) -> None:
        """Stops at the first loss that is not a number."""
        if not torch.isfinite(loss):
            cases = ", ".join(dict.fromkeys(raw.cases))
            raise InputError(
                f"{self.run}: the {name} loss became {loss.item()} at iteration {self.step} "
                f"(cases {cases}); try a lower --learning-rate or --precision 32-true"
            )

    # ---- state --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that going on needs: tensors and plain values."""
        return {
            "step": self.step,
            "best": self.best,
            "last_dice": self.last_dice,
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

    def save(self, name: str) -> None:
        """Writes the checkpoint called `name`, on the first process only."""
        if self.fabric.is_global_zero:
            save_checkpoint(self.state(), checkpoint_path(self.run, name))

    # ---- the loop -----------------------------------------------------------------------------

    def fit(self, monitor: Monitor, stop: StopRequest) -> None:
        """Runs to the last iteration, or until a stop is asked for; saves either way."""
        config = self.config
        for raw in iterate(self.batches, self.step, config.iterations, config.workers):
            with memory_explained(config, self.fabric):
                logs = self.iteration(raw)
            if self.profiler is not None:
                self.profiler.step()
            monitor.iteration(self.step, logs, self.last_dice)
            if self.step % config.validation_interval == 0 or self.step == config.iterations:
                self.validate(monitor)
            if any_process(self.fabric, stop.requested) and self.step < config.iterations:
                self.save("last")
                raise KeyboardInterrupt(
                    f"stopped after iteration {self.step} of {config.iterations}; go on with: "
                    f"diffrect train {self.store.path} {self.run} --resume"
                )
        monitor.finish(self.step)

    def validate(self, monitor: Monitor) -> None:
        """Scores the predictor on the validation patients and keeps the best checkpoint."""
        scores = validate(
            self.method.predictor,
            self.store,
            self.split.val,
            self.config.side,
            self.views.interpolation,
            self.fabric,
            self.config.spacing,
        )
        self.last_dice = scores["dice"]
        better = self.last_dice > self.best
        if better:
            self.best = self.last_dice
        monitor.validation(self.step, scores, self.best)
        if better:
            self.save("best")
        self.save("last")


def train(
    store: Path | str,
    run: Path | str,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    profile: bool = False,
) -> Path:
    """Trains a method on a prepared store and writes everything into the folder `run`.

    Args:
        store: folder made by `prepare`.
        run: folder to write: configuration, split, metrics, checkpoints.
        config: what to train; the defaults train DiffRect as on ACDC.
        resume: go on from the last checkpoint of `run` (start where there is none).
        overwrite: replace an existing `run`.
        progress: show a progress bar and one line per validation.
        profile: record the first iterations and print where their time and memory go.

    Returns:
        The folder `run`.

    Raises:
        InputError: something given is wrong; nothing is left half-written.
        KeyboardInterrupt: a stop was asked for; the state is saved.
    """
    opened, run, config = Store(store), Path(run), config or TrainConfig()
    if resume and overwrite:
        raise InputError("--overwrite and --resume: expected one of them, got both")
    for case in opened.cases:
        opened.zoom(case, config.spacing)  # refuses a case without spacing, if one is needed
    last = checkpoint_path(run, "last")
    resuming = resume and last.is_file()
    if resuming:
        state = load_training(last, opened)
        split = Split.from_dict(state["split"])
        check_split(split, opened, str(run / SPLIT_FILE))
        check_same_training(run, config, opened, split)
        full = replace(config, options=state["config"]["options"])
    else:
        full = complete(config)
        split = resolve_split(
            opened, split_file=config.split_file, labelled=config.labelled, seed=config.seed
        )
        check_start(run, resume=resume, overwrite=overwrite)
    trainer = Trainer(opened, run, full, split)
    if resuming:
        trainer.load(state)
    if trainer.fabric.is_global_zero:
        if not resuming:
            start_run(run, config, full.options, split)
        remember_store(run, opened)
    trainer.fabric.barrier()
    monitor = Monitor(run, config.iterations, trainer.step, progress, trainer.fabric)
    try:
        with monitor, StopRequest() as stop, ExitStack() as extras:
            if profile and trainer.fabric.is_global_zero:
                profiler = StepProfiler(run / PROFILE_FOLDER, trainer.fabric.device)
                trainer.profiler = extras.enter_context(profiler)
            trainer.fit(monitor, stop)
    except InputError:
        # Without a checkpoint there is nothing to go on from: nothing is left half-written.
        if trainer.fabric.is_global_zero and not last.is_file():
            remove_run(run)
        raise
    return run


def check_same_training(run: Path, config: TrainConfig, store: Store, split: Split) -> None:
    """A run is resumed with the options and the patients it was started with.

    The split file may have moved; one that is named anew has to hold the same patients.

    Raises:
        InputError: an option differs that changes what is computed.
    """
    saved = read_config(run / CONFIG_FILE)
    check_same_config(saved, config, run)
    if (saved.split_file, saved.labelled) != (config.split_file, config.labelled):
        given = resolve_split(
            store, split_file=config.split_file, labelled=config.labelled, seed=config.seed
        )
        if given != split:
            raise InputError(
                f"{run}: --resume expected the patients of {run / SPLIT_FILE}, "
                "--labelled or --split-file names others"
            )


def load_training(path: Path, store: Store) -> dict[str, Any]:
    """The checkpoint to go on from, checked against the store.

    Raises:
        InputError: not a checkpoint of a training, or of one on another kind of store.
    """
    state = load_checkpoint(path)
    if not state.keys() >= TRAINING_STATE:
        raise InputError(f"{path}: expected the checkpoint of a training, it lacks its entries")
    check_same_task(state["task"], store, path)
    return state


def seed_everything(seed: int, rank: int, step: int) -> None:
    """Makes all random draws of an iteration a function of (seed, rank, step)."""
    state = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
