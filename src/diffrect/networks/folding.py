"""Networks as prediction runs them: the same function, less work."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from diffrect.networks.unet import ConvHalf


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose batch norms have become part of the convolutions before them."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, ConvHalf):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return network


def for_prediction(network: nn.Module) -> nn.Module:
    """A network's copy without batch norms, in the layout in which convolutions run fastest.

    Networks without convolutions of ours, such as exported ones, stay as they are.
    """
    if not any(isinstance(module, ConvHalf) for module in network.modules()):
        return network
    folded = fold_batch_norm(network).requires_grad_(False)
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def slices_at_once(size: int, device: torch.device) -> int:
    """How many slices of a side a forward pass takes for the least time per slice.

    On a CPU the maps of two slices of 256 x 256 fit its caches; a GPU wants to be filled.
    """
    pixels = 1 << (17 if device.type == "cpu" else 20)
    return max(1, pixels // size**2)
