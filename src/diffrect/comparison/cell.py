"""One cell: find out how far it is, and do the rest: train, evaluate, write cell.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from diffrect.comparison.cost import training_cost
from diffrect.comparison.locks import CellLock
from diffrect.comparison.matrix import Cell
from diffrect.comparison.names import CELL_FORMAT
from diffrect.config import (
    Role,
    config_from_dict,
    config_to_dict,
    names_with,
    read_config,
)
from diffrect.data.choose_split import split_of
from diffrect.data.fields import Fields
from diffrect.data.store import Store
from diffrect.distributed.locks import LOCK_FILE, LockedError, refuse_taken
from diffrect.earlier_formats import earlier_options
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.scores_file import read_scores
from diffrect.json_files import read_json, write_json
from diffrect.methods.registry import complete
from diffrect.networks.spec import UNET
from diffrect.plugins.files import load_plugins, loaded_plugins
from diffrect.runs.checkpoint import checkpoint_path
from diffrect.runs.folder import remove_run
from diffrect.runs.log import read_log
from diffrect.runs.names import CELL_FILE, CONFIG_FILE, LOG_FILE, SPLITS, Checkpoint, metrics_file
from diffrect.runs.provenance import code_version
from diffrect.runs.resume import has_state
from diffrect.training.finite import DivergedError
from diffrect.training.train import train

State = Literal["finished", "started", "new"]
OutcomeKind = Literal["finished", "failed", "diverged", "stopped", "taken"]
# A cell may have been trained on another machine; its patients are compared by their lists, and
# options only if both methods have them.
_FREE = {*names_with(Role.MACHINE, Role.PATIENTS), "options"}


@dataclass(frozen=True)
class CellJob:
    """The work that is asked of every cell.

    Attributes:
        store: the prepared data.
        folder: where the cells are.
        split: patients to score, "val" or "test".
        checkpoint: the checkpoint of each training to score, see `evaluate`.
        progress: show progress bars on stderr.
    """

    store: str
    folder: str
    split: str
    checkpoint: Checkpoint
    progress: bool


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        kind: "finished", "failed", "diverged" if its numbers were not finite, "stopped", or "taken"
            by another process.
        reason: why, in one line; empty if the cell is finished.
    """

    kind: OutcomeKind
    reason: str = ""


def do_cell(job: CellJob, cell: Cell) -> Outcome:
    """Train and score a cell, or do the rest of it; bad input and a full disk become outcomes.

    Raises:
        KeyboardInterrupt: a stop was asked for; the state of the training is saved.
    """
    try:
        with CellLock(Path(job.folder), cell.folder):
            finish_cell(job, cell)
    except LockedError as taken:
        return Outcome("taken", f"taken by {taken.owner}")
    except InputError as error:
        kind: OutcomeKind = "diverged" if isinstance(error, DivergedError) else "failed"
        return Outcome(kind, " ".join(str(error).split()))
    except OSError as error:
        return Outcome("failed", f"{error.filename or 'output'}: {error.strerror or error}")
    return Outcome("finished")


def finish_cell(job: CellJob, cell: Cell) -> None:
    """Do the rest of a cell, whose lock the caller holds.

    Raises:
        InputError: its training or its evaluation refuses something.
    """
    run = Path(job.folder) / cell.folder
    if cell_state(run, job) == "finished":  # by another process, a moment ago
        return
    clear_unusable(run)
    if not getattr(split_of(Store(job.store), cell.config), job.split):
        expected = f"patients to score, the split of {job.store} has none"
        raise InputError(f"--split {job.split}", expected, setting="split")
    train(job.store, run, cell.config, resume=True, progress=job.progress)
    evaluate(
        run,
        split=job.split,
        checkpoint=job.checkpoint,
        device=cell.config.device,
        store=job.store,
        progress=job.progress,
    )
    content = {
        "format": CELL_FORMAT,
        "name": cell.name,
        "labelled": cell.config.labelled,
        "seed": cell.config.seed,
        **asdict(code_version()),
        "cost": training_cost(run, job.checkpoint).to_dict(),
    }
    write_json(run / CELL_FILE, content)


