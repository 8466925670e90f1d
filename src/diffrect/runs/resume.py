"""Going on with a training: from which checkpoint, and whether it is the same training."""

import sys
from pathlib import Path
from typing import Any

from diffrect.config import TrainConfig, read_config
from diffrect.data.choose_split import resolve_split
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.runs.checkpoint import DamagedCheckpointError, checkpoint_path, load_checkpoint
from diffrect.runs.folder import check_same_config, check_same_task
from diffrect.runs.names import BEST, CONFIG_FILE, LAST, PREVIOUS, SPLIT_FILE

# What going on needs of a checkpoint besides what predicting needs.
TRAINING_STATE = {"best", "last_dice", "split", "optimizers"}


# Where to go on from, the first that is whole. A training killed in its first validation may have
# saved its best state alone.
_CANDIDATES = (LAST, PREVIOUS, BEST)


def has_state(run: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return any(checkpoint_path(run, name).is_file() for name in _CANDIDATES)


def newest_state(run: Path, store: Store, *, tell: bool = True) -> dict[str, Any]:
    """The state to go on from: the last checkpoint, or where that is damaged one from before.

    The one of several processes that tells so also removes the damaged file.

    Raises:
        InputError: all are damaged, or one is not a checkpoint of such a training.
    """
    last = checkpoint_path(run, LAST)
    present = [p for p in (checkpoint_path(run, n) for n in _CANDIDATES) if p.is_file()]
    for path in present:
        try:
            state = load_training(path, store)
        except DamagedCheckpointError:
            if path == present[-1]:
                raise
            continue
        if path != last and tell:
            fault = "is damaged" if last.is_file() else "is not there"
            text = f"diffrect: {last} {fault}; going on from {path}, iteration {state['step']}"
            print(text, file=sys.stderr)
            last.unlink(missing_ok=True)  # or it would be kept in the place of the good one
        return state
    raise InputError(f"{last}: expected the checkpoint to go on from, found no such file")


def check_same_training(run: Path, config: TrainConfig, store: Store, split: Split) -> None:
    """A run is resumed with the options and the patients it was started with.

    The split file may have moved; one that is named anew has to hold the same patients.

    Raises:
        InputError: an option differs that changes what is computed.
    """
    saved = read_config(run / CONFIG_FILE)
    check_same_config(saved, config, run)
    if (saved.split_file, saved.labelled) != (config.split_file, config.labelled):
        given = resolve_split(
            store, split_file=config.split_file, labelled=config.labelled, seed=config.seed
        )
        if given != split:
            raise InputError(
                f"{run}: --resume expected the patients of {run / SPLIT_FILE}, "
                "--labelled or --split-file names others"
            )


def load_training(path: Path, store: Store) -> dict[str, Any]:
    """The checkpoint to go on from, checked against the store.

    Raises:
        InputError: not a checkpoint of a training, or of one on another kind of store.
    """
    state = load_checkpoint(path)
    if not state.keys() >= TRAINING_STATE:
        raise InputError(f"{path}: expected the checkpoint of a training, it lacks its entries")
    check_same_task(state["task"], store, path)
    return state
