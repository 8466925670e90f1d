"""The RUN folder: what a training writes there, when it may start, go on or be replaced.

RUN/config.yaml             the configuration, written when a training starts
RUN/options.yaml            every setting of the method and the views that it amounts to
RUN/split.json              patients of each part
RUN/store.txt               where the store was
RUN/metrics.jsonl           losses and validation scores, a line each
RUN/tensorboard/            the same numbers
RUN/checkpoints/            best.pt and last.pt
RUN/metrics_SPLIT.json      what `evaluate` found
RUN/cell.json               which cell of a comparison it is and what it cost
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diffrect.config import TrainConfig, config_to_dict, write_config
from diffrect.errors import InputError

if TYPE_CHECKING:  # the command line needs the names alone, without numpy or torch
    from diffrect.data.splits import Split
    from diffrect.data.store import Store

CONFIG_FILE = "config.yaml"
OPTIONS_FILE = "options.yaml"
SPLIT_FILE = "split.json"
STORE_LINK_FILE = "store.txt"
METRICS_FILE = "metrics.jsonl"
CELL_FILE = "cell.json"
METRICS_FORMAT = 1  # version of metrics_SPLIT.json
TENSORBOARD_FOLDER = "tensorboard"
PROFILE_FOLDER = "profile"
CHECKPOINTS_FOLDER = "checkpoints"
# All that is ever removed from a RUN folder; CONFIG_FILE and SPLIT_FILE, which mark it, come last.
_ENTRIES = (
    CHECKPOINTS_FOLDER,
    TENSORBOARD_FOLDER,
    PROFILE_FOLDER,
    METRICS_FILE,
    "metrics_val.json",
    "metrics_test.json",
    CELL_FILE,
    STORE_LINK_FILE,
    OPTIONS_FILE,
    SPLIT_FILE,
    CONFIG_FILE,
)
# What may differ when a run is resumed: where and how the work is done (other `devices` take other
# batches from there on), and how its patients are named, who are compared themselves.
_RESUMABLE_CHANGES = {"devices", "accelerator", "workers", "split_file", "labelled"}


def check_start(run: Path, *, resume: bool, overwrite: bool) -> None:
    """Whether a training may start from its first iteration in this folder.

    Raises:
        InputError: the folder holds a run and neither flag is given, or one that could be resumed
            had it not lost its last checkpoint; or it holds something that is no run, which is
            never removed.
    """
    if run.exists() and not run.is_dir():
        raise InputError(f"{run}: expected a folder to make, found a file")
    found = sorted(path.name for path in run.iterdir()) if run.exists() else []
    if not found:
        return
    if not all((run / name).is_file() for name in (CONFIG_FILE, SPLIT_FILE)):
        raise InputError(f"{run}: expected a new folder or a run, found one that holds {found[0]}")
    if not (resume or overwrite):
        raise InputError(f"{run}: exists already; expected --resume or --overwrite")
    if resume and (run / CHECKPOINTS_FOLDER / "best.pt").exists():
        last = run / CHECKPOINTS_FOLDER / "last.pt"
        raise InputError(f"{last}: expected the checkpoint to go on from, found no such file")


def start_run(run: Path, config: TrainConfig, options: Mapping[str, Any], split: "Split") -> None:
    """A fresh RUN folder with what the training was told, in place of an earlier run's."""
    remove_run(run)
    run.mkdir(parents=True, exist_ok=True)
    write_config(config, run / CONFIG_FILE)
    (run / OPTIONS_FILE).write_text(yaml.safe_dump(dict(options), sort_keys=False), "utf-8")
    (run / SPLIT_FILE).write_text(split.to_json(), "utf-8")


def remember_store(run: Path, store: "Store") -> None:
    """Notes where the store is, for `evaluate`; it may have moved since the run was started."""
    (run / STORE_LINK_FILE).write_text(f"{store.path.resolve()}\n", "utf-8")


def remove_run(run: Path) -> None:
    """Removes what trainings write, and the folder if nothing else is in it."""
    for path in (run / name for name in _ENTRIES):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if run.exists() and not any(run.iterdir()):
        run.rmdir()


def check_same_config(saved: TrainConfig, given: TrainConfig, run: Path) -> None:
    """A run is resumed with the configuration it was started with.

    Raises:
        InputError: an option differs that changes what is computed.
    """
    before, now = config_to_dict(saved), config_to_dict(given)
    _check_same(run, {name: before[name] for name in before.keys() - _RESUMABLE_CHANGES}, now)


def check_same_task(saved: Any, store: "Store", run: Path) -> None:
    """A run is resumed on a store of the same channels, classes and intensities.

    Raises:
        InputError: the store is of another kind.
    """
    now = {
        "channels": store.channels,
        "classes": list(store.classes),
        "intensity": store.intensity,
        "axis": store.axis,
    }
    _check_same(run, saved, now)


def _check_same(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in sorted(before.items()):
        if now[name] != value:
            raise InputError(
                f"{run}: --resume expected {name} {value} as the run was started with, "
                f"got {now[name]}"
            )
