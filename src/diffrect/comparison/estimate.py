"""Estimated time of cells: by finished cells of the same variant, else by a few timed steps."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from diffrect.comparison.cell import CellJob, cell_state, steps_done
from diffrect.comparison.cost import cost_from_dict
from diffrect.comparison.locks import lock_owner
from diffrect.comparison.matrix import Cell
from diffrect.config import TrainConfig
from diffrect.console import count, plain, stdout_console
from diffrect.data.choose_split import split_of
from diffrect.data.fields import Fields
from diffrect.data.loader import iterate
from diffrect.data.store import Store
from diffrect.json_files import read_json
from diffrect.methods.registry import complete
from diffrect.runs.names import CELL_FILE
from diffrect.training.interval import with_interval
from diffrect.training.trainer import Trainer
from diffrect.training.validation import validate

TIMED_STEPS = 3
TIMED_SCANS = 4


@dataclass(frozen=True)
class CellEstimate:
    """A cell as `--dry-run` lists it.

    Attributes:
        cell: the cell.
        state: such as "new", "iteration 500 of 4000", "finished" or "taken by ...".
        minutes: how long the rest may take; 0 if the cell is finished.
        source: what the minutes are known from.
    """

    cell: Cell
    state: str
    minutes: float
    source: str


def estimate_cells(cells: Sequence[Cell], job: CellJob) -> list[CellEstimate]:
    """Return the state of each cell, and how long the rest of it may take.

    The estimate is the mean of the finished cells of the same variant in the folder, whose protocol
    is the same; if there is none, a few steps are timed.
    """
    known = finished_minutes(Path(job.folder))
    timed: dict[str, float] = {}
    estimates = []
    for cell in cells:
        run = Path(job.folder) / cell.folder
        state = cell_state(run, job)
        if state == "finished":
            estimates.append(CellEstimate(cell, state, 0.0, "finished"))
            continue
        if cell.name in known:
            minutes, source = known[cell.name], "finished cells"
        else:
            if cell.name not in timed:
                timed[cell.name] = timed_minutes(cell.config, Store(job.store))
            minutes, source = timed[cell.name], f"{TIMED_STEPS} timed steps"
        done, total = steps_done(run), cell.config.iterations
        begun = f"iteration {done} of {total}" if state == "started" else state
        owner = lock_owner(Path(job.folder), cell.folder)
        estimates.append(CellEstimate(cell, owner or begun, minutes * (1 - done / total), source))
    return estimates


def print_estimates(estimates: Sequence[CellEstimate], console: Console | None = None) -> None:
    """Print the cells and the time they may take, on stdout unless a console is given."""
    table = Table(title=count(len(estimates), "cell"))
    for name in ("cell", "state", "minutes left", "known from"):
        right = name == "minutes left"
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for each in estimates:
        texts = (each.cell.folder, each.state, f"{each.minutes:.1f}", each.source)
        table.add_row(*map(plain, texts))
    console = console or stdout_console(soft_wrap=True)
    console.print(table)
    left = sum(each.minutes for each in estimates)
    console.print(f"about {left:.0f} minutes ({left / 60:.1f} hours) one after another")


def finished_minutes(folder: Path) -> Mapping[str, float]:
    """Return the mean minutes of a folder's finished cells, by variant."""
    minutes: dict[str, list[float]] = {}
    for file in folder.glob(f"*/{CELL_FILE}"):
        content = Fields(read_json(file), file)
        spent = cost_from_dict(content.fields("cost", {}).values).minutes
        if spent:
            minutes.setdefault(content.text("name"), []).append(spent)
    return {name: sum(values) / len(values) for name, values in minutes.items()}


def timed_minutes(config: TrainConfig, store: Store) -> float:
    """Return the minutes of a training, by its last iterations and the validation of few patients.

    The last iterations have all of a method's updates, so the estimate is rather high. Several
    devices count as one, because each has batches of its own. Nothing is written.
    """
    config = replace(complete(config), devices=1)
    split = split_of(store, config)
    config = with_interval(config, store, split)
    trainer = Trainer(store, Path("estimate"), config, split)
    first = max(0, config.iterations - TIMED_STEPS - 1)
    times = []
    for raw in iterate(trainer.batches, first, config.iterations, 0):
        times.append(_timed(partial(trainer.iteration, raw)))
    step = min(times)  # the first warms up, and others may be disturbed
    seconds = config.iterations * step
    seconds += math.ceil(config.iterations / config.validation_interval) * _validation(trainer)
    return seconds / 60


def _validation(trainer: Trainer) -> float:
    """Return the seconds of one validation; 0 if nobody validates."""
    if not trainer.scored:
        return 0.0
    few = trainer.scored[:TIMED_SCANS]

    def validate_few() -> object:
        return validate(trainer.segmenter, trainer.store, few, trainer.shown, trainer.fabric)

    return _timed(validate_few) * len(trainer.scored) / len(few)


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call, including the work of a GPU."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
