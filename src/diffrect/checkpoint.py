"""Checkpoints: written atomically, read without unpickling code.

A checkpoint is one dict of tensors and plain values: format version, next step, best score,
configuration, task (channels, classes, intensity), and the state of the method (segmenter,
rectifier, moving averages) and of its optimisers.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from diffrect.errors import InputError
from diffrect.run_folder import CHECKPOINTS_FOLDER

FORMAT_VERSION = 1
# what torch.load raises for files that are cut, overwritten, foreign or hostile
_DAMAGED = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)
REQUIRED = {"format", "step", "config", "task", "method"}


def checkpoint_path(run: Path, name: str) -> Path:
    """Where the checkpoint called `name` ("last" or "best") of a run lies."""
    return run / CHECKPOINTS_FOLDER / f"{name}.pt"


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Writes `state` so that `path` holds either the old content or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("wb") as file:
        torch.save({"format": FORMAT_VERSION, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The dict written by `save_checkpoint`, tensors on `device`.

    Raises:
        InputError: no such file, not a checkpoint of this package, or of another format version.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a checkpoint, found no such file")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except _DAMAGED:
        raise InputError(
            f"{path}: expected a checkpoint of tensors and plain values, the file is damaged or "
            "something else"
        ) from None
    if not isinstance(state, dict) or not state.keys() >= REQUIRED:
        raise InputError(f"{path}: expected a diffrect checkpoint, it lacks its entries")
    if state["format"] != FORMAT_VERSION:
        raise InputError(
            f"{path}: expected checkpoint format {FORMAT_VERSION}, got {state['format']}"
        )
    return state
