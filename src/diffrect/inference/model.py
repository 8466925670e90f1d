"""A trained network with all it needs to label new slices."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from diffrect.config import TrainConfig, config_from_dict
from diffrect.data.task import Task
from diffrect.distributed.ranks import is_launched
from diffrect.errors import InputError
from diffrect.imaging.resample import Interpolation, Zoom, labels_from_logits, to_network, zoom_of
from diffrect.inference.onnx import OnnxNetwork
from diffrect.methods.base import Method, Problem
from diffrect.methods.registry import resolve
from diffrect.networks.folding import for_prediction, slices_at_once
from diffrect.networks.reference import read_reference_network
from diffrect.networks.unet import UNet
from diffrect.processes import local_rank
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint


@torch.inference_mode()
def predict_slices(
    network: nn.Module,
    images: np.ndarray,
    size: int,
    interpolation: Interpolation,
    device: torch.device | str,
    batch: int | None = None,
    zoom: Zoom = None,
) -> np.ndarray:
    """Class maps of slices, on the slices' own grid.

    Args:
        network: in eval mode, images (B, C, size, size) -> logits.
        images: float32 (Z, C, H, W), intensities as the network was trained on.
        size: side of the network's input.
        interpolation: see `ViewOptions.interpolation`.
        device: where the network is.
        batch: slices per forward pass; None takes the number that is quickest.
        zoom: see `diffrect.imaging.resample`; None resizes.

    Returns:
        uint8 (Z, H, W).
    """
    shape = (images.shape[-2], images.shape[-1])
    dtype = _dtype_of(network)
    batch = batch or slices_at_once(size, torch.device(device))
    labels = []
    for start in range(0, len(images), batch):
        part: Tensor = torch.from_numpy(images[start : start + batch]).to(device, dtype)
        logits = network(to_network(part, size, interpolation, zoom))
        labels.append(labels_from_logits(logits, shape, interpolation, zoom).cpu().numpy())
    return np.concatenate(labels)


def _dtype_of(network: nn.Module) -> torch.dtype:
    return next((p.dtype for p in network.parameters()), torch.float32)  # exported: has none


class Model:
    """A trained segmenter.

    Attributes:
        network: images (B, channels, H, W) -> logits (B, classes, H, W), in eval mode.
        folded: the same function as prediction runs it, see `for_prediction`.
        task: channels, class names and intensity normalisation.
        config: the configuration it was trained with.
        step: iterations it has seen.
        interpolation: how slices are resized.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        config: TrainConfig,
        step: int,
        interpolation: Interpolation,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.folded = for_prediction(self.network)
        self.task, self.config, self.step = task, config, step
        self.interpolation: Interpolation = interpolation

    @classmethod
    def load(
        cls,
        run: Path | str,
        checkpoint: Literal["best", "last"] = "best",
        device: str = "auto",
    ) -> "Model":
        """The model of a RUN folder, or of a file that `export` wrote.

        Raises:
            InputError: the folder holds no readable checkpoint of that name.
        """
        if Path(run).suffix == ".onnx":
            return cls.load_exported(Path(run))
        method, task, config, step = load_method(run, checkpoint)
        interpolation = resolve(config).view_options.interpolation
        where = pick_device(device)
        return cls(method.predictor, task, config, step, interpolation, where)

    @classmethod
    def load_exported(cls, path: Path) -> "Model":
        """The model of a file that `export` wrote; runs on the CPU.

        Raises:
            InputError: not such a file, or ONNX Runtime is not installed.
        """
        network = OnnxNetwork(path)
        try:
            config = config_from_dict(network.metadata["config"])
            task = Task.from_dict(network.metadata["task"])
            interpolation = resolve(config).view_options.interpolation
            step = network.metadata["step"]
        except (InputError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected what export remembers: {error}") from None
        return cls(network, task, config, step, interpolation)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class codes; the first is the background."""
        return self.task.classes

    @property
    def channels(self) -> int:
        """Image channels."""
        return self.task.channels

    @property
    def intensity(self) -> str:
        """How raw intensities become network input."""
        return self.task.intensity

    @property
    def axis(self) -> str:
        """How volumes are cut into slices."""
        return self.task.axis

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the network's input."""
        return _dtype_of(self.network)

    @property
    def size(self) -> int:
        """Side of the network's input, pixels."""
        return self.config.side

    def zoom(self, spacing: tuple[float, float, float] | None, name: str) -> Zoom:
        """How slices with this spacing (slices, rows, columns) become the network's input.

        Raises:
            InputError: the model resamples, and the spacing of what is called ``name`` is None.
        """
        return zoom_of(spacing, self.config.spacing, name)

    def predict(
        self,
        source: "np.ndarray | Path | str",
        *,
        spacing: Sequence[float] | None = None,
        axis: str | None = None,
        largest_component: bool = False,
    ) -> np.ndarray:
        """uint8 labels of a scan, on its own grid.

        Args:
            source: an image file, the folder of a DICOM series, or an array of raw intensities:
                (X, Y, Z), or a single slice (H, W); with several channels these come last.
            spacing: millimetres along the axes of an array; only models need it that resample to a
                spacing, or choose the axis they cut by it.
            axis: cut it in another way than the training's scans, see `choose_slicing`.
            largest_component: keep of each class the largest connected part alone.

        Raises:
            InputError: something that cannot be read, or that the model was not trained for.
        """
        from diffrect.imaging.read import read_image
        from diffrect.inference.segment import segment, volume_of

        if isinstance(source, Path | str):
            volume = read_image(Path(source))
            return segment(self, volume, axis=axis, largest_component=largest_component)
        array = np.asarray(source)
        volume = volume_of(array, self.channels, spacing)
        labels = segment(self, volume, axis=axis, largest_component=largest_component)
        single = array.ndim == (2 if self.channels == 1 else 3)
        return np.ascontiguousarray(labels[:, :, 0].T) if single else labels

    def predict_slices(
        self,
        images: np.ndarray,
        batch: int | None = None,
        spacing: tuple[float, float, float] | None = None,
    ) -> np.ndarray:
        """uint8 class maps (Z, H, W) of normalised slices (Z, C, H, W), see `predict_slices`.

        ``spacing`` (slices, rows, columns) is needed by models that resample to a spacing alone.
        """
        zoom = self.zoom(spacing, "spacing")
        return predict_slices(
            self.folded, images, self.size, self.interpolation, self.device, batch, zoom
        )


class LoadedMethod(NamedTuple):
    """A training method as a checkpoint holds it, on the CPU."""

    method: Method
    task: Task
    config: TrainConfig
    step: int


def load_method(run: Path | str, checkpoint: Literal["best", "last"] = "best") -> LoadedMethod:
    """All networks of a RUN folder's method, those that training alone needs included.

    Raises:
        InputError: the folder holds no readable checkpoint of that name.
    """
    path = checkpoint_path(Path(run), checkpoint)
    state = load_checkpoint(path)
    try:
        config = config_from_dict(state["config"])
        task = Task.from_dict(state["task"])
        resolved = resolve(config)
    except (InputError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: expected what a training remembers: {error}") from None
    problem = Problem(task, config.iterations, size=config.side)
    method = resolved.method(problem, resolved.method_options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # complex numbers for real ones
            method.load_state_dict(state["method"])
    except (RuntimeError, TypeError, UserWarning) as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise InputError(f"{path}: expected weights that fit its configuration: {reason}") from None
    weights = method.state_dict().items()
    broken = next((name for name, values in weights if not values.isfinite().all()), None)
    if broken is not None:
        raise InputError(f"{path}: expected finite weights, {broken} is not; try --checkpoint last")
    return LoadedMethod(method, task, config, state["step"])


def pick_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is one.

    Raises:
        InputError: torch has no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and is_launched():  # another process of this machine has the first GPU
        name = f"cuda:{local_rank() % max(1, torch.cuda.device_count())}"
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        device = torch.device("meta")  # holds no numbers
    if device.type == "meta":
        raise InputError(f"--device {name}: expected one that torch finds here, such as cpu")
    return device


def load_reference_checkpoint(
    path: Path | str, classes: tuple[str, ...] | None = None, size: int = 256
) -> Model:
    """A segmenter trained with the authors' code, ready to predict as their code does.

    Args:
        path: the .pth file their training wrote.
        classes: names of the classes, background first; default "background", "class 1", ...
        size: the size it was trained at.

    Raises:
        InputError: not such a checkpoint, or it has another number of classes.
    """
    network = read_reference_network(Path(path))
    if not isinstance(network, UNet):
        raise InputError(f"{path}: expected a segmenter's checkpoint, it holds a rectifier")
    names = classes or ("background", *(f"class {i}" for i in range(1, network.classes)))
    if len(names) != network.classes:
        raise InputError(f"{path}: expected {network.classes} class names, got {len(names)}")
    config = TrainConfig(preset="reference", size=size)
    return Model(network, Task(network.channels, names, "minmax"), config, 0, "nearest")
