"""Networks that predict in bfloat16, which takes half the time where a processor has it.

Only convolutions and what lies between them are computed so; the logits are float32 again.
"""

import copy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from diffrect.networks.unet import ConvHalf

Precision = Literal["32", "bf16"]
"""Number type in which a network predicts."""
PRECISIONS: tuple[Precision, ...] = ("32", "bf16")

_QUICK = {"avx512_bf16", "amx_bf16"}  # a processor with one of these computes with it
_SLOPE = 0.01  # of the blocks' LeakyReLU


class HalfPrecision(nn.Module):
    """A copy of a network that computes in bfloat16, from float32 images to float32 logits.

    Args:
        network: images (B, channels, H, W) -> logits (B, classes, H, W), see `for_prediction`.
        device: where it is; a CPU or a CUDA GPU.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.kind = device.type
        self.network = copy.deepcopy(network)
        if device.type == "cpu":
            _replace_halves(self.network)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) in float32."""
        with torch.autocast(self.kind, torch.bfloat16):
            logits: Tensor = self.network(images)
        return logits.float()


class _QuickHalf(nn.Module):
    """A `ConvHalf` without batch norm, whose convolution and LeakyReLU are one call of oneDNN.

    Its weights are no parameters, because the network is still one that takes float32.
    """

    def __init__(self, half: ConvHalf) -> None:
        super().__init__()
        weight, bias = half.conv.weight.detach().bfloat16(), half.conv.bias
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().bfloat16()

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return (B, out_channels, H, W); `beside` holds the last channels of the input."""
        x = x.bfloat16()
        if beside is not None:
            x = torch.cat([x, beside.bfloat16()], dim=1)
        ones = [1, 1]  # padding, stride and dilation
        joint = (ones, ones, ones, 1, "leaky_relu", [_SLOPE], "")
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *joint)
        return found


def _replace_halves(network: nn.Module) -> None:
    """Put quicker blocks in the place of those whose batch norm is folded, if there are such.

    The call is what PyTorch's compiler uses; where PyTorch has it not, autocast does the same in
    two calls.
    """
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ConvHalf) and isinstance(child.norm, nn.Identity):
                setattr(module, name, _QuickHalf(child))


def has_quick_bf16(device: torch.device) -> bool:
    """Return whether a device is known to be faster with bfloat16 than with single precision."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:  # not Linux
        return False
    return device.type == "cpu" and bool(_QUICK & set(text.split()))
