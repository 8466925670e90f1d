"""Give networks and optimisers the state that a checkpoint holds, refused by name if it differs."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.data.fields import Fields, is_number
from diffrect.errors import InputError

# What torch raises, and a method whose extra state is foreign.
_MISFITS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, UserWarning)

_FITTING = "weights that fit its configuration"


def load_weights(method: nn.Module, values: Any, path: Path, hint: str | None = None) -> None:
    """Give a method the weights of a checkpoint.

    Args:
        method: all networks, as the checkpoint's configuration makes them.
        values: the checkpoint's entry `method`.
        path: the checkpoint.
        hint: what to do if a weight is not finite.

    Raises:
        InputError: an entry is missing, or is of another kind or shape than the method's, or is not
            finite.
    """
    _load(method, Fields(values, path, "method"))
    weights = {n: v for n, v in method.state_dict().items() if isinstance(v, Tensor)}
    broken = next((n for n, values in weights.items() if not values.isfinite().all()), None)
    if broken is not None:
        raise InputError(path, f"finite weights, {broken} is not", hint=hint)


def load_statistics(predictor: nn.Module, values: Any, path: Path) -> None:
    """Give the network that predicts the statistics of batch norm with which it predicts.

    Args:
        predictor: the network.
        values: the checkpoint's entry `statistics`; empty where they are those of training.
        path: the checkpoint.

    Raises:
        InputError: an entry is none of the network's, or of another kind or shape, or not finite.
    """
    fields = Fields(values, path, "statistics")
    own = predictor.state_dict()
    foreign = next((name for name in fields.values if name not in own), None)
    if foreign is not None:
        raise InputError(path, _FITTING, reason=f"no statistics called {foreign}")
    _load(predictor, fields, strict=False)
    weights = predictor.state_dict()
    broken = next((n for n in fields.values if not weights[n].isfinite().all()), None)
    if broken is not None:
        raise InputError(path, f"finite statistics, {broken} is not")


def load_average(network: nn.Module, values: Any, path: Path) -> None:
    """Give a copy of a method's segmenter the moving average of a checkpoint.

    Args:
        network: the copy.
        values: the checkpoint's entry `average`.
        path: the checkpoint.

    Raises:
        InputError: an entry is missing, or is of another kind or shape, or is not finite.
    """
    _load(network, Fields(values, path, "average"))
    broken = next((n for n, v in network.state_dict().items() if not v.isfinite().all()), None)
    if broken is not None:
        raise InputError(path, f"a finite average, {broken} is not")


def _load(module: nn.Module, fields: Fields, *, strict: bool = True) -> None:
    """Give a module the state in a checkpoint's entry; all of it, if `strict`."""
    for name, weight in module.state_dict().items():
        found = fields.values.get(name)
        if not isinstance(weight, Tensor) or found is None:
            continue  # a method's own state, or torch says that it is missing
        if not isinstance(found, Tensor):
            raise InputError(fields.where, _FITTING, reason=f"{name} is no tensor")
        if (found.is_floating_point(), found.is_complex()) != (weight.is_floating_point(), False):
            raise InputError(fields.where, _FITTING, reason=f"{name} is {found.dtype}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            module.load_state_dict(fields.values, strict=strict)
    except _MISFITS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()[:200]
        raise InputError(fields.where, _FITTING, reason=reason) from None


def load_optimizers(optimizers: Mapping[str, Optimizer], values: Any, path: Path) -> None:
    """Give the optimisers of a training their state in a checkpoint.

    Args:
        optimizers: the optimisers by name.
        values: the checkpoint's entry `optimizers`.
        path: the checkpoint.

    Raises:
        InputError: an optimiser is missing, or its state is not of these parameters.
    """
    fields = Fields(values, path, "optimizers")
    for name, optimizer in optimizers.items():
        one = fields.fields(name)
        _check_groups(optimizer, one)
        _check_moments(optimizer, one)
        try:
            optimizer.load_state_dict(dict(one.values))
        except _MISFITS as error:
            expected = f"the state of its optimiser under '{one.name}'"
            raise InputError(path, expected, reason=error) from None


def _check_groups(optimizer: Optimizer, fields: Fields) -> None:
    """Check that the settings of the optimiser's groups are numbers where they are numbers now."""
    groups, now = fields.each("param_groups"), optimizer.state_dict()["param_groups"]
    if len(groups) != len(now):
        raise fields.refuse("param_groups", f"a list of {len(now)}", found=len(groups))
    for group, own in zip(groups, now, strict=True):
        if group.get("params") != own["params"]:
            raise group.refuse("params", f"{len(own['params'])} parameters by number")
        for name, value in own.items():
            if is_number(value):
                group.number(name, -1e30, 1e30, default=value)
            elif (
                isinstance(value, bool) and group.get(name, value) is not None
            ):  # None: torch's own
                group.flag(name, value)


def _check_moments(optimizer: Optimizer, fields: Fields) -> None:
    """Check that what the optimiser remembers of each parameter has the parameter's shape."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = fields.get("state")
    if not isinstance(state, Mapping):
        raise fields.refuse("state", "what it remembers of each parameter")
    for number, moments in state.items():
        known = type(number) is int and 0 <= number < len(parameters)
        if not (known and isinstance(moments, Mapping)):
            raise fields.refuse("state", f"the numbers 0 to {len(parameters) - 1}", found=number)
        shape = parameters[number].shape
        if not all(_is_moment(moment, shape) for moment in moments.values()):
            expected = f"finite tensors of shape {tuple(shape)} for parameter {number}"
            raise fields.refuse("state", expected, found="something else")
    if any(group.get("fused", False) is True for group in fields.each("param_groups")):
        tensors = (
            n for n, kept in state.items() if any(isinstance(m, Tensor) for m in kept.values())
        )
        missing = optimizer.state_dict()["state"].keys() - set(tensors)
        if missing:  # a fused step takes all momenta at once
            raise fields.refuse("state", f"tensors for parameter {min(missing)}", found="none")


def _is_moment(value: Any, shape: torch.Size) -> bool:
    """Return whether a value is a count or none, or a finite tensor of a parameter's shape."""
    if not isinstance(value, Tensor):
        return value is None or (is_number(value) and math.isfinite(value))
    fits = value.is_floating_point() and (value.shape == shape or value.dim() == 0)
    return fits and bool(value.isfinite().all())
