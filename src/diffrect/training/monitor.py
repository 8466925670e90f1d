"""Reports a training: to the log, to TensorBoard and to the terminal."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lightning_fabric import Fabric
from torch import Tensor

from diffrect.console import warn
from diffrect.runs.log import Log, has_ended, last_value
from diffrect.runs.names import LOG_FILE, TENSORBOARD_FOLDER
from diffrect.training.bar import Bar
from diffrect.training.board import Board
from diffrect.training.forecast import Forecast
from diffrect.training.meter import Meter, peak_memory_mib

LOG_EVERY = 10


class Monitor:
    """Reports a training on its first process, and nothing on the others.

    Args:
        run: folder of the log and of TensorBoard's files.
        iterations: length of the training.
        first: iterations done by earlier sessions.
        progress: whether to show a bar and one line per validation.
        fabric: knows whether this is the first process.
        forecast: says how long the training will take, once that is known.
    """

    def __init__(
        self,
        run: Path,
        iterations: int,
        first: int,
        progress: bool,
        fabric: Fabric,
        forecast: Forecast,
    ) -> None:
        self.forecast = forecast
        self.active = fabric.is_global_zero
        self.iterations, self.first = iterations, first
        self.path = run / LOG_FILE
        self.bar = Bar(iterations, first, shown=progress and self.active)
        self.meter = Meter()
        self.log: Log | None = None
        self.board: Board | None = None
        if self.active:
            self.log = Log(self.path, first)
            minutes = last_value(self.path, "minutes")
            self.meter = Meter(
                minutes or 0.0, last_value(self.path, "processor_minutes") if minutes else 0.0
            )
            self.board = Board(run / TENSORBOARD_FOLDER, first)

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
        for file in (self.log, self.board):
            with contextlib.suppress(OSError) if error else contextlib.nullcontext():
                if file is not None:
                    file.close()

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

    def validation(self, step: int, scores: Mapping[str, float], best: float) -> None:
        """Report the Dice of a validation, and the highest so far."""
        if not self.active:
            return
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
        """Write one line of the log, and the same numbers for TensorBoard."""
        assert self.log is not None
        assert self.board is not None
        finite = {n: v if math.isfinite(v) else None for n, v in values.items()}
        self.log.append({"kind": kind, "step": step, **finite})
        self.board.write(kind, step, values)
