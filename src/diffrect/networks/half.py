"""Networks that predict in bfloat16, which takes half the time where a processor has it.

Only convolutions and what lies between them are computed so; the logits are float32 again.
"""

import copy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.networks.unet import ConvHalf, Decoder

Precision = Literal["32-true", "bf16"]
"""Number type in which a network predicts."""
PRECISIONS: tuple[Precision, ...] = ("32-true", "bf16")

_QUICK = {"avx512_bf16", "amx_bf16"}  # a processor with one of these computes with it
_SLOPE = 0.01  # of the blocks' LeakyReLU
_CHANNELS = 16  # that oneDNN computes at least
_MOST_PIXELS = 8  # maps are as wide as a multiple of 16


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
        if device.type == "cpu" and has_quick_bf16(device):
            _quicken(self.network)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) in float32."""
        with torch.autocast(self.kind, torch.bfloat16):
            logits: Tensor = self.network(images)
        return logits.float()


class _QuickHalf(nn.Module):
    """A `ConvHalf` without batch norm, whose convolution and LeakyReLU are one call of oneDNN.

    Its weights are no parameters, because the network is still one that takes float32. Two maps
    side by side are convolved one after the other, the second onto the first, so that nothing is
    concatenated.
    """

    def __init__(self, half: ConvHalf) -> None:
        super().__init__()
        self.weight = _laid_out(half.conv.weight.detach())
        self.bias = None if half.conv.bias is None else half.conv.bias.detach().bfloat16()
        self.parts: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return (B, out_channels, H, W); `beside` holds the last channels of the input."""
        x = x.bfloat16()
        if beside is None:
            return _convolve(x, self.weight, self.bias, "leaky_relu", [_SLOPE])
        if self.parts is None:
            first, second = self.weight[:, : x.shape[1]], self.weight[:, x.shape[1] :]
            self.parts = _laid_out(first), _laid_out(second)
        total = _convolve(x, self.parts[0], self.bias, "none", [])
        total = _convolve_onto(total, beside.bfloat16(), self.parts[1])
        return F.leaky_relu_(total, _SLOPE)


class _QuickHead(nn.Module):
    """A decoder's last convolution, 3 x 3 to few classes, of several neighbouring pixels at once.

    oneDNN computes 16 channels however few there are, so that 4 classes of 4 pixels in a row take
    half the time of 4 classes of each: a convolution 3 x 6 with a stride of 4 and 16 channels.

    Args:
        head: the convolution.
        pixels: how many pixels; the width of maps is a multiple of it.
    """

    def __init__(self, head: nn.Conv2d, pixels: int) -> None:
        super().__init__()
        weight, bias = head.weight.detach(), head.bias
        self.classes, self.pixels = len(weight), pixels
        wide = weight.new_zeros(pixels, *weight.shape[:3], pixels + 2)
        for pixel in range(pixels):
            wide[pixel, ..., pixel : pixel + 3] = weight
        self.weight = _laid_out(wide.flatten(0, 1))
        self.bias = None if bias is None else bias.detach().bfloat16().repeat(pixels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, classes, H, W) of a map (B, C, H, W)."""
        x = x.bfloat16()
        found = F.conv2d(x, self.weight, self.bias, stride=(1, self.pixels), padding=1)
        found = found.permute(0, 2, 3, 1)  # (B, H, W / pixels, pixels * classes)
        batch, height, width, _ = found.shape
        found = found.reshape(batch, height, width * self.pixels, self.classes)
        return found.permute(0, 3, 1, 2)


def _laid_out(weight: Tensor) -> Tensor:
    return weight.bfloat16().contiguous(memory_format=torch.channels_last)


_ONCE = ([1, 1], [1, 1], [1, 1], 1)  # padding, stride, dilation, groups


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, numbers: list[float]
) -> Tensor:
    """Return activation(convolution), in one call.

    Args:
        x: (B, C, H, W).
        weight: (out_channels, C, 3, 3).
        bias: (out_channels,).
        activation: oneDNN's name of it.
        numbers: its parameters.
    """
    call = torch.ops.mkldnn._convolution_pointwise
    found: Tensor = call(x, weight, bias, *_ONCE, activation, numbers, "")
    return found


def _convolve_onto(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add the convolution of a map (B, C, H, W) to `total`, and return it."""
    call = torch.ops.mkldnn._convolution_pointwise_.binary
    found: Tensor = call(total, x, weight, None, *_ONCE, "add", 1.0, None, [], None)
    return found


def _quicken(network: nn.Module) -> None:
    """Put quicker blocks in the place of those whose batch norm is folded, and of heads.

    Their calls are those of PyTorch's compiler; where PyTorch has them not, autocast does the same
    in more of them.
    """
    calls = (f"_convolution_pointwise{name}" for name in ("", "_"))
    if not all(hasattr(torch.ops.mkldnn, call) for call in calls):
        return
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ConvHalf) and isinstance(child.norm, nn.Identity):
                setattr(module, name, _QuickHalf(child))
            elif isinstance(module, Decoder) and isinstance(child, nn.Conv2d):
                pixels = 2 ** (_CHANNELS // child.out_channels).bit_length() // 2
                if pixels > 1:
                    setattr(module, name, _QuickHead(child, min(pixels, _MOST_PIXELS)))


def has_quick_bf16(device: torch.device) -> bool:
    """Return whether a device is known to be faster with bfloat16 than with single precision."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:  # not Linux
        return False
    return device.type == "cpu" and bool(_QUICK & set(text.split()))
