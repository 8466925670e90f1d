"""A model of diffrect as a task of MONAI Label."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.exception import MONAILabelError
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from diffrect.inference.model import Model
from diffrect.inference.predict_file import PredictOptions, predict_file
from diffrect.inference.views import choose_views
from lib.settings import Settings, refusing

SUFFIXES = (".nii.gz", ".nrrd")
"""Suffixes of label files that a client may ask for."""


class Segmentation(InferTask):
    """A model that labels a scan on its own grid.

    Attributes:
        model: the model.
    """

    def __init__(self, settings: Settings) -> None:
        """Load the model.

        Raises:
            InputError: see `Model.load`.
        """
        model = Model.load(settings.run, settings.checkpoint, settings.device)
        views = choose_views(settings.tta, model.task, model.config, settings.run)
        self.model = model if views is None else model.averaging_views(views)
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={name: code for code, name in enumerate(model.classes) if code},
            dimension=3,
            description=f"Segmentation by {settings.run.name}, a model of diffrect",
            config={"largest_component": False},
        )

    def is_valid(self) -> bool:
        """Return whether the task can be used: the model was loaded."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Label a scan.

        Args:
            request: `image`, the scan's file or the folder of its series; `largest_component`,
                whether to keep only the largest part of each class; `result_extension` of the file.

        Returns:
            The label file, which the server removes when it has sent it, and what clients are told.
        """
        began = time.monotonic()
        suffix = request.get("result_extension") or SUFFIXES[0]
        suffix = suffix if suffix in SUFFIXES else SUFFIXES[0]
        with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as made:
            file = Path(made.name)
        options = PredictOptions(largest_component=bool(request.get("largest_component")))
        try:
            with refusing(MONAILabelError.INFERENCE_ERROR):
                predict_file(self.model, Path(request["image"]), file, options)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        seconds = round(time.monotonic() - began, 2)
        return str(file), {"label_names": self.labels, "latencies": {"total": seconds}}
