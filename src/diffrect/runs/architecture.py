"""Networks as plain values: what a file says of a network, so that no class has to be named in it.

Of a network that is not described, only the method that made it can make another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.networks.mean import MeanOfNetworks
from diffrect.networks.unet import WIDTHS, UNet

_WIDEST = 2**12
_MOST_CHANNELS = 2**10
_MOST_NETWORKS = 100


def describe(network: nn.Module) -> dict[str, Any] | None:
    """Return the plain values that `make_network` takes; None if the network is of another kind."""
    if type(network) is UNet:
        widths = list(network.widths)
        sizes = {"channels": network.channels, "classes": network.classes}
        return {"kind": "unet", **sizes, "widths": widths}
    if type(network) is MeanOfNetworks:
        members = [describe(member) for member in network.networks]
        return None if None in members else {"kind": "mean", "networks": members}
    return None


def make_network(description: Fields, weights: Mapping[str, Any], path: Path) -> nn.Module:
    """Return a network of the kind described, whose weights are still to be loaded.

    Args:
        description: what `describe` has returned.
        weights: its weights, by name; nothing larger than these is made.
        path: the file that both are from.

    Raises:
        InputError: no such kind, or the weights are of another network.
    """
    with torch.device("meta"):  # takes no memory, whatever sizes the file claims
        _check_shapes(_make(description), weights, path)
    return _make(description)


def _make(description: Fields) -> nn.Module:
    kind = description.text("kind")
    if kind == "mean":
        members = description.each("networks")
        nested = any(member.values.get("kind") == "mean" for member in members)
        if nested or not 1 <= len(members) <= _MOST_NETWORKS:
            raise description.refuse("networks", f"1 to {_MOST_NETWORKS} networks", found="others")
        return MeanOfNetworks([_make(member) for member in members])
    if kind != "unet":
        raise description.refuse("kind", "a kind of network that is known, unet or mean")
    channels = description.whole("channels", 1, _MOST_CHANNELS)
    classes = description.whole("classes", 2, 255)
    numbers = description.numbers("widths", len(WIDTHS), 1, _WIDEST)
    widths = [int(number) for number in numbers]
    if any(width != number for width, number in zip(widths, numbers, strict=True)):
        raise description.refuse("widths", "whole numbers")
    return UNet(channels, classes, widths)


def _check_shapes(network: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    for name, own in network.state_dict().items():
        found = weights.get(name)
        if not isinstance(found, Tensor) or found.shape != own.shape:
            shape = "none" if not isinstance(found, Tensor) else tuple(found.shape)
            expected = f"weights that fit its network, {name} of shape {tuple(own.shape)}"
            raise InputError(path, expected, found=shape)
