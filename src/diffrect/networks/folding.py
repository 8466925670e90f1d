"""Fold networks for prediction: the same function with less work."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from diffrect.networks.unet import ConvHalf


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose batch norms are part of the convolutions before them."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, ConvHalf):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]  # only here is it no batch norm
    return network


def for_prediction(network: nn.Module) -> nn.Module:
    """Return a copy without batch norms, in the layout in which convolutions run fastest.

    Networks without blocks of `networks.unet`, such as exported ones, are returned as they are.
    """
    if not any(isinstance(module, ConvHalf) for module in network.modules()):
        return network
    folded = fold_batch_norm(network).requires_grad_(False)
    folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    return folded


def slices_at_once(size: int, device: torch.device, *, half: bool = False) -> int:
    """Return how many slices to forward at once for the least time per slice.

    The maps of two slices of 256 x 256 fit the caches of a CPU, of four in half precision; a GPU
    needs many to be busy.

    Args:
        size: height and width of the slices.
        device: where the network runs.
        half: whether it computes in half precision.
    """
    pixels = 1 << ((17 if device.type == "cpu" else 20) + half)
    return max(1, pixels // size**2)
