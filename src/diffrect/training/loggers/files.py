"""Numbers as a table of comma-separated values, and pictures as PNG files."""

import io
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.logger import Logger
from PIL import Image

from diffrect.atomic import naming, write_atomic


class Table(CSVLogger):
    """Writes FOLDER/metrics.csv, which begins anew whenever it is opened.

    Args:
        folder: the folder.
    """

    continued = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with naming(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
            super().__init__(str(folder.parent), "", folder.name, flush_logs_every_n_steps=1)
            assert self.experiment  # makes the folder

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write one line; an undefined number leaves its place empty."""
        defined = {name: value for name, value in metrics.items() if np.isfinite(value)}
        with naming(self.folder):
            super().log_metrics(defined, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing: `config.yaml` is beside it."""


class PictureFiles(Logger):
    """Writes pictures as FOLDER/NAME_STEP.png, and no numbers.

    Args:
        folder: the folder; pictures of later iterations than `first` are removed from it.
        first: iterations done.
    """

    continued = True

    def __init__(self, folder: Path, first: int) -> None:
        self.folder = folder
        for file in folder.glob("*_*.png"):
            step = re.search(r"_(\d+)\.png$", file.name)
            if step is not None and int(step[1]) > first:
                file.unlink()

    @property
    def name(self) -> str:
        """Name of the logger."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Return nothing: there is one."""
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write nothing."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int) -> None:
        """Write pictures (H, W, 3) uint8."""
        self.folder.mkdir(exist_ok=True)
        for image in images:
            content = io.BytesIO()
            Image.fromarray(image).save(content, format="PNG")
            path = self.folder / f"{key.rpartition('/')[2]}_{step:06d}.png"
            write_atomic(path, content.getbuffer(), sync=False)
