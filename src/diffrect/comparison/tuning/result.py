"""What a tuning has found: the frozen variants, every trial, and a page of both."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from diffrect.atomic import write_atomic
from diffrect.comparison.tuning.space import RATE
from diffrect.comparison.tuning.trials import Trial
from diffrect.config import TrainConfig
from diffrect.console import count, plain, stdout_console, visible
from diffrect.data.split import Split
from diffrect.evaluation.markup import markdown_text
from diffrect.text_files import csv_text

VARIANTS_FILE, TRIALS_FILE, PAGE = "tuned.yaml", "trials.csv", "tuning.md"


@dataclass(frozen=True)
class TunedMethod:
    """The trials of a method.

    Attributes:
        config: its training, without tuned values.
        trials: all trials, the first with the method's own settings.
    """

    config: TrainConfig
    trials: Sequence[Trial]

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.config.method

    @property
    def best(self) -> Trial | None:
        """The trial with the highest Dice, the earliest of equal ones; None if none has a score."""
        scored = [trial for trial in self.trials if trial.dice is not None]
        return max(scored, key=lambda trial: trial.dice or 0.0, default=None)

    @property
    def own(self) -> Trial | None:
        """The trial with the method's own settings; None if it has no score."""
        first = self.trials[0] if self.trials else None
        return None if first is None or first.dice is None else first

    @property
    def minutes(self) -> float:
        """Processor minutes of all trials."""
        return sum(trial.cost.processor_minutes or 0.0 for trial in self.trials)


@dataclass(frozen=True)
class Tuning:
    """The result of `tune`.

    Attributes:
        split: the patients of the trials; `val` are those that judged.
        methods: the methods, in the order in which they were named.
    """

    split: Split
    methods: Sequence[TunedMethod]

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """The best settings of each method as variants of `compare`, by METHOD-tuned."""
        return {
            f"{tuned.name.rpartition(':')[2]}-tuned": _variant(tuned, tuned.best)
            for tuned in self.methods
            if tuned.best is not None
        }


def write_result(folder: Path, tuning: Tuning) -> None:
    """Write tuned.yaml, trials.csv and tuning.md."""
    text = io.StringIO()
    text.write("# The best settings of each method on held-out training patients, for\n")
    text.write("# diffrect compare STORE FOLDER --variants tuned.yaml\n")
    yaml.safe_dump(tuning.variants, text, sort_keys=False, allow_unicode=False)
    write_atomic(folder / VARIANTS_FILE, text.getvalue())
    write_atomic(folder / TRIALS_FILE, _csv(tuning))
    write_atomic(folder / PAGE, _page(tuning))


def _variant(tuned: TunedMethod, best: Trial) -> dict[str, Any]:
    options = {**tuned.config.options, **best.values}
    rate = options.pop(RATE, tuned.config.learning_rate)
    variant: dict[str, Any] = {"method": tuned.name, "preset": tuned.config.preset}
    return {**variant, "learning_rate": rate, "options": options}


def _csv(tuning: Tuning) -> str:
    """Return one line per trial, the tuned settings as columns of their own."""
    names = sorted({n for t in tuning.methods for trial in t.trials for n in trial.values})
    head = ["method", "trial", "dice", "step", "processor_minutes", "failed", *names]
    rows = []
    for tuned in tuning.methods:
        for trial in tuned.trials:
            dice = "" if trial.dice is None else trial.dice
            minutes = trial.cost.processor_minutes
            facts = (tuned.name, trial.number, dice, trial.step, "" if minutes is None else minutes)
            values = (trial.values.get(name, "") for name in names)
            rows.append((*facts, trial.failed, *values))
    return csv_text(head, rows)


def _page(tuning: Tuning) -> str:
    patients = len(tuning.split.val)
    head, *rows = summary(tuning)
    aligned = ["---", *["---:"] * (len(head) - 2), "---"]
    table = [f"| {' | '.join(map(markdown_text, row))} |" for row in (head, *rows)]
    lines = [
        "# Tuning",
        "",
        f"Mean Dice in per cent on {count(patients, 'training patient')} that no trial trained on; "
        "validation and test patients were not looked at. The highest of several trials is a "
        "choice, not a result: what the settings are worth, other patients say.",
        "",
        table[0],
        f"| {' | '.join(aligned)} |",
        *table[1:],
        "",
        f"Held out: {markdown_text(', '.join(tuning.split.val))}.",
        "",
    ]
    return "\n".join(lines)


def summary(tuning: Tuning) -> list[tuple[str, ...]]:
    """Return the table of a tuning, one row per method below a heading."""
    heading = ("method", "own settings", "best", "trials", "processor minutes", "best settings")
    rows: list[tuple[str, ...]] = [heading]
    for tuned in tuning.methods:
        values = {} if tuned.best is None else tuned.best.values
        rows.append(
            (
                *(tuned.name, _percent(tuned.own), _percent(tuned.best), str(len(tuned.trials))),
                f"{tuned.minutes:.1f}",
                ", ".join(f"{name} {_short(value)}" for name, value in values.items()),
            )
        )
    return rows


def print_summary(folder: Path, tuning: Tuning) -> None:
    """Print the table of a tuning, and where its files are."""
    console = stdout_console(soft_wrap=True)
    table = Table(title=plain("Dice on held-out training patients, in per cent"))
    head, *rows = summary(tuning)
    for name in head:
        table.add_column(
            plain(name), justify="left" if name in _TEXTS else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table)
    console.print(visible(f"{folder / PAGE}, {folder / TRIALS_FILE}"), markup=False)


_TEXTS = ("method", "best settings")


def _percent(trial: Trial | None) -> str:
    return "–" if trial is None or trial.dice is None else f"{100 * trial.dice:.2f}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
