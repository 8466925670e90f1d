"""Concatenation and dropout, as quick on a CPU in channels-last layout as their size allows.

PyTorch's own take three and two times as long there: `torch.cat` walks along channels, its backward
hands strided views to what comes next, and dropout draws one float per element. Same results; the
random stream of dropout is another one. Other devices and layouts use PyTorch's own.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16  # a keep-or-drop decision takes 16 random bits


class Dropout(nn.Dropout):
    """`nn.Dropout`; on a CPU the probability is rounded to a multiple of 2^-16."""

    def forward(self, x: Tensor) -> Tensor:
        dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
        if not self.training or self.p == 0 or x.device.type != "cpu" or not dense:
            return F.dropout(x, self.p, self.training)
        return _Drop.apply(x, self.p)


def concatenate(first: Tensor, second: Tensor) -> Tensor:
    """`torch.cat` along the channels of (B, C1, H, W) and (B, C2, H, W)."""
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
    channels_last = not second.is_contiguous()  # other layouts do not get here
    if traced or first.device.type != "cpu" or first.dtype != second.dtype or not channels_last:
        return torch.cat([first, second], dim=1)
    return _Concatenate.apply(first, second)


def at_least_single(x: Tensor) -> Tensor:
    """Half precision becomes float32; all else stays as it is.

    Under autocast networks answer in half precision, whose 8 or 11 bits are too few for a softmax
    and for sums over all pixels.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _Drop(torch.autograd.Function):
    """Keeps one byte per element for the way back instead of a float."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        bits.random_(-(2**63), None)  # every bit is random
        kept = bits.view(torch.int16)[: x.numel()] >= round(p * _LEVELS) - _LEVELS // 2
        kept = kept.as_strided(x.shape, x.stride())
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - p) if p < 1 else 0.0
        return x.mul(kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return gradients[0].mul(kept).mul_(ctx.scale), None


class _Concatenate(torch.autograd.Function):
    """Both ways by copies along the contiguous channels."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.channels = first.shape[1]
        rows, _, height, width = first.shape
        shape = (rows, ctx.channels + second.shape[1], height, width)
        both = torch.empty(shape, dtype=first.dtype, memory_format=torch.channels_last)
        both[:, : ctx.channels].copy_(first)
        both[:, ctx.channels :].copy_(second)
        return both

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        both = gradients[0]
        parts = both[:, : ctx.channels], both[:, ctx.channels :]
        first, second = (part.contiguous(memory_format=torch.channels_last) for part in parts)
        return first, second
