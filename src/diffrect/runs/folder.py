"""The RUN folder: what a training writes there, and when it may start, resume or be replaced.

RUN/config.yaml             the configuration, written when a training starts
RUN/options.yaml            every option of the method and the views, the preset filled in
RUN/split.json              patients of each part
RUN/store.txt               path of the store
RUN/metrics.jsonl           losses and validation scores, one line per report
RUN/tensorboard/            the same numbers, with pictures
RUN/csv/, pictures/, wandb/ the same for other loggers, where --logger asks for them
RUN/loggers.json            which run of mlflow or wandb this one is
RUN/checkpoints/            last.pt to resume, previous.pt, the one before it, best.pt to predict
RUN/metrics_SPLIT.json      the scores that `evaluate` found
RUN/ranking/                what to annotate next, by `rank`
RUN/plugins.json            the user's own files that it was trained with
RUN/cell.json               the name of the cell in a comparison, and its cost
RUN/.replaced/              an earlier run, until the one that replaces it has a checkpoint
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from diffrect.atomic import remove_unfinished, write_atomic
from diffrect.checks import folder_to_make
from diffrect.config import Role, TrainConfig, config_to_dict, names_with, write_config
from diffrect.console import warn
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.distributed.locks import LOCK_FILE
from diffrect.errors import InputError
from diffrect.runs.log import read_log
from diffrect.runs.names import (
    AVERAGE,
    BEST,
    CELL_FILE,
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    ENTRIES,
    LAST,
    LOG_FILE,
    MOVING,
    OPTIONS_FILE,
    PREVIOUS,
    REPLACED,
    SPLIT_FILE,
    SPLITS,
    STORE_LINK_FILE,
    STUDENT,
    checkpoint_file,
    metrics_file,
)
from diffrect.text_files import read_text

_WRITTEN = (LAST, PREVIOUS, BEST, STUDENT, AVERAGE)
ROOM = 200_000_000
"""Bytes that the checkpoints of a run may take while the one before the last is kept."""


def check_start(run: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a training may start from its first iteration in this folder.

    A training that ended before its first checkpoint has nothing to lose, and may be replaced.

    Raises:
        InputError: the folder holds a run with something to lose and neither flag is given, or it
            holds anything else, which is never removed.
    """
    folder_to_make(run)
    found = _names(run)
    if not found:
        return
    if not _is_run(run):
        raise InputError(run, "a new folder or a run", found=f"one that holds {found[0]}")
    if not (resume or overwrite or has_nothing_to_lose(run)):
        raise InputError(run, problem="exists already", hint="expected --resume or --overwrite")


def has_nothing_to_lose(run: Path) -> bool:
    """Return whether a training has left nothing but its beginning here, or nothing at all.

    A finished training that lost its checkpoints still has its log and perhaps its scores, and a
    run that `--overwrite` was to replace may wait in REPLACED.
    """
    kept = (REPLACED, MOVING, CELL_FILE, *map(metrics_file, SPLITS))
    if has_checkpoint(run) or any((run / name).exists() for name in kept):
        return False
    return not any(line["kind"] in ("val", "end") for line in read_log(run / LOG_FILE))


def _names(run: Path) -> list[str]:
    """Return what a folder holds, apart from its lock."""
    return sorted({path.name for path in run.iterdir()} - {LOCK_FILE}) if run.exists() else []


def _is_run(run: Path) -> bool:
    """Return whether a training has begun here, even if it was killed while it wrote its files."""
    if all((run / name).is_file() for name in (CONFIG_FILE, SPLIT_FILE)):
        return True
    first = (CONFIG_FILE, OPTIONS_FILE, SPLIT_FILE)
    unfinished = tuple(f".{name}." for name in first)
    return all(
        name in (*first, REPLACED, MOVING) or name.startswith(unfinished) for name in _names(run)
    )


def start_run(run: Path, config: TrainConfig, options: Mapping[str, Any], split: Split) -> None:
    """Make a RUN folder that holds what the training was given; put an earlier run aside in it.

    Args:
        run: the folder.
        config: the configuration, as it was given.
        options: every option of the method and of the views.
        split: the patients.
    """
    run.mkdir(parents=True, exist_ok=True)
    _put_aside(run)
    write_config(config, run / CONFIG_FILE)
    write_atomic(run / OPTIONS_FILE, yaml.safe_dump(dict(options), sort_keys=False))
    write_atomic(run / SPLIT_FILE, split.to_json())


