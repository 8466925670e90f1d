"""Resuming a training: what a checkpoint remembers of it, and whether it is the same training."""

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrect.config import (
    Role,
    TrainConfig,
    config_from_dict,
    config_to_dict,
    names_with,
    read_config,
)
from diffrect.console import warn
from diffrect.data.choose_split import split_of
from diffrect.data.fields import Fields
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.runs.checkpoint import DamagedCheckpointError, checkpoint_path, load_checkpoint
from diffrect.runs.folder import check_same_config, check_same_task
from diffrect.runs.names import BEST, CONFIG_FILE, LAST, PREVIOUS, SPLIT_FILE

# Checkpoints to resume from; the first that is whole is taken. In version 0.1.0 the best one, too,
# held all of a training.
_CANDIDATES = (LAST, PREVIOUS, BEST)


@dataclass(frozen=True)
class TrainingState:
    """Everything needed to resume a training, as tensors and plain values.

    Attributes:
        step: iterations done.
        best: the highest Dice of a validation so far, in [0, 1]; -inf before the first that
            is defined.
        last_dice: the Dice of the last validation; NaN before the first, or if it is undefined.
        validated: iterations done at the last validation.
        skipped: iterations left out because a loss or gradient was not finite.
        overflows: optimiser steps that the loss scaler of precision 16-mixed left out.
        config: the configuration, its options complete.
        task: what is segmented.
        split: the patients.
        method: state dict of the method, with all its networks.
        optimizers: state dict of each optimiser, by name.
        loss_scale: state dict of the loss scaler; empty in precisions that have none.
        carried: numbers of earlier iterations that the log repeats, see `Method.carried`.
        path: the checkpoint that it comes from, for messages.
        statistics: batch norm's statistics with which the predictor predicts, by their names in it;
            empty where these are the ones it has in training.
        best_step: iterations done when the best checkpoint was made; None before, and in older
            checkpoints.
        predicts: name of the network that predicts within the method; None in older checkpoints,
            and if only the method can tell.
        network: the kind of that network, see `architecture.describe`.
        code: version and commit of the code that trains; empty in older checkpoints.
        average: state dict of the segmenter's moving average; empty if none is kept.
        best_others: the highest Dice of what is validated beside the predictor, by the name of its
            checkpoint.
        best_steps: iterations done when that checkpoint was made.
    """

    step: int
    best: float
    last_dice: float
    validated: int
    skipped: int
    overflows: int
    config: TrainConfig
    task: Task
    split: Split
    method: Mapping[str, Any]
    optimizers: Mapping[str, Mapping[str, Any]]
    loss_scale: Mapping[str, Any]
    carried: Mapping[str, float]
    statistics: Mapping[str, Any]
    best_step: int | None = None
    predicts: str | None = None
    network: Mapping[str, Any] | None = None
    code: Mapping[str, Any] = field(default_factory=dict)
    average: Mapping[str, Any] = field(default_factory=dict)
    best_others: Mapping[str, float] = field(default_factory=dict)
    best_steps: Mapping[str, int] = field(default_factory=dict)
    path: Path = field(default=Path("checkpoint"), compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        absent = {name for name in ("predicts", "network") if getattr(self, name) is None}
        return {
            **{n: value for n, value in vars(self).items() if n not in {"path", *absent}},
            "config": config_to_dict(self.config),
            "task": self.task.to_dict(),
            "split": self.split.to_dict(),
        }

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], path: Path = Path("checkpoint")
    ) -> "TrainingState":
        """Return the state that a checkpoint holds; older ones lack some of the numbers.

        Args:
            values: its content.
            path: its file, for messages.

        Raises:
            InputError: the values are not the state of a training; names the entry.
        """
        fields = Fields(values, path)
        try:
            config = config_from_dict(fields.fields("config").values)
        except InputError as error:
            raise error.about(f"{path}: {error.subject}") from None
        step = fields.whole("step", 0, config.iterations)
        best_step = fields.get("best_step", None)
        loss_scale, carried = fields.fields("loss_scale", {}), fields.fields("carried", {})
        for numbers in (loss_scale, carried):
            for name in numbers.values:
                numbers.number(name, -1e30, 1e30, also=math.nan)
        others, steps = fields.fields("best_others", {}), fields.fields("best_steps", {})
        return cls(
            step=step,
            best=fields.number("best", 0, 1, also=-math.inf),
            last_dice=fields.number("last_dice", 0, 1, also=math.nan),
            validated=fields.whole("validated", 0, step, default=step),
            skipped=fields.whole("skipped", 0, default=0),
            overflows=fields.whole("overflows", 0, default=0),
            config=config,
            task=Task.from_dict(fields.fields("task").values, path),
            split=Split.from_fields(fields.fields("split")),
            method=fields.fields("method").values,
            optimizers=fields.fields("optimizers").values,
            loss_scale=loss_scale.values,
            carried=carried.values,
            path=path,
            statistics=fields.fields("statistics", {}).values,
            best_step=None if best_step is None else fields.whole("best_step", 0),
            predicts=fields.text("predicts", "") if "predicts" in values else None,
            network=fields.fields("network").values if "network" in values else None,
            code=fields.fields("code", {}).values,
            average=fields.fields("average", {}).values,
            best_others={name: others.number(name, 0, 1) for name in others.values},
            best_steps={name: steps.whole(name, 0, step) for name in steps.values},
        )


