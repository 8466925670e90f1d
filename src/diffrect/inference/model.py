"""A trained network with all it needs to label new scans."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from diffrect.config import TrainConfig, config_from_dict
from diffrect.console import summary
from diffrect.data.fields import Fields
from diffrect.data.task import Task, describe_task
from diffrect.distributed.devices import find_device
from diffrect.errors import InputError
from diffrect.imaging.resample import Interpolation
from diffrect.inference.arrays import Source
from diffrect.inference.average import Member
from diffrect.inference.load import load_network, network_of
from diffrect.inference.model_file import read_model_file
from diffrect.inference.onnx import OnnxNetwork
from diffrect.inference.predictor import Predictor
from diffrect.inference.rectifying.label_rectifier import Guidance, LabelRectifier
from diffrect.inference.rectifying.rectified import RectifiedLabel, rectify_volume
from diffrect.inference.segmenter import Segmenter
from diffrect.inference.views import angle_of
from diffrect.methods.registry import as_trained
from diffrect.networks.folding import for_prediction
from diffrect.networks.half import HalfPrecision
from diffrect.networks.mean import MeanOfNetworks, MeanOfViews, Views
from diffrect.runs.folds import is_cross_validation, trained_folds
from diffrect.runs.names import Checkpoint


class Model(Predictor):
    """A trained segmenter.

    Example:
        >>> import diffrect
        >>> model = diffrect.Model.load("run")
        >>> labels = model.predict("scan.nii.gz")  # (X, Y, Z), on the scan's own grid
        >>> labels.ndim, str(labels.dtype)
        (3, 'uint8')
        >>> shares = model.predict_probabilities("scan.nii.gz")  # (X, Y, Z, classes)
        >>> (shares.argmax(axis=-1) == labels).all()
        np.True_

    Attributes:
        network: images (B, channels, H, W) -> logits (B, classes, H, W), in eval mode.
        task: channels, class names, intensity normalisation, and how volumes are cut.
        config: the configuration it was trained with.
        step: training iterations it has seen.
        code: version (`diffrect`) and `commit` of the code that trained it; empty if not known.
        segmenter: the same network as prediction runs it, see `for_prediction`.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        config: TrainConfig,
        step: int,
        interpolation: Interpolation,
        device: torch.device | str = "cpu",
        code: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a network that has been trained.

        Args:
            network: images (B, channels, H, W) -> logits (B, classes, H, W).
            task: what it segments.
            config: the configuration it was trained with.
            step: training iterations it has seen.
            interpolation: how slices are resized, see `ViewOptions.interpolation`.
            device: where it runs.
            code: version and commit of the code that trained it, if they are known.
        """
        device = torch.device(device)
        self.network = network.to(device).eval()
        self.task, self.config, self.step = task, config, step
        self.code = dict(code or {})
        self._rectifier: LabelRectifier | None = None
        self.origin: tuple[Path, Checkpoint] | None = None  # the run of its training
        self.segmenter = Segmenter(
            for_prediction(self.network), config.side, interpolation, config.spacing, device
        )

    @classmethod
    def load(
        cls,
        run: Path | str,
        checkpoint: Checkpoint = "best",
        device: str = "auto",
    ) -> "Model":
        """Return the model of a RUN folder, or of a file that `export` wrote.

        That of a cross-validation averages the probabilities of its folds.

        Raises:
            InputError: the folder holds no readable checkpoint of that name, or a cross-validation
                that is not finished.
        """
        if Path(run).suffix == ".onnx":
            return cls.load_exported(Path(run))
        where = find_device(device)
        if Path(run).suffix == ".safetensors":
            loaded = network_of(read_model_file(Path(run)).state, Path(run))
            return cls(*loaded[:-1], where, loaded.code)
        if is_cross_validation(Path(run)):
            return cls.mean([cls.load(f, checkpoint, device) for f in trained_folds(Path(run))])
        loaded = load_network(run, checkpoint)
        model = cls(*loaded[:-1], where, loaded.code)
        model.origin = Path(run), checkpoint
        return model

    @classmethod
    def mean(cls, models: Sequence["Model"]) -> "Model":
        """Return a model whose probabilities are the mean of those of several models.

        Raises:
            InputError: they differ in their task, or in how slices become the network's input.
        """
        first = models[0]
        seen = [replace(m.segmenter, network=first.segmenter.network) for m in models]
        differing = any(m.task != first.task for m in models) or any(s != seen[0] for s in seen)
        if differing:
            raise InputError("models", "one task and one size to average", got="several")
        network = MeanOfNetworks([model.network for model in models])
        device, interpolation = first.segmenter.device, first.interpolation
        config, step, code = first.config, first.step, first.code
        return cls(network, first.task, config, step, interpolation, device, code)

    @classmethod
    def load_exported(cls, path: Path) -> "Model":
        """Return the model of a file that `export` wrote; it runs on the CPU.

        Raises:
            InputError: not such a file, or ONNX Runtime is not installed.
        """
        network = OnnxNetwork(path)
        try:
            fields = Fields(network.metadata, path)
            config, views = as_trained(config_from_dict(fields.fields("config").values))
            task = Task.from_dict(fields.fields("task").values)
            step = fields.whole("step", 0)
        except InputError as error:
            raise InputError(path, "what export remembers", reason=error) from None
        return cls(network, task, config, step, views.interpolation)

    def in_half_precision(self) -> "Model":
        """Return the model with a network that computes in bfloat16 when it predicts.

        The probabilities are interpolated in float32. Some labels at the borders of classes may
        differ, see docs/how-to/predict.md. Processors that do not compute with bfloat16 take longer
        than with float32.

        Raises:
            InputError: an exported model, which runs in float32, or another device than a CPU or a
                CUDA GPU.
        """
        if isinstance(self.network, OnnxNetwork):
            raise InputError("--precision bf16", "another model than one of ONNX, it is float32")
        device = self.segmenter.device
        if device.type not in ("cpu", "cuda"):
            raise InputError("--precision bf16", "a CPU or a CUDA device", got=device.type)
        return self._with(network=HalfPrecision(self.segmenter.network, device), half=True)

    def averaging_views(self, views: Views) -> "Model":
        """Return the model with a network that averages several views of each slice.

        It is known as test-time augmentation, and takes as many times as long as there are views.
        Views that the model was not trained on make its labels worse.

        Args:
            views: `rotations` for three views, rotated by up to three quarters of what the training
                rotates; `flips` for four mirrored ones, `turns` for these and their quarter turns,
                for models trained with `turn_probability` or by preset `reference`.
        """
        network = MeanOfViews(self.segmenter.network, views, angle_of(self.config))
        return self._with(network=network)

    def _with(self, **changes: Any) -> "Model":
        """Return the model with another segmenter."""
        changed = copy.copy(self)
        changed.segmenter = replace(self.segmenter, **changes)
        return changed

    def __repr__(self) -> str:
        device, size = self.segmenter.device, self.size
        facts = f"{self.config.method}, iteration {self.step}, {describe_task(self.task)}"
        return summary(self, f"{facts}, {size} x {size} pixels, on {device}")

    @property
    def members(self) -> tuple[Member, ...]:
        """The segmenter and its task, see `segment_by_all`."""
        return (Member(self.segmenter, self.task),)

    @property
    def intensity(self) -> str:
        """How raw intensities become network input, see `Intensity`."""
        return self.task.intensity

    @property
    def axis(self) -> str:
        """How volumes are cut into slices, see `choose_slicing`."""
        return self.task.axis

    @property
    def size(self) -> int:
        """Side of the network's input in pixels."""
        return self.segmenter.size

    @property
    def interpolation(self) -> Interpolation:
        """How slices are resized, see `ViewOptions.interpolation`."""
        return self.segmenter.interpolation

    def rectify(
        self,
        source: np.ndarray | Path | str,
        label: np.ndarray | Path | str,
        *,
        guidance: Guidance = "auto",
        spacing: Sequence[float] | None = None,
        axis: str | None = None,
    ) -> RectifiedLabel:
        """Return a label of a scan, made by whatever means, corrected by the training's rectifier.

        Args:
            source: the scan, see `predict`.
            label: its label file, or an array of class codes in the layout of the scan's array.
            guidance: how far the label is off, from 0 (hardly) to 1 (widely); auto measures it.
            spacing: see `predict`.
            axis: see `predict`.

        Returns:
            The label on the grid of the scan, and how sure each change is.

        Raises:
            InputError: something that cannot be read; label and scan lie differently; or the model
                has no rectifier, as only runs of `diffrect` have.
        """
        scan = Source.of(source, self.channels, spacing)
        found = rectify_volume(
            self.rectifier, scan.image, scan.label(label), guidance=guidance, axis=axis
        )
        return found.in_layout(scan.single)

    @property
    def rectifier(self) -> LabelRectifier:
        """The rectifier of the training, read when it is first asked for.

        Raises:
            InputError: there is none.
        """
        if self._rectifier is None:
            if self.origin is None:
                expected = "a model of one RUN folder, which holds its rectifier"
                raise InputError("model", expected, found="an exported or averaged one")
            device = self.segmenter.device
            self._rectifier = LabelRectifier.load(*self.origin, device)
        return self._rectifier

    def predict_slices(
        self,
        images: np.ndarray,
        batch: int | None = None,
        spacing: tuple[float, float, float] | None = None,
    ) -> np.ndarray:
        """Return class maps of normalised slices, uint8 (Z, H, W) on their own grid.

        Args:
            images: float32 (Z, C, H, W), intensities as in a store.
            batch: slices per forward pass; None takes the number that is quickest.
            spacing: millimetres between slices, rows and columns; needed only by models that
                resample to a spacing.

        Raises:
            InputError: the model resamples, and the spacing is None.
        """
        return self.segmenter.labels(images, self.segmenter.zoom(spacing, "spacing"), batch)
