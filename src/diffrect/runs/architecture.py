"""Networks as plain values: what a file says of a network, so that it needs no method to be made.

The U-Net is described by its sizes. A network that the user has put in its place is named, and made
only if its module may be imported because a file names it, see `plugins.trust`. Of a network that
is not described, only the method that made it can make another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffrect.config import TrainConfig
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.networks.mean import MeanOfNetworks
from diffrect.networks.own import OwnNetwork
from diffrect.networks.unet import WIDTHS, UNet
from diffrect.runs.plugins import check_named_by_run

_WIDEST = 2**12
_MOST_CHANNELS = 2**10
_MOST_NETWORKS = 100


def describe(network: nn.Module) -> dict[str, Any] | None:
    """Return the plain values that `make_network` takes; None if the network is of another kind."""
    if type(network) is UNet:
        widths = list(network.widths)
        sizes = {"channels": network.channels, "classes": network.classes}
        return {"kind": "unet", **sizes, "widths": widths}
    if type(network) is OwnNetwork:
        sizes = {"channels": network.channels, "classes": network.classes}
        return {"kind": "own", **sizes, "name": network.text}
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
        InputError: no such kind, the weights are of another network, or it is named and may not be
            imported.
    """
    several = "networks" in description.values
    members = description.each("networks") if several else [description]
    own = [member for member in members if member.values.get("kind") == "own"]
    for member in own:
        config = TrainConfig(network=member.text("name"))
        check_named_by_run(path.parent.parent, config, path, predicts=True)
    with torch.device("meta"):  # takes no memory, whatever sizes the file claims
        try:
            _check_shapes(_make(description), weights, path)
        except InputError:
            if not own:  # whose code may want numbers
                raise
    network = _make(description)
    _check_shapes(network, weights, path)
    return network


def _make(description: Fields) -> nn.Module:
    kind = description.text("kind")
    if kind == "mean":
        members = description.each("networks")
        nested = any(member.values.get("kind") == "mean" for member in members)
        if nested or not 1 <= len(members) <= _MOST_NETWORKS:
            raise description.refuse("networks", f"1 to {_MOST_NETWORKS} networks", found="others")
        return MeanOfNetworks([_make(member) for member in members])
    if kind not in ("unet", "own"):
        raise description.refuse("kind", "a kind of network that is known, unet, own or mean")
    channels = description.whole("channels", 1, _MOST_CHANNELS)
    classes = description.whole("classes", 2, 255)
    if kind == "own":
        return OwnNetwork(description.text("name"), channels, classes)
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