def has_state(run: Path) -> bool:
    """Return whether a training has left a checkpoint."""
    return any(checkpoint_path(run, name).is_file() for name in _CANDIDATES)


def newest_state(run: Path, store: Store, *, tell: bool = True) -> TrainingState:
    """Return the state in the last checkpoint or, if that is damaged, in the one before.

    Args:
        run: the RUN folder.
        store: the store to train on, whose task has to be that of the checkpoint.
        tell: warn if it is not the last one, and remove the damaged file; of several processes
            only one may do that.

    Raises:
        InputError: all are damaged, or one is not a checkpoint of such a training, or there is only
            the model of one.
    """
    last = checkpoint_path(run, LAST)
    present = [p for p in (checkpoint_path(run, n) for n in _CANDIDATES) if p.is_file()]
    first: InputError | None = None
    for path in present:
        try:
            state = load_training(path, store)
        except InputError as error:
            first = first or error
            if path == present[-1] or not isinstance(error, DamagedCheckpointError):
                raise first from None
            continue
        if path != last and tell:
            fault = "is damaged" if last.is_file() else "is not there"
            warn(f"{last} {fault}; resuming from {path}, iteration {state.step}")
            last.unlink(missing_ok=True)  # or it would be kept in the place of the good one
            with contextlib.suppress(OSError):  # a file system without links
                os.link(path, last)  # so that it is kept when the next one is written
        return state
    raise InputError(last, "the checkpoint to resume from", found="no such file")


def load_training(path: Path, store: Store) -> TrainingState:
    """Return the state in a checkpoint, checked against the store.

    Raises:
        InputError: not a checkpoint of a training, or of one on another kind of store.
    """
    content = load_checkpoint(path)
    if "predictor" in content:
        found, hint = "a model, which only predicts", "--overwrite starts the training again"
        raise InputError(path, "the checkpoint of a training", found=found, hint=hint)
    state = TrainingState.from_dict(content, path)
    check_same_task(state.task, store.task, path)
    return state


def check_same_training(run: Path, config: TrainConfig, store: Store, split: Split) -> None:
    """Check that a run is resumed with the options and the patients it was started with.

    The split file may have moved; one that is named anew has to hold the same patients.

    Raises:
        InputError: an option differs that changes the result, or other patients are named.
    """
    saved = read_config(run / CONFIG_FILE)
    written = read_config(run / CONFIG_FILE, as_written=True)
    if config.options == written.options:  # Python gives an earlier run what it was given then
        saved = written
    check_same_config(saved, config, run)
    named_anew = any(getattr(saved, n) != getattr(config, n) for n in names_with(Role.PATIENTS))
    if named_anew and split_of(store, config) != split:
        raise InputError(
            run,
            problem=f"--resume expected the patients of {run / SPLIT_FILE}, "
            "--labelled or --split-file names others",
        )
