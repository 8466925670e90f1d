"""What `inspect` says of a run, of a checkpoint and of an exported model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from diffrect.cli.guidance import say_next
from diffrect.config import read_config
from diffrect.console import plain, say, stdout_console
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.networks.spec import UNET
from diffrect.runs.folds import is_cross_validation, read_folds
from diffrect.runs.log import read_log
from diffrect.runs.names import (
    BEST,
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    LAST,
    LOG_FILE,
    SPLIT_FILE,
    SPLITS,
    STORE_LINK_FILE,
    checkpoint_file,
    metrics_file,
)
from diffrect.runs.plugins import remembered_plugins
from diffrect.runs.recognise import kind_of_folder
from diffrect.text_files import read_text


@dataclass(frozen=True)
class ModelInspection:
    """What a run or the file of a model holds.

    Attributes:
        path: what was looked at.
        kind: what it is, in words.
        facts: names and values to show.
        problems: what is wrong with it, one line per problem.
        next: the command that takes it, in the parts that `say_next` takes.
    """

    path: str
    kind: str
    facts: dict[str, str]
    problems: tuple[str, ...] = ()
    next: tuple[str | Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `diffrect inspect --json` prints them."""
        return {
            "path": self.path,
            "kind": self.kind,
            "facts": self.facts,
            "problems": list(self.problems),
        }


def inspect_model(path: Path) -> ModelInspection | None:
    """Look at a run or a model; None if the path is neither."""
    if path.is_dir() and kind_of_folder(path) == "run":
        return _inspect_run(path)
    readers = {
        ".onnx": _inspect_exported,
        ".safetensors": _inspect_exported,
        ".pt": _inspect_checkpoint,
    }
    reader = readers.get(path.suffix) if path.is_file() else None
    return None if reader is None else reader(path)


def print_model(found: ModelInspection) -> None:
    """Print what was found, and the command that takes it."""
    say(f"{found.path}: {found.kind}")
    table = Table(show_header=False)
    for name, value in found.facts.items():
        table.add_row(name, plain(value))
    if found.facts:
        stdout_console().print(table)
    say(f"problems: {len(found.problems) or 'none'}")
    for problem in found.problems:
        say(f"  {problem}")
    if found.next:
        say_next(*found.next)


def _inspect_run(run: Path) -> ModelInspection:
    """Look at a RUN folder without loading any of its networks."""
    if is_cross_validation(run):
        return _inspect_folds(run)
    facts: dict[str, str] = {}
    problems: list[str] = []
    for look in (_trained_as, _patients, _progress):
        try:
            facts |= look(run)
        except InputError as error:
            problems.append(str(error))
    link = run / STORE_LINK_FILE
    store = link.read_text("utf-8", "replace").strip() if link.is_file() else ""
    facts["store"] = store or "unknown"
    if store and not Path(store).is_dir():
        problems.append(f"{link}: {store} is not there; give evaluate --store")
    kept = [n for n in (BEST, LAST) if (run / CHECKPOINTS_FOLDER / checkpoint_file(n)).is_file()]
    facts["checkpoints"] = ", ".join(kept) or "none"
    facts["scored"] = (
        ", ".join(s for s in SPLITS if (run / metrics_file(s)).is_file()) or "no split"
    )
    if not kept:
        problems.append(f"{run / CHECKPOINTS_FOLDER}: expected a checkpoint, found none")
    return ModelInspection(str(run), "a run of train", facts, tuple(problems), _next_of(run, kept))


def _inspect_folds(run: Path) -> ModelInspection:
    """Look at the folder of a cross-validation, whose folds are runs."""
    kind = "a cross-validation of train"
    try:
        folds, finished = read_folds(run)
    except InputError as error:
        return ModelInspection(str(run), kind, {}, (str(error),))
    facts = {"folds": f"{len(folds)}, {'all' if finished else 'not all'} of them trained"}
    resume = ("diffrect train STORE", run, "--resume")
    following = ("diffrect predict", run, "OUT IMAGE...") if finished else resume
    return ModelInspection(str(run), kind, facts, (), following)


def _next_of(run: Path, kept: list[str]) -> tuple[str | Path, ...]:
    if not kept:
        return ("diffrect train STORE", run, "--resume")
    best = () if BEST in kept else ("--checkpoint last",)
    if (run / metrics_file("val")).is_file():
        return ("diffrect predict", run, "OUT IMAGE...", *best)
    return ("diffrect evaluate", run, *best)


def _trained_as(run: Path) -> dict[str, str]:
    config = read_config(run / CONFIG_FILE)
    facts = {"method": config.method, "preset": config.preset, "seed": str(config.seed)}
    if config.network != UNET:
        facts["network"] = config.network
    plugins = ", ".join(str(plugin.file) for plugin in remembered_plugins(run))
    return facts | ({"plug-ins": plugins} if plugins else {})


def _patients(run: Path) -> dict[str, str]:
    file = run / SPLIT_FILE
    text = read_text(file, "the split of the run")
    try:
        split = Split.from_json(text)
    except InputError as error:
        raise InputError(file, "the split of the run", reason=error) from None
    parts = {
        "labelled": split.labelled,
        "unlabelled": split.unlabelled,
        "val": split.val,
        "test": split.test,
    }
    facts = {"patients": ", ".join(f"{name} {len(ids)}" for name, ids in parts.items())}
    if split.val_slices:
        facts["validates on"] = f"slices of training patients: {', '.join(split.val_slices)}"
    return facts


def _progress(run: Path) -> dict[str, str]:
    """Return how far the training is, and its best validation."""
    log = read_log(run / LOG_FILE)
    last = max((line["step"] for line in log), default=0)
    facts = {"iterations": f"{last} of {read_config(run / CONFIG_FILE).iterations}"}
    scores = [
        (line["dice"], line["step"])
        for line in log
        if line["kind"] == "val" and isinstance(line.get("dice"), float)
    ]
    if scores:
        dice, step = max(scores, key=lambda score: score[0])
        facts["best Dice (val)"] = f"{100 * dice:.1f} % at iteration {step}"
    return facts


def _inspect_checkpoint(path: Path) -> ModelInspection:
    from diffrect.runs.checkpoint import load_checkpoint

    kind = "a checkpoint of train"
    try:
        facts = _remembered(load_checkpoint(path))
    except InputError as error:
        return ModelInspection(str(path), kind, {}, (str(error),))
    own = path.parent.name == CHECKPOINTS_FOLDER
    taken = path.parent.parent if own else "RUN"
    return ModelInspection(str(path), kind, facts, (), ("diffrect evaluate", taken))


def _inspect_exported(path: Path) -> ModelInspection:
    from diffrect.inference.model_file import read_model_file
    from diffrect.inference.onnx import OnnxNetwork

    kind = "a model made by export"
    try:
        if path.suffix == ".onnx":
            facts = _remembered(OnnxNetwork(path).metadata)
        else:
            facts = _remembered(read_model_file(path).state.to_dict())
    except InputError as error:
        return ModelInspection(str(path), kind, {}, (str(error),))
    return ModelInspection(str(path), kind, facts, (), ("diffrect predict", path, "OUT IMAGE..."))


def _remembered(state: Mapping[str, Any]) -> dict[str, str]:
    """Return what a checkpoint or an exported model says of itself."""
    config, task = state.get("config") or {}, state.get("task") or {}
    return {
        "method": str(config.get("method", "unknown")),
        "iterations": str(state.get("step", "unknown")),
        "classes": ", ".join(map(str, task.get("classes", ()))),
        "channels": str(task.get("channels", "unknown")),
        "intensity": str(task.get("intensity", "unknown")),
    }
