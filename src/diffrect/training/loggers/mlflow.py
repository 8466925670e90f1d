"""MLflow: a run on the server or in the folder that its own environment variables name."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lightning_fabric.loggers.logger import Logger

STATUS = {"success": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}
MOST_PARAMETERS = 100  # in one request


class MLflowRun(Logger):
    """Writes numbers, pictures and the configuration to a run of MLflow.

    `MLFLOW_TRACKING_URI` says where, `MLFLOW_EXPERIMENT_NAME` in which experiment (diffrect), and
    `MLFLOW_RUN_ID` names a run to continue. A server that is away is asked once more and no
    longer, unless `MLFLOW_HTTP_REQUEST_MAX_RETRIES` says otherwise: a training waits meanwhile.

    Args:
        name: of a new run.
        identity: of a run to continue; None begins a new one.
    """

    version: str | None = None

    def __init__(self, name: str, identity: str | None) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        import mlflow

        self.entities, self.client, self._name = mlflow.entities, mlflow.MlflowClient(), name
        self.version = os.environ.get("MLFLOW_RUN_ID", identity)
        if self.version is not None:
            self.client.update_run(self.version, status="RUNNING")
            return
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "diffrect")
        found = self.client.get_experiment_by_name(title)
        experiment = self.client.create_experiment(title) if found is None else found.experiment_id
        self.version = self.client.create_run(experiment, run_name=name).info.run_id

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._name

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers, but those that are undefined."""
        now = int(1000 * time.time())
        lines = [
            self.entities.Metric(_plain(name), float(value), now, step or 0)
            for name, value in metrics.items()
            if np.isfinite(value)
        ]
        self.client.log_batch(self.version, metrics=lines)

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int) -> None:
        """Write pictures (H, W, 3) uint8."""
        for image in images:
            self.client.log_image(self.version, image, artifact_file=f"{key}_{step:06d}.png")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write the configuration."""
        lines = [self.entities.Param(_plain(n), str(v)[:500]) for n, v in params.items()]
        for start in range(0, len(lines), MOST_PARAMETERS):
            self.client.log_batch(self.version, params=lines[start : start + MOST_PARAMETERS])

    def finalize(self, status: str) -> None:
        """Close the run."""
        self.client.set_terminated(self.version, STATUS.get(status, "FAILED"))


def _plain(name: str) -> str:
    """Return a name with the characters that MLflow takes."""
    return re.sub(r"[^A-Za-z0-9_\-./ ]", "_", name)
