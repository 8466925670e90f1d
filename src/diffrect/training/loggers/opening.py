"""Open the loggers of a training, or refuse them before it starts."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import Logger

from diffrect.config import TrainConfig, config_to_dict
from diffrect.errors import InputError
from diffrect.runs.names import CSV_FOLDER, PICTURES_FOLDER, TENSORBOARD_FOLDER
from diffrect.training.loggers.loggers import Loggers, Opened, refused, replay
from diffrect.training.loggers.memory import Remembered, remember, remembered
from diffrect.training.loggers.names import BUILT_IN, Wanted, check_packages, parse_loggers
from diffrect.training.loggers.own import check_own, make_own

_IN_RUN = {"tensorboard", "csv", "png"}


def check_loggers(text: str) -> None:
    """Check that there are the loggers that `--logger` names.

    Raises:
        InputError: there is no such logger, or the package that it needs is not installed.
    """
    wanted = parse_loggers(text)
    check_packages(wanted)
    for each in wanted:
        check_own(each)


def open_loggers(config: TrainConfig, run: Path, first: int) -> Loggers:
    """Open the loggers of a configuration, on one process.

    Args:
        config: the configuration.
        run: the RUN folder, whose record ends with iteration `first`.
        first: iterations done.

    Raises:
        InputError: one could not be opened.
        OSError: the disk of the RUN folder is full.
    """
    loggers = Loggers([])
    for wanted in parse_loggers(config.logger):
        try:
            loggers.opened.append(_open(wanted, run, first))
        except Exception as error:  # whatever its library raises
            loggers.close("failed")
            if isinstance(error, InputError) or (
                wanted.name in _IN_RUN and isinstance(error, OSError)
            ):
                raise
            raise refused(wanted.subject, error) from error
    if not first:
        loggers.begin(config_to_dict(config))
    return loggers


def _open(wanted: Wanted, run: Path, first: int) -> Opened:
    """Open a logger; one of the package that is new to a resumed training gets what was before."""
    name = wanted.name
    if name in _IN_RUN:
        logger = _in_run(name, run, first)
        if first and not logger.continued:
            replay(run, logger)
        return Opened(wanted.subject, logger, inside=True)
    if name not in BUILT_IN:
        return Opened(wanted.subject, make_own(wanted))
    known = remembered(run).get(name) if first else None
    logger = _of_service(name, run, known)
    if first and known is None:
        replay(run, logger)
    return Opened(wanted.subject, logger, {} if known is None else known.sent)


# A logger is imported where it is wanted, because some take seconds.


def _in_run(name: str, run: Path, first: int) -> Any:
    if name == "tensorboard":
        from diffrect.training.loggers.tensorboard import Board

        return Board(run / TENSORBOARD_FOLDER, first)
    from diffrect.training.loggers.files import PictureFiles, Table

    return Table(run / CSV_FOLDER) if name == "csv" else PictureFiles(run / PICTURES_FOLDER, first)


def _of_service(name: str, run: Path, known: Remembered | None) -> Logger:
    """Open a run of a service, and note which one it is."""
    title = run.resolve().name
    if name == "mlflow":
        from diffrect.training.loggers.mlflow import MLflowRun

        made = MLflowRun(title, None if known is None else known.run)
        remember(run, name, replace(known or Remembered(""), run=str(made.version)))
        return made
    from diffrect.training.loggers.wandb import WandbRun

    entry = known or Remembered(secrets.token_hex(4))
    remember(run, name, entry)
    return WandbRun(run, title, entry.run)
