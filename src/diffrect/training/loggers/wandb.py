"""Weights & Biases: a run in files, which leaves the machine only where `WANDB_MODE` says so."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric.loggers.logger import Logger

STEP = "iteration"


class WandbRun(Logger):
    """Writes numbers, pictures and the configuration to a run of Weights & Biases.

    Without `WANDB_MODE` it works offline, because the pictures show patients. The variables of the
    library hold: `WANDB_PROJECT` (diffrect), `WANDB_DIR` (the RUN folder), `WANDB_RUN_ID`.

    Args:
        folder: where its files go.
        name: of a new run.
        identity: of the run; one that there is already is continued.
    """

    version: str = ""

    def __init__(self, folder: Path, name: str, identity: str) -> None:
        import wandb

        environment = os.environ.get
        self.image, self._name = wandb.Image, name
        self.version = environment("WANDB_RUN_ID", identity)
        self.run = wandb.init(
            dir=environment("WANDB_DIR", str(folder)),
            project=environment("WANDB_PROJECT", "diffrect"),
            mode=environment("WANDB_MODE", "offline"),
            name=environment("WANDB_NAME", name),
            id=self.version,
            resume="allow",
            settings=wandb.Settings(console="off"),
        )
        # Its own count of steps only rises, and what an iteration reports comes in several calls.
        self.run.define_metric("*", step_metric=STEP)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._name

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers, but those that are undefined."""
        defined = {name: value for name, value in metrics.items() if np.isfinite(value)}
        self.run.log({**defined, STEP: step})

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int) -> None:
        """Write pictures (H, W, 3) uint8."""
        self.run.log({key: [self.image(image) for image in images], STEP: step})

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write the configuration."""
        self.run.config.update(dict(params), allow_val_change=True)

    def finalize(self, status: str) -> None:
        """Close the run."""
        self.run.finish(exit_code=0 if status == "success" else 1)
