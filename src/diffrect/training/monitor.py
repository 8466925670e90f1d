"""What a user sees of a training: progress bar, metrics.jsonl, TensorBoard; and how to stop it."""

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from diffrect.atomic import naming
from diffrect.runs.folder import METRICS_FILE, TENSORBOARD_FOLDER
from diffrect.runs.log import has_ended, reopen_metrics

LOG_EVERY = 10


class Monitor:
    """Reports a training on its first process; silent on the others."""

    def __init__(
        self, run: Path, iterations: int, first: int, progress: bool, fabric: Fabric
    ) -> None:
        self.active = fabric.is_global_zero
        self.iterations, self.first = iterations, first
        self.console = Console(stderr=True, quiet=not (progress and self.active))
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=2,
            disable=not self.console.is_terminal,  # a log file gets the validations' lines alone
        )
        self.task = self.bar.add_task("training", total=iterations, completed=first, status="")
        self.started = self.validation_started = time.perf_counter()
        self.validating = 0.0  # seconds
        self.processor_started = time.process_time()
        # of earlier sessions of this training
        self.minutes_before: float = 0.0
        self.processor_minutes_before: float | None = 0.0
        self.file: IO[str] | None = None
        self.board: SummaryWriter | None = None
        self.path = run / METRICS_FILE
        if self.active:
            self.file = reopen_metrics(self.path, first)
            self.minutes_before = last_value(self.path, "minutes") or 0.0
            known = last_value(self.path, "processor_minutes")
            # a training that was begun before this was counted never tells it
            self.processor_minutes_before = known if self.minutes_before else 0.0
            # what the file keeps, TensorBoard keeps: all up to `first`
            purge = first + 1 if first else None
            with naming(run / TENSORBOARD_FOLDER):
                self.board = SummaryWriter(str(run / TENSORBOARD_FOLDER), purge_step=purge)

    def is_logged(self, step: int) -> bool:
        """Whether the losses are reported when `step` iterations are done."""
        return step % LOG_EVERY == 0 or step == self.iterations

    def iteration(
        self, step: int, logs: Mapping[str, Tensor | float], validation_dice: float
    ) -> None:
        """Called after every iteration that is logged; `step` iterations are done."""
        if not self.active:
            return
        seconds = (time.perf_counter() - self.started) / (step - self.first)
        values = {name: float(value) for name, value in logs.items()}
        cost = {"seconds_per_iteration": seconds, **self.spent()}
        self.write("train", step, {**values, **cost})
        losses = " ".join(f"{n} {v:.3f}" for n, v in values.items() if n in SHOWN)
        dice = "" if math.isnan(validation_dice) else f" · val Dice {100 * validation_dice:.1f}"
        status = f"{losses} · {seconds:.2f} s/it{dice}"
        self.bar.update(self.task, completed=step, status=status)

    def validation_begins(self) -> None:
        """Called before a validation, whose time is no part of an iteration's."""
        self.validation_started = time.perf_counter()

    def validation(self, step: int, scores: Mapping[str, float], best: float) -> None:
        """Called after every validation."""
        if not self.active:
            return
        self.validating += time.perf_counter() - self.validation_started
        self.write("val", step, {**scores, "best_dice": best, **self.spent()})
        minutes = (time.perf_counter() - self.started) / 60
        classes = ", ".join(
            f"{n.removeprefix('dice_')} {100 * v:.1f}" for n, v in scores.items() if n != "dice"
        )
        self.console.print(
            f"iteration {step} of {self.iterations}: validation Dice {100 * scores['dice']:.2f} "
            f"({classes}), best {100 * best:.2f}, {minutes:.1f} min",
            highlight=False,
            soft_wrap=True,
            markup=False,  # class names are anybody's
        )

    def skipped(self, step: int, message: str, cases: Sequence[str]) -> None:
        """Called for every iteration that was skipped because its numbers were not finite."""
        if not self.active:
            return
        self.append({"kind": "skipped", "step": step, "cases": list(dict.fromkeys(cases))})
        print(f"diffrect: {message}; skipped", file=sys.stderr)

    def finish(self, step: int) -> None:
        """Called after the last iteration: what the training cost.

        Minutes, of the wall clock and of the processor, are those of all sessions that led here;
        the seconds per iteration, validation left out, and the memory are those of the last.
        """
        if not self.active or (step == self.first and has_ended(self.path, step)):
            return
        training = time.perf_counter() - self.started - self.validating
        cost = {**self.spent(), "peak_memory_mib": peak_memory_mib()}
        if step > self.first:
            cost["seconds_per_iteration"] = training / (step - self.first)
        self.write("end", step, cost)

    def spent(self) -> dict[str, float]:
        """What the training took so far, earlier sessions included: wall and processor minutes.

        The latter are those that the threads of this process computed, so that other work on the
        machine, or a halt, hardly changes them.
        """
        spent = {"minutes": self.minutes_before + (time.perf_counter() - self.started) / 60}
        if self.processor_minutes_before is not None:
            processor = (time.process_time() - self.processor_started) / 60
            spent["processor_minutes"] = self.processor_minutes_before + processor
        return spent

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics.jsonl and the same numbers for TensorBoard."""
        assert self.board is not None
        finite = {n: v if math.isfinite(v) else None for n, v in values.items()}
        line: dict[str, Any] = {"kind": kind, "step": step, **finite}
        self.append(line)
        with naming(self.path.with_name(TENSORBOARD_FOLDER)):
            for name, value in values.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def append(self, line: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl."""
        assert self.file is not None
        with naming(self.path):
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def sync(self) -> None:
        """Called before a checkpoint is saved, which must not outlive the lines before it."""
        if self.file is not None:
            with naming(self.path):
                os.fsync(self.file.fileno())

    def __enter__(self) -> "Monitor":
        self.bar.start()
        # TensorBoard writes in a thread of its own; what it cannot write is told by `write`.
        self.before, threading.excepthook = threading.excepthook, self.leave_to_writer
        return self

    def leave_to_writer(self, arguments: threading.ExceptHookArgs) -> None:
        """Keeps the traceback of a full disk off the screen."""
        if not isinstance(arguments.exc_value, OSError):
            self.before(arguments)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        threading.excepthook = self.before
        # What is left in a buffer when the disk is full says nothing that `error` has not said.
        quietly = contextlib.suppress(OSError) if error else contextlib.nullcontext()
        if self.file is not None:
            with quietly:
                self.file.close()
        if self.board is not None:
            with quietly:
                self.board.close()


def peak_memory_mib() -> float:
    """Most memory that was in use at a time: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


SHOWN = {"supervised", "unsupervised", "rectifier_total", "rectification"}


def last_value(path: Path, name: str) -> float | None:
    """The number called `name` in the last line of a metrics.jsonl that has it."""
    lines = map(json.loads, reversed(path.read_text("utf-8").splitlines()))
    return next((float(line[name]) for line in lines if line.get(name)), None)


class StopRequest:
    """Ctrl-C and SIGTERM ask for a stop after the iteration; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self.handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