def cell_state(run: Path, job: CellJob) -> State:
    """Return whether a cell is scored as the job asks, has been started, or is new."""
    scores = run / metrics_file(job.split)
    if scores.is_file() and (run / CELL_FILE).is_file():
        found = read_json(scores)
        if found.get("checkpoint") == job.checkpoint and found.get("empty") == "undefined":
            return "finished"
    return "started" if (run / CONFIG_FILE).is_file() or scores.is_file() else "new"


def steps_done(run: Path) -> int:
    """Return how many iterations are done, by the log; a resumed training does not repeat them."""
    if not checkpoint_path(run, "last").is_file():
        return 0
    lines = read_log(run / LOG_FILE)
    return max((line["step"] for line in lines if line["kind"] in ("val", "end")), default=0)


def clear_unusable(run: Path) -> None:
    """Remove what a training left that was killed before it had anything to resume from.

    A finished training that lost its last checkpoint is not touched.
    """
    begun = (run / CONFIG_FILE).is_file() and not has_state(run)
    ended = any(line["kind"] == "end" for line in read_log(run / LOG_FILE))
    refuse_taken(run / LOCK_FILE, run)
    if begun and not ended and not any((run / metrics_file(split)).is_file() for split in SPLITS):
        remove_run(run)


def check_cell(run: Path, cell: Cell, split: str) -> None:
    """Check that a cell that exists already was trained as this matrix asks.

    Raises:
        InputError: naming the first option that differs.
    """
    scores, saved = run / metrics_file(split), run / CONFIG_FILE
    if scores.is_file():
        found = dict(Fields(read_scores(scores), scores).fields("protocol").values)
        # Its options may be those of an earlier version.
        earlier = earlier_options(str(found.get("method")), str(found.get("preset")))
        found["options"] = {**earlier, **_options(found)}
        found.setdefault("network", UNET)  # the only one that earlier versions had
    elif saved.is_file() and has_state(run):
        found = config_to_dict(complete(read_config(saved)))
    else:
        return
    wanted = config_to_dict(complete(cell.config))
    if wanted["validate_every"] is None:  # as the training sees fit
        del wanted["validate_every"]
    for name, (before, now) in differences(found, wanted).items():
        raise InputError(
            run,
            f"a cell with {name} {now} as this comparison asks",
            found=f"one with {before}",
            hint="compare in another folder, or remove this one",
        )


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that both have and that differ: name -> (found, wanted)."""
    differing = {}
    for one, other in (
        ({k: found[k] for k in found.keys() - _FREE}, wanted),
        (_options(found), _options(wanted)),
    ):
        for name in sorted(one.keys() & other.keys()):
            if one[name] != other[name]:
                differing[name] = (one[name], other[name])
    return differing


def _options(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options in a configuration; none where they are no mapping."""
    options = settings.get("options")
    return options if isinstance(options, Mapping) else {}


def to_dict(job: CellJob, cell: Cell) -> dict[str, Any]:
    """Return job and cell as plain values, for another process."""
    return {
        "job": asdict(job),
        "name": cell.name,
        "config": config_to_dict(cell.config),
        "plugins": {str(plugin.file): plugin.sha256 for plugin in loaded_plugins()},
    }


def load_same_plugins(values: Mapping[str, Any]) -> None:
    """Load the plug-ins of the process that made a job and a cell plain with `to_dict`.

    Raises:
        InputError: one of them is not there any more, or is not as it was.
    """
    load_plugins(list(values["plugins"]))
    for plugin in loaded_plugins():
        if values["plugins"].get(str(plugin.file), plugin.sha256) != plugin.sha256:
            expected = "the file as it was when the comparison began"
            raise InputError(f"--plugin {plugin.file}", expected, found="a changed one")


def from_dict(values: Mapping[str, Any]) -> tuple[CellJob, Cell]:
    """Return the job and the cell that `to_dict` made plain."""
    return CellJob(**values["job"]), Cell(values["name"], config_from_dict(values["config"]))
