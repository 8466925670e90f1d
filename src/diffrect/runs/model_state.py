"""What a checkpoint holds of a model: what predicts and rectifies, without what only trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffrect.config import TrainConfig, config_from_dict, config_to_dict
from diffrect.data.fields import Fields
from diffrect.data.task import Task
from diffrect.errors import InputError

Weights = Mapping[str, Any]


@dataclass(frozen=True)
class ModelState:
    """A trained model as tensors and plain values, as `best.pt` holds it.

    Attributes:
        step: training iterations it has seen.
        config: the configuration, its options complete.
        task: what is segmented.
        code: version and commit of the code that trained it; empty in older files.
        network: the kind of the network that predicts, see `architecture.describe`; None if only
            the method can make it.
        predictor: its weights, with the statistics of batch norm with which it predicts.
        beside: weights of the networks that the method keeps beside it, by their names in it, see
            `Method.beside_predictor`.
    """

    step: int
    config: TrainConfig
    task: Task
    code: Mapping[str, Any]
    network: Mapping[str, Any] | None
    predictor: Weights
    beside: Mapping[str, Weights]

    def to_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {**vars(self), "config": config_to_dict(self.config), "task": self.task.to_dict()}


def model_state(values: Mapping[str, Any], path: Path) -> ModelState | None:
    """Return the model in a checkpoint, that of a training or that of a model.

    Args:
        values: its content, as `load_checkpoint` returns it.
        path: its file, for messages.

    Returns:
        The model; None for the checkpoint of a training of version 0.1.0, from which only the
        method can tell the network that predicts.

    Raises:
        InputError: the values are not such a model.
    """
    fields = Fields(values, path)
    if "predictor" in values:
        predictor = fields.fields("predictor").values
        beside = fields.fields("beside", {})
        others = {name: beside.fields(name).values for name in beside.values}
    elif "predicts" in values:
        predictor = _predictor_of(fields)
        others = {}
    else:
        return None
    try:
        config = config_from_dict(fields.fields("config").values)
        task = Task.from_dict(fields.fields("task").values)
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    network = None if values.get("network") is None else fields.fields("network").values
    code = fields.fields("code", {}).values
    return ModelState(fields.whole("step", 0), config, task, code, network, predictor, others)


def _predictor_of(fields: Fields) -> dict[str, Any]:
    """Return the weights of the network that predicts, out of those of the whole method."""
    name = fields.text("predicts")
    prefix = f"{name}." if name else ""
    weights = {
        key.removeprefix(prefix): value
        for key, value in fields.fields("method").values.items()
        if key.startswith(prefix)
    }
    return {**weights, **fields.fields("statistics", {}).values}


def name_of(network: nn.Module, method: nn.Module) -> str | None:
    """Return the name of a network within its method; None if it is no part of it."""
    return next((name for name, part in method.named_modules() if part is network), None)


def halved(weights: Weights) -> dict[str, Any]:
    """Return weights with those of layers as float16; statistics and biases stay as they are.

    A tensor with a number too large for float16 stays as it is, too.
    """
    return {name: _half(value) for name, value in weights.items()}


def _half(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.dim() < 2:
        return value
    half = value.half()
    return half if half.isfinite().all() else value
