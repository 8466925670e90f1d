"""Reports a training: to its log, to the loggers that were asked for, and to the terminal."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from diffrect.config import TrainConfig
from diffrect.console import warn
from diffrect.runs.log import Log, has_ended, last_value
from diffrect.runs.names import LOG_FILE
from diffrect.training.bar import Bar
from diffrect.training.forecast import Forecast
from diffrect.training.loggers.loggers import Loggers
from diffrect.training.loggers.memory import remember_sent
from diffrect.training.loggers.opening import open_loggers
from diffrect.training.meter import Meter, peak_memory_mib

LOG_EVERY = 10


class Monitor:
    """Reports a training on its first process, and nothing on the others.

    Args:
        run: folder of the log.
        config: length of the training, and which loggers it has.
        first: iterations done by earlier sessions.
        progress: whether to show a bar and one line per validation.
        fabric: knows whether this is the first process.
        forecast: says how long the training will take, once that is known.
    """

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        first: int,
        progress: bool,
        fabric: Fabric,
        forecast: Forecast,
    ) -> None:
        self.forecast = forecast
        self.active = fabric.is_global_zero
        self.iterations, self.first = config.iterations, first
        self.path = run / LOG_FILE
        self.bar = Bar(config.iterations, first, shown=progress and self.active)
        self.meter = Meter()
        self.log: Log | None = None
        self.loggers = Loggers([])
        if self.active:
            if first:
                remember_sent(run)
            self.log = Log(self.path, first)
            minutes = last_value(self.path, "minutes")
            self.meter = Meter(
                minutes or 0.0, last_value(self.path, "processor_minutes") if minutes else 0.0
            )
            try:
                self.loggers = open_loggers(config, run, first)
            except BaseException:
                self.log.close()
                raise

    def __enter__(self) -> "Monitor":
        self.bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.__exit__(kind, error, trace)
        # If the disk is full, emptying a buffer fails once more; `error` has said so already.
        with contextlib.suppress(OSError) if error else contextlib.nullcontext():
            if self.log is not None:
                self.log.close()
        with contextlib.suppress(OSError) if error else contextlib.nullcontext():
            stopped = isinstance(error, KeyboardInterrupt)
            self.loggers.close("aborted" if stopped else "failed" if error else "success")

    def remark(self, lines: Sequence[str]) -> None:
        """Report what the method says before the first iteration, once in the log."""
        if self.log is None or self.first:
            return
        for line in lines:
            self.log.append({"kind": "remark", "step": 0, "text": line})
            self.bar.remark(line)

    def is_logged(self, step: int) -> bool:
        """Return whether the losses are reported when `step` iterations are done."""
        return step % LOG_EVERY == 0 or step == self.iterations

    def iteration(
        self, step: int, logs: Mapping[str, Tensor | float], validation_dice: float
    ) -> None:
        """Report the losses of an iteration; `step` iterations are done."""
        if not self.active:
            return
        seconds = self.meter.seconds / (step - self.first)
        losses = {name: float(value) for name, value in logs.items()}
        cost = {"seconds_per_iteration": seconds, **self.meter.spent()}
        self._write("train", step, {**losses, **cost})
        self.bar.iteration(step, losses, seconds, validation_dice)
        for line in self.forecast.lines(step, self.meter.training_seconds / (step - self.first)):
            self.bar.remark(line)

    def validation_begins(self) -> None:
        """Note the start of a validation, whose time is not part of an iteration's."""
        self.meter.validation_begins()

    def validating(self, case: int, cases: int) -> None:
        """Show that a validation has come to a case, numbered from 1."""
        self.bar.validating(case, cases)

    def validation(
        self,
        step: int,
        scores: Mapping[str, float],
        best: float,
        pictures: Mapping[str, np.ndarray],
    ) -> None:
        """Report the Dice of a validation, and the highest so far.

        Args:
            step: iterations done.
            scores: the Dice, see `validate`.
            best: the highest mean Dice so far.
            pictures: RGB (H, W, 3) uint8, by name.
        """
        if not self.active:
            return
        self.loggers.pictures(step, pictures)
        self.meter.validation_ends()
        self._write("val", step, {**scores, "best_dice": best, **self.meter.spent()})
        self.bar.validation(step, scores, best, self.meter.seconds / 60)

    def skipped(self, step: int, message: str, cases: Sequence[str]) -> None:
        """Report an iteration that was skipped because its numbers were not finite."""
        if self.log is not None:
            self.log.append({"kind": "skipped", "step": step, "cases": list(dict.fromkeys(cases))})
            warn(f"{message}; skipped")

    def finish(self, step: int) -> None:
        """Report what the training cost, after its last iteration.

        Minutes, by the clock and by the processor, are those of all sessions that led here; the
        seconds per iteration, without validations, and the memory are those of the last session.
        """
        if not self.active or (step == self.first and has_ended(self.path, step)):
            return
        training = self.meter.training_seconds
        cost = {**self.meter.spent(), "peak_memory_mib": peak_memory_mib()}
        if step > self.first:
            cost["seconds_per_iteration"] = training / (step - self.first)
        self._write("end", step, cost)

    def sync(self) -> None:
        """Make the log as durable as the checkpoint that is saved next."""
        if self.log is not None:
            self.log.sync()

    def _write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Write one line of the log, and the same numbers for the loggers."""
        assert self.log is not None
        finite = {n: v if math.isfinite(v) else None for n, v in values.items()}
        self.log.append({"kind": kind, "step": step, **finite})
        self.loggers.numbers(kind, step, values)
