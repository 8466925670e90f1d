"""All loggers of a training: they follow its own record, and none of them can end or change it."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from diffrect.console import warn
from diffrect.errors import InputError
from diffrect.runs.log import read_log
from diffrect.runs.names import LOG_FILE

KINDS = ("train", "val", "end")  # lines of the record that hold numbers


@dataclass
class Opened:
    """A logger, and how far it has been filled.

    Attributes:
        subject: what messages call it.
        logger: the logger.
        sent: for each kind of line, the last iteration that it has; empty if it can drop or replace
            what a resumed training writes again.
        inside: whether it writes into the RUN folder only, where a full disk ends the training.
    """

    subject: str
    logger: Logger
    sent: Mapping[str, int] = field(default_factory=dict)
    inside: bool = False


class Loggers:
    """Sends numbers and pictures to loggers.

    If a logger fails, that is said once, and the training continues without it.
    """

    def __init__(self, opened: Sequence[Opened]) -> None:
        self.opened = list(opened)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration."""

        def act(logger: Logger) -> None:
            with contextlib.suppress(NotImplementedError):  # Fabric's own CSVLogger
                logger.log_hyperparams(dict(settings))

        for each in list(self.opened):
            self._try(each, act)

    def numbers(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers as `kind/name`."""
        named = {f"{kind}/{name}": value for name, value in values.items()}
        for each in list(self.opened):
            if step > each.sent.get(kind, -1):
                self._try(each, lambda logger: logger.log_metrics(named, step))

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Write pictures (H, W, 3) uint8 by name, to those loggers that take some."""
        for each in list(self.opened):
            if step > each.sent.get("val", -1):
                for name, image in pictures.items():
                    self._try(each, lambda logger, n=name, i=image: _log_image(logger, n, i, step))

    def close(self, status: str) -> None:
        """Write what is left.

        Args:
            status: success, failed or aborted.
        """
        for each in list(self.opened):
            self._try(each, lambda logger: logger.finalize(status))
        self.opened = []

    def _try(self, each: Opened, act: Callable[..., None]) -> None:
        """Do something with a logger, or give it up."""
        if each not in self.opened:
            return
        try:
            act(each.logger)
        except Exception as error:  # whatever its library raises
            if each.inside and isinstance(error, OSError):
                raise
            self.opened.remove(each)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            rest = f"the training continues without it, and {LOG_FILE} has all numbers"
            warn(f"{each.subject}: {reason}; {rest}")
            with contextlib.suppress(Exception):
                each.logger.finalize("failed")


def replay(run: Path, logger: Logger) -> None:
    """Give a logger the numbers of the record so far."""
    for line in read_log(run / LOG_FILE):
        if line["kind"] in KINDS:
            numbers = {
                f"{line['kind']}/{name}": math.nan if value is None else value
                for name, value in line.items()
                if name not in ("kind", "step") and isinstance(value, int | float | None)
            }
            logger.log_metrics(numbers, line["step"])


def refused(subject: str, error: Exception) -> InputError:
    """Return the error that a logger could not be opened."""
    reason = f"{type(error).__name__}: {error}"
    hint = "leave it out of --logger to train without it"
    return InputError(subject, "a logger that opens", reason=reason, hint=hint, setting="logger")


def _log_image(logger: Logger, name: str, image: np.ndarray, step: int) -> None:
    """Write a picture as the loggers of Lightning do that can."""
    if hasattr(logger, "log_image"):
        logger.log_image(name, [image], step)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, image, step, dataformats="HWC")
