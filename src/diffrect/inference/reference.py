"""Models that the authors' code has trained."""

from pathlib import Path

from diffrect.config import TrainConfig
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.inference.model import Model
from diffrect.networks.reference import read_reference_network
from diffrect.networks.unet import UNet


def load_reference_checkpoint(
    path: Path | str, classes: tuple[str, ...] | None = None, size: int = 256
) -> Model:
    """Return a segmenter trained with the authors' code, ready to predict as their code does.

    Example:
        Here the weights of a RUN folder, under the authors' names, serve as their checkpoint.

        >>> import diffrect, torch
        >>> from diffrect.networks.reference import reference_names
        >>> network = diffrect.Model.load("run").network
        >>> weights = network.state_dict()
        >>> named = {theirs: weights[ours] for theirs, ours in reference_names(network).items()}
        >>> torch.save(named, "unet_best_model.pth")

        >>> model = diffrect.load_reference_checkpoint("unet_best_model.pth")
        >>> model.predict("scan.nii.gz").ndim
        3

    Args:
        path: the .pth file that their training wrote.
        classes: names of the classes, background first; default "background", "class 1", ...
        size: side in pixels of the slices it was trained on.

    Raises:
        InputError: not such a checkpoint, or it has another number of classes.
    """
    network = read_reference_network(Path(path))
    if not isinstance(network, UNet):
        raise InputError(path, "a segmenter's checkpoint, it holds a rectifier")
    names = classes or ("background", *(f"class {i}" for i in range(1, network.classes)))
    if len(names) != network.classes:
        raise InputError(path, f"{network.classes} class names", got=len(names))
    config = TrainConfig(preset="reference", size=size)
    return Model(network, Task(network.channels, names, "minmax"), config, 0, "nearest")
