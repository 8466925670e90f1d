"""What a user sees while a training runs: a progress bar, and one line per validation."""

import math
from collections.abc import Mapping
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffrect.console import stderr_console

SHOWN = {"supervised", "unsupervised", "rectifier_total", "rectification"}  # losses in the bar


class Bar:
    """A progress bar on stderr while the context lasts; a log file gets only the lines."""

    def __init__(self, iterations: int, first: int, shown: bool) -> None:
        self.iterations = iterations
        self.console = stderr_console(quiet=not shown)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=2,
            disable=not self.console.is_terminal,
        )
        self.losses, self.dice = "", math.nan
        self.task = self.progress.add_task("training", total=iterations, completed=first, status="")

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def remark(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line)

    def iteration(
        self, step: int, losses: Mapping[str, float], seconds: float, validation_dice: float
    ) -> None:
        """Show that `step` iterations are done.

        Args:
            step: iterations done.
            losses: by name; those in `SHOWN` appear.
            seconds: per iteration.
            validation_dice: of the last validation, in [0, 1]; NaN before the first.
        """
        shown = " ".join(f"{n} {v:.3f}" for n, v in losses.items() if n in SHOWN)
        self.losses, self.dice = f"{shown} · {seconds:.2f} s/it", validation_dice
        self.progress.update(self.task, completed=step, status=self.status)

    @property
    def status(self) -> str:
        """What stands beside the bar: losses, the time of an iteration, the last Dice."""
        dice = "" if math.isnan(self.dice) else f"val Dice {_percent(self.dice, 2)}"
        return " · ".join(part for part in (self.losses, dice) if part)

    def validating(self, case: int, cases: int) -> None:
        """Show that a validation is at a case, counted from 1, of several."""
        self.progress.update(self.task, status=f"validating, case {case} of {cases}")

    def validation(
        self, step: int, scores: Mapping[str, float], best: float, minutes: float
    ) -> None:
        """Print the Dice of a validation; if nobody validates, only that the state is saved.

        Args:
            step: iterations done.
            scores: "dice" and "dice_CLASS" per class, in [0, 1]; NaN where undefined. Without any
                class, nobody validates.
            best: highest Dice so far, in [0, 1]; -inf if there is nothing to choose by.
            minutes: since this session of the training began.
        """
        self.dice = scores["dice"]
        self.progress.update(self.task, completed=step, status=self.status)
        where, spent = f"iteration {step} of {self.iterations}", f"{minutes:.1f} min"
        if scores.keys() == {"dice"}:
            self.console.print(f"{where}: saved, {spent}")
            return
        classes = ", ".join(
            f"{n.removeprefix('dice_')} {_percent(v, 1)}" for n, v in scores.items() if n != "dice"
        )
        chosen = f"best {_percent(best, 2)}" if math.isfinite(best) else "the last is the best"
        self.console.print(
            f"{where}: validation Dice {_percent(scores['dice'], 2)} ({classes}), {chosen}, {spent}"
        )


def _percent(value: float, decimals: int) -> str:
    return "undefined" if math.isnan(value) else f"{100 * value:.{decimals}f}"
