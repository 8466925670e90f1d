"""The configuration that a RUN folder holds; imports nothing heavy, for the command line."""

from pathlib import Path

from diffrect.config import TrainConfig, read_config
from diffrect.errors import InputError
from diffrect.runs.names import CONFIG_FILE, MOVING, REPLACED


def saved_config(run: Path) -> TrainConfig:
    """Return the configuration of the training in a RUN folder, to resume it.

    Raises:
        InputError: there is no training to resume.
    """
    file = run / CONFIG_FILE
    if file.is_file():
        return read_config(file)
    if not run.is_dir():
        found = "no such folder"
    elif any((run / name).exists() for name in (REPLACED, MOVING)):
        found = "only the run that --overwrite was to replace"
    else:
        found = f"no {CONFIG_FILE} in it"
    raise InputError(
        run,
        "a training to resume",
        found=found,
        hint="to start one with --resume, give its options too, such as --labelled 1",
    )
