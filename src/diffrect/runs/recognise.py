"""Tell runs and stores apart and find checkpoints, without PyTorch, which takes seconds to load."""

from pathlib import Path
from typing import Literal

from diffrect.data.record import STORE_FILE
from diffrect.errors import InputError
from diffrect.runs.folds import is_cross_validation
from diffrect.runs.names import (
    AVERAGE,
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    STUDENT,
    checkpoint_file,
)

MODEL_SUFFIXES = (".onnx", ".safetensors")
"""The names of files that `export` writes end in one of these."""
Kind = Literal["run", "store"]
_MAKERS = {"run": "train", "store": "prepare"}


def kind_of_folder(path: Path) -> Kind | None:
    """Return whether a folder is a finished store or a run; None if it is neither."""
    if (path / STORE_FILE).is_file():
        return "store"
    if (path / CONFIG_FILE).is_file() or (path / CHECKPOINTS_FOLDER).is_dir():
        return "run"
    return None


def check_is_store(path: Path) -> None:
    """Check that a folder given as a store is no run.

    Raises:
        InputError: it is one.
    """
    if kind_of_folder(path) == "run":
        raise _taken_for(path, "store", "run")


def check_is_run(path: Path, hint: str | None = None) -> None:
    """Check that what is given as a run is no file that `export` wrote, which has only the model.

    Raises:
        InputError: it is one.
    """
    if path.suffix in MODEL_SUFFIXES and path.is_file():
        raise InputError(path, "a run made by train", found="a model made by export", hint=hint)


def check_has_model(path: Path, checkpoint: str) -> None:
    """Check that there is a model where it is looked for, before anything of it is read.

    Args:
        path: a RUN folder, or a file that `export` wrote.
        checkpoint: the checkpoint of the run, see `runs.names.Checkpoint`.

    Raises:
        InputError: there is no such file; the folder is a store.
    """
    if path.suffix in MODEL_SUFFIXES:
        if not path.is_file():
            raise InputError(path, "a model made by export", found="no such file")
        return
    if is_cross_validation(path):
        return
    file = path / CHECKPOINTS_FOLDER / checkpoint_file(checkpoint)
    if file.is_file():
        return
    if kind_of_folder(path) == "store":
        raise _taken_for(path, "run", "store")
    hint = "only trainings with --average have it" if checkpoint in (STUDENT, AVERAGE) else None
    raise InputError(file, "a checkpoint", found="no such file", hint=hint)


def _taken_for(path: Path, expected: Kind, found: Kind) -> InputError:
    return InputError(
        path,
        f"a {expected} made by {_MAKERS[expected]}",
        found=f"a {found} made by {_MAKERS[found]}",
    )