def _put_aside(run: Path) -> None:
    """Move an earlier run into the folder REPLACED, from where it returns if the new one fails.

    A run without a checkpoint has nothing to lose, and is removed.
    """
    moving, replaced = run / MOVING, run / REPLACED
    if has_checkpoint(run):
        forget_replaced(run)
    if replaced.exists() or not (moving.exists() or has_checkpoint(run)):
        # The configuration stays until the new one takes its place: RUN always says what to train.
        _remove_entries(run, *(name for name in ENTRIES if name != CONFIG_FILE))
        return
    moving.mkdir(exist_ok=True)
    for name in ENTRIES:
        if (run / name).exists() or (run / name).is_symlink():
            (run / name).replace(moving / name)
    moving.replace(replaced)


def forget_replaced(run: Path) -> None:
    """Remove the run that was put aside, once the new one has a checkpoint."""
    if (run / REPLACED).exists():
        shutil.rmtree(run / REPLACED)


def take_back(run: Path, *, remove: bool) -> None:
    """Restore the run that `--overwrite` set aside, after a training that failed early.

    That is, before its first checkpoint. If no run was set aside, delete the partial run, provided
    that `remove` is true.
    """
    replaced = run / REPLACED
    if not (remove or replaced.exists()):
        return
    remove_run(run)
    if replaced.exists():
        for path in list(replaced.iterdir()):
            path.replace(run / path.name)
        replaced.rmdir()
        warn(f"{run}: the earlier run is back")


def read_split(run: Path) -> Split:
    """Return the patients of a run.

    Raises:
        InputError: its file is not there, or not readable.
    """
    file = run / SPLIT_FILE
    text = read_text(file, "the split of the run")
    try:
        return Split.from_json(text)
    except InputError as error:
        raise InputError(file, "the split of the run", reason=error) from None


def has_checkpoint(run: Path) -> bool:
    """Return whether a training got as far as a checkpoint."""
    return any((run / CHECKPOINTS_FOLDER).glob("[!.]*.pt"))


def remember_store(run: Path, store: Store) -> None:
    """Note where the store is, for `evaluate`; it may have moved since the run was started."""
    write_atomic(run / STORE_LINK_FILE, f"{store.path.resolve()}\n")


def remove_run(run: Path) -> None:
    """Remove what trainings write, and the folder if nothing else is in it."""
    _remove_entries(run, *ENTRIES)
    if run.exists() and not any(run.iterdir()):
        run.rmdir()


def make_room(run: Path) -> None:
    """Remove the checkpoint before the last one if all together take more than `ROOM`."""
    files = {n: run / CHECKPOINTS_FOLDER / checkpoint_file(n) for n in _WRITTEN}
    sizes = {name: file.stat().st_size for name, file in files.items() if file.is_file()}
    if {LAST, PREVIOUS} <= sizes.keys() and sum(sizes.values()) > ROOM:
        files[PREVIOUS].unlink()


def tidy(run: Path) -> None:
    """Remove what a killed training left: files that it was writing, or that take too much room."""
    make_room(run)
    remove_unfinished(run, CONFIG_FILE, OPTIONS_FILE, SPLIT_FILE, STORE_LINK_FILE, LOG_FILE)
    remove_unfinished(run / CHECKPOINTS_FOLDER, *map(checkpoint_file, _WRITTEN))


def _remove_entries(run: Path, *names: str) -> None:
    for path in (run / name for name in names):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def check_same_config(saved: TrainConfig, given: TrainConfig, run: Path) -> None:
    """Check that a run is resumed with the configuration it was started with.

    Where and how the work is done may differ (other `devices` take other batches from there on). So
    may how patients are named on the command line; the patients themselves are compared separately.

    Raises:
        InputError: an option differs that changes the result.
    """
    fixed = names_with(Role.COMPARED, Role.RESULT)
    before, now = config_to_dict(saved), config_to_dict(given)
    _check_same(run, {name: before[name] for name in fixed}, now)


def check_same_task(saved: Task, given: Task, run: Path) -> None:
    """Check that a run is resumed on a store of the same channels, classes, intensities and axis.

    Raises:
        InputError: the store is of another kind.
    """
    said = replace(saved, symmetries=given.symmetries)  # which does not change what is trained
    _check_same(run, said.to_dict(), given.to_dict())


def _check_same(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in sorted(before.items()):
        if now[name] != value:
            raise InputError(
                run,
                problem=f"--resume expected {name} {value} as the run was started with",
                got=now[name],
            )
