"""TensorBoard's copy of the numbers, with pictures."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from diffrect.atomic import naming


class Board(TensorBoardLogger):
    """Writes numbers and pictures for TensorBoard into a folder.

    The writer has a thread of its own. When the disk is full, that thread fails with a traceback on
    the screen, and the next call raises the same error: while a board is open, only the latter is
    seen.
    """

    def __init__(self, folder: Path, first: int) -> None:
        """Open a folder and drop what was written after iteration `first`."""
        self.folder = folder
        self.continued = folder.is_dir() and first > 0
        purge = first + 1 if first else None
        super().__init__(str(folder.parent), "", folder.name, False, purge_step=purge)
        with naming(folder):
            assert self.experiment  # opens it
        self.before = threading.excepthook
        threading.excepthook = self._leave_to_writer

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers."""
        with naming(self.folder):
            for name, value in metrics.items():
                self.experiment.add_scalar(name, value, step)

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int) -> None:
        """Write pictures (H, W, 3) uint8."""
        with naming(self.folder):
            for image in images:
                self.experiment.add_image(key, image, step, dataformats="HWC")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing: TensorBoard shows them only beside a number of its own."""

    def finalize(self, status: str) -> None:
        """Write what is left in the buffer."""
        try:
            with naming(self.folder):
                super().finalize(status)
        finally:
            threading.excepthook = self.before

    def _leave_to_writer(self, arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            self.before(arguments)
