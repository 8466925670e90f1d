"""How long cells will take: by finished cells of the same variant, else by a few timed steps."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from diffrect.comparison.cell import Task, cell_state, steps_done
from diffrect.comparison.locks import lock_owner
from diffrect.comparison.matrix import Cell
from diffrect.config import TrainConfig
from diffrect.data.choose_split import resolve_split
from diffrect.data.loader import iterate
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.json_files import read_json
from diffrect.methods.registry import complete
from diffrect.runs.names import CELL_FILE
from diffrect.training.train import Trainer
from diffrect.training.validation import validate

TIMED_STEPS = 3
TIMED_PATIENTS = 2


@dataclass(frozen=True)
class Plan:
    """A cell as `--dry-run` lists it.

    Attributes:
        cell: the cell.
        state: such as "new", "iteration 500 of 4000", "finished" or "taken by ...".
        minutes: what is left to do, 0 of a finished cell.
        source: where the minutes come from.
    """

    cell: Cell
    state: str
    minutes: float
    source: str


def plan(cells: Sequence[Cell], task: Task) -> list[Plan]:
    """What is left to do of each cell, and how long it may take.

    By the minutes of finished cells of the same variant in the folder, whose protocol is the same;
    where there is none, by a few steps.
    """
    known = finished_minutes(Path(task.folder))
    timed: dict[str, float] = {}
    plans = []
    for cell in cells:
        run = Path(task.folder) / cell.folder
        state = cell_state(run, task)
        if state == "finished":
            plans.append(Plan(cell, state, 0.0, "is done"))
            continue
        if cell.name in known:
            minutes, source = known[cell.name], "finished cells"
        else:
            if cell.name not in timed:
                timed[cell.name] = timed_minutes(cell.config, Store(task.store))
            minutes, source = timed[cell.name], f"{TIMED_STEPS} timed steps"
        done, total = steps_done(run), cell.config.iterations
        begun = f"iteration {done} of {total}" if state == "started" else state
        owner = lock_owner(Path(task.folder), cell.folder)
        plans.append(Plan(cell, owner or begun, minutes * (1 - done / total), source))
    return plans


def print_plan(plans: Sequence[Plan], console: Console | None = None) -> None:
    """The cells and the time they may take, on stdout."""
    table = Table(title=f"{len(plans)} cell{'' if len(plans) == 1 else 's'}")
    for name in ("cell", "state", "minutes left", "known from"):
        right = name == "minutes left"
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for each in plans:
        table.add_row(each.cell.folder, each.state, f"{each.minutes:.1f}", each.source)
    console = console or Console(highlight=False, soft_wrap=True)
    console.print(table)
    left = sum(each.minutes for each in plans)
    console.print(f"about {left:.0f} minutes ({left / 60:.1f} hours) one after another")


def finished_minutes(folder: Path) -> Mapping[str, float]:
    """Mean minutes of a folder's finished cells, by variant."""
    minutes: dict[str, list[float]] = {}
    for file in folder.glob(f"*/{CELL_FILE}"):
        cell = read_json(file)
        spent = cell.get("cost", {}).get("minutes")
        if spent:
            minutes.setdefault(cell["name"], []).append(spent)
    return {name: sum(values) / len(values) for name, values in minutes.items()}


def timed_minutes(config: TrainConfig, store: Store) -> float:
    """Minutes of a training by its last iterations and the validation of a few patients.

    The last iterations are those with all of a method's updates, so the estimate is rather high.
    Several devices count as one, because each has its own batches. Nothing is written.
    """
    config = replace(complete(config), devices=1)
    split = resolve_split(
        store, split_file=config.split_file, labelled=config.labelled, seed=config.seed
    )
    trainer = Trainer(store, Path("estimate"), config, split)
    first = max(0, config.iterations - TIMED_STEPS - 1)
    times = []
    trainer.step = first
    for raw in iterate(trainer.batches, first, config.iterations, 0):
        times.append(_timed(partial(trainer.iteration, raw)))
    step = min(times)  # the first warms up, and others may be disturbed
    seconds = config.iterations * step
    seconds += math.ceil(config.iterations / config.validation_interval) * _validation(trainer)
    return seconds / 60


def _validation(trainer: Trainer) -> float:
    """Seconds of one validation."""
    split: Split = trainer.split
    few = split.val[:TIMED_PATIENTS]

    def validate_few() -> object:
        return validate(trainer.segmenter, trainer.store, few, trainer.fabric)

    return _timed(validate_few) * len(split.val) / len(few)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
