"""A checkpoint of a RUN folder -> what predicts, or the whole method."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from diffrect.config import TrainConfig, config_from_dict
from diffrect.data.fields import Fields
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.imaging.resample import Interpolation
from diffrect.inference.segmenter import Segmenter
from diffrect.methods.base import Method, Problem
from diffrect.methods.registry import as_trained, remembered, resolve
from diffrect.networks.folding import for_prediction
from diffrect.runs.architecture import make_network
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.model_state import ModelState, model_state
from diffrect.runs.names import Checkpoint
from diffrect.runs.plugins import check_named_by_run
from diffrect.runs.recognise import check_has_model
from diffrect.runs.state import load_statistics, load_weights

_HINT = "try --checkpoint last"


class LoadedMethod(NamedTuple):
    """A training method as a checkpoint holds it, on the CPU.

    Attributes:
        method: all networks, in training mode. Of `best`, those that only train are as they were
            before the training.
        task: what it segments.
        config: the configuration it was trained with.
        step: training iterations it has seen.
    """

    method: Method
    task: Task
    config: TrainConfig
    step: int


class LoadedNetwork(NamedTuple):
    """The network that predicts, on the CPU, and what it needs to know.

    Attributes:
        network: images (B, channels, H, W) -> logits.
        task: what it segments.
        config: the configuration it was trained with.
        step: training iterations it has seen.
        interpolation: how slices are resized.
        code: version and commit of the code that trained it; empty if not known.
    """

    network: nn.Module
    task: Task
    config: TrainConfig
    step: int
    interpolation: Interpolation
    code: dict[str, Any]


def load_network(run: Path | str, checkpoint: Checkpoint = "best") -> LoadedNetwork:
    """Return the network of a RUN folder that predicts.

    A method from outside the package is needed only if its network is of a class of its own.

    Raises:
        InputError: the folder holds no readable checkpoint of that name.
    """
    path, state = _read(Path(run), checkpoint)
    model = model_state(state, path)
    if model is None:  # version 0.1.0
        method, task, config, step = _method_of(state, path)
        interpolation = resolve(config).view_options.interpolation
        return LoadedNetwork(method.predictor, task, config, step, interpolation, {})
    return network_of(model, path, hint=_HINT)


def network_of(model: ModelState, path: Path, hint: str | None = None) -> LoadedNetwork:
    """Return the network that predicts, with its weights.

    Args:
        model: the model.
        path: the file that it is from.
        hint: what to do if a weight is not finite.

    Raises:
        InputError: the weights or the settings are not those of such a network.
    """
    try:
        config, views = as_trained(model.config)
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    if model.network is None:
        network = _make_method(config, model.task, path).predictor
    else:
        description = Fields(model.network, path, "network")
        network = make_network(description, model.predictor, path)
        _check_sizes(description, model.task, path)
    load_weights(network, model.predictor, path, hint)
    return LoadedNetwork(
        network, model.task, config, model.step, views.interpolation, dict(model.code)
    )


def load_method(run: Path | str, checkpoint: Checkpoint = "best") -> LoadedMethod:
    """Return the method of a RUN folder: of `last` all networks, of `best` what rectifies, too.

    Raises:
        InputError: the folder holds no readable checkpoint of that name.
    """
    path, state = _read(Path(run), checkpoint)
    return _method_of(state, path)


def segmenter_of(loaded: LoadedMethod, device: torch.device) -> Segmenter:
    """Return the network of a method that predicts, on a device, as prediction runs it."""
    network = loaded.method.predictor.to(device).eval()
    interpolation = resolve(loaded.config).view_options.interpolation
    config = loaded.config
    return Segmenter(for_prediction(network), config.side, interpolation, config.spacing, device)


def _read(run: Path, checkpoint: Checkpoint) -> tuple[Path, dict[str, Any]]:
    check_has_model(run, checkpoint)
    path = checkpoint_path(run, checkpoint)
    return path, load_checkpoint(path)


def _method_of(state: dict[str, Any], path: Path) -> LoadedMethod:
    """Return the method in a checkpoint, that of a training or that of a model."""
    try:
        config = config_from_dict(state["config"])
        task = Task.from_dict(state["task"])
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    method = _make_method(config, task, path)
    config = remembered(config)
    loaded = LoadedMethod(method, task, config, state["step"])
    if "method" in state:
        load_weights(method, state["method"], path, _HINT)
        load_statistics(method.predictor, state.get("statistics", {}), path)
        return loaded
    model = model_state(state, path)
    assert model is not None
    load_weights(method.predictor, model.predictor, path, _HINT)
    for name, network in method.beside_predictor.items():
        load_weights(network, model.beside.get(name, {}), path, _HINT)
    return loaded


def _make_method(config: TrainConfig, task: Task, path: Path) -> Method:
    """Return a method as a checkpoint's configuration makes it, if its code may be imported."""
    check_named_by_run(path.parent.parent, config, path, predicts=True)
    try:
        resolved = resolve(remembered(config))
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    problem = Problem(task, config.iterations, size=config.side, network=config.network)
    return resolved.method(problem, resolved.method_options)


def _check_sizes(network: Fields, task: Task, path: Path) -> None:
    """Check that a network has the channels and the classes of its task."""
    members = network.each("networks") if "networks" in network.values else [network]
    for member in members:
        for name, wanted in (("channels", task.channels), ("classes", len(task.classes))):
            if member.values[name] != wanted:
                found = member.values[name]
                raise InputError(path, f"a network of {wanted} {name}, as its task", found=found)
