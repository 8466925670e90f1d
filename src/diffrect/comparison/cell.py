"""One cell: whether it is done, and doing it: train, evaluate, write cell.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from diffrect.comparison.cost import code_version, training_cost
from diffrect.comparison.files import CELL_FORMAT
from diffrect.comparison.locks import CellLock, LockedError
from diffrect.comparison.matrix import Cell
from diffrect.config import Role, config_from_dict, config_to_dict, names_with, read_config
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.json_files import read_json, write_json
from diffrect.methods.registry import complete
from diffrect.runs.checkpoint import checkpoint_path
from diffrect.runs.folder import remove_run
from diffrect.runs.log import read_log
from diffrect.runs.names import CELL_FILE, CONFIG_FILE, LOG_FILE, SPLITS, metrics_file
from diffrect.runs.resume import has_state
from diffrect.training.train import train

State = Literal["finished", "started", "new"]
# A cell may have been trained in another place, its patients are compared themselves, and options
# among those of the methods that have them.
_FREE = {*names_with(Role.MACHINE, Role.PATIENTS), "options"}


@dataclass(frozen=True)
class Task:
    """What is asked of every cell.

    Attributes:
        store: the prepared data.
        folder: where the cells are.
        split: patients to score, "val" or "test".
        checkpoint: of each training, "best" by validation or "last".
        progress: show progress bars on stderr.
    """

    store: str
    folder: str
    split: str
    checkpoint: Literal["best", "last"]
    progress: bool


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: "finished", "failed", "taken" by another process, or "stopped".

    `reason` says why, in one line.
    """

    kind: str
    reason: str = ""


def do_cell(task: Task, cell: Cell) -> Outcome:
    """Trains, or goes on training, and scores a cell; an error of its own becomes an outcome.

    Raises:
        KeyboardInterrupt: a stop was asked for; the training's state is saved.
    """
    try:
        with CellLock(Path(task.folder), cell.folder):
            finish_cell(task, cell)
    except LockedError as taken:
        return Outcome("taken", str(taken))
    except InputError as error:
        return Outcome("failed", " ".join(str(error).split()))
    except OSError as error:
        return Outcome("failed", f"{error.filename or 'output'}: {error.strerror or error}")
    return Outcome("finished")


def finish_cell(task: Task, cell: Cell) -> None:
    """What is left to do of a cell, by whoever holds its lock.

    Raises:
        InputError: its training or evaluation says what is wrong.
    """
    run = Path(task.folder) / cell.folder
    if cell_state(run, task) == "finished":  # by another process, a moment ago
        return
    clear_unusable(run)
    train(task.store, run, cell.config, resume=True, progress=task.progress)
    evaluate(
        run,
        split=task.split,
        checkpoint=task.checkpoint,
        device=cell.config.accelerator,
        store=task.store,
        progress=task.progress,
    )
    facts = {"name": cell.name, "labelled": cell.config.labelled, "seed": cell.config.seed}
    cost = training_cost(run, task.checkpoint)
    write_json(run / CELL_FILE, {"format": CELL_FORMAT, **facts, **code_version(), "cost": cost})


def cell_state(run: Path, task: Task) -> State:
    """Whether a cell is scored, has begun, or is yet to be begun."""
    scores = run / metrics_file(task.split)
    if scores.is_file() and (run / CELL_FILE).is_file():
        found = read_json(scores)
        if found.get("checkpoint") == task.checkpoint and found.get("empty") == "undefined":
            return "finished"
    return "started" if (run / CONFIG_FILE).is_file() or scores.is_file() else "new"


def steps_done(run: Path) -> int:
    """Iterations that need not be repeated when the training goes on, as far as its log tells."""
    if not checkpoint_path(run, "last").is_file():
        return 0
    steps = [
        line.get("step", 0)
        for line in read_log(run / LOG_FILE)
        if line.get("kind") in ("val", "end")
    ]
    return max(steps, default=0)


def clear_unusable(run: Path) -> None:
    """Removes what a training left that was killed before it had anything to go on from.

    A finished training that lost its last checkpoint is not touched.
    """
    begun = (run / CONFIG_FILE).is_file() and not has_state(run)
    ended = any(line.get("kind") == "end" for line in read_log(run / LOG_FILE))
    if begun and not ended and not any((run / metrics_file(split)).is_file() for split in SPLITS):
        remove_run(run)


def check_cell(run: Path, cell: Cell, split: str) -> None:
    """A cell that is there already was trained as this matrix asks.

    Raises:
        InputError: naming the first option that differs.
    """
    scores, saved = run / metrics_file(split), run / CONFIG_FILE
    if scores.is_file():
        found = dict(read_json(scores).get("protocol", {}))
    elif saved.is_file() and has_state(run):
        found = config_to_dict(complete(read_config(saved)))
    else:
        return
    wanted = config_to_dict(complete(cell.config))
    for name, (before, now) in differences(found, wanted).items():
        raise InputError(
            f"{run}: expected a cell with {name} {now} as this comparison asks, found one with "
            f"{before}; compare in another folder, or remove this one"
        )


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that both name and that differ: name -> (found, wanted)."""
    differing = {}
    for one, other in (
        ({k: found[k] for k in found.keys() - _FREE}, wanted),
        (found.get("options") or {}, wanted.get("options") or {}),
    ):
        for name in sorted(one.keys() & other.keys()):
            if one[name] != other[name]:
                differing[name] = (one[name], other[name])
    return differing


def to_dict(task: Task, cell: Cell) -> dict[str, Any]:
    """Plain values, for another process."""
    return {"task": asdict(task), "name": cell.name, "config": config_to_dict(cell.config)}


def from_dict(values: Mapping[str, Any]) -> tuple[Task, Cell]:
    """The inverse of `to_dict`."""
    return Task(**values["task"]), Cell(values["name"], config_from_dict(values["config"]))
