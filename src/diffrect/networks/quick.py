"""Dropout, pooling and convolutions of two maps side by side, as quick on a CPU as can be.

On a CPU in channels-last layout, PyTorch's own take up to three times as long: dropout draws a
float per element, and the first convolution behind a concatenation reads a map that had to be
written first. Results are the same up to rounding; dropout draws from another random stream. Other
devices and layouts use PyTorch's own.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16  # a keep-or-drop decision takes 16 random bits
_PART = 1 << 18  # decisions drawn at once: they stay in the cache until they are compared
_is_tracing: Callable[[], bool] = cast(Any, torch.jit).is_tracing  # torch.jit declares no types


class Dropout(nn.Dropout):
    """`nn.Dropout`; on a CPU the probability is rounded to a multiple of 2^-16."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements in training mode and scale the others up."""
        dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
        if not self.training or self.p == 0 or x.device.type != "cpu" or not dense:
            return F.dropout(x, self.p, self.training)
        return _drop(x, self.p)


def convolve_both(conv: nn.Conv2d, first: Tensor, second: Tensor) -> Tensor:
    """Apply `conv` to two maps (B, C1, H, W) and (B, C2, H, W) joined along their channels.

    A convolution of a concatenation is the sum of two convolutions, so nothing is copied, neither
    here nor in the backward pass.
    """
    traced = _is_tracing() or torch.compiler.is_compiling()
    if traced or first.device.type != "cpu" or second.is_contiguous():
        both: Tensor = conv(torch.cat([first, second], dim=1))
        return both
    channels = first.shape[1]
    total: Tensor = conv._conv_forward(first, conv.weight[:, :channels], conv.bias)
    return total.add_(conv._conv_forward(second, conv.weight[:, channels:], None))


def max_pool(x: Tensor) -> Tensor:
    """Return the largest of each 2 x 2 elements of (B, C, H, W), whose H and W are even.

    Without a backward pass on a CPU, PyTorch's own takes twice as long, because it notes where each
    largest element is. The values are the same.
    """
    traced = _is_tracing() or torch.compiler.is_compiling()
    odd = x.shape[-2] % 2 or x.shape[-1] % 2
    if traced or odd or torch.is_grad_enabled() or x.device.type != "cpu" or x.is_contiguous():
        return F.max_pool2d(x, 2)
    rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def at_least_single(x: Tensor) -> Tensor:
    """Convert half precision to float32 and leave all else as it is.

    Under autocast networks answer in half precision, whose 8 or 11 bits are too few for a softmax
    and for sums over all pixels.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _Drop(torch.autograd.Function):
    """Dropout that keeps one byte per element for the backward pass instead of a float."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        kept = _random_booleans(x.numel(), p).as_strided(x.shape, x.stride())
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - p) if p < 1 else 0.0
        return _scaled_where(kept, x, ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _scaled_where(kept, gradients[0], ctx.scale), None


_drop: Callable[[Tensor, float], Tensor] = _Drop.apply


def _scaled_where(kept: Tensor, x: Tensor, scale: float) -> Tensor:
    """Return `x` times `scale` where it is kept, else 0.

    A product with booleans takes far longer.
    """
    return torch.where(kept, x, 0.0).mul_(scale)


def _random_booleans(count: int, p: float) -> Tensor:
    """Draw booleans that are False with probability `p`, seeded by torch's CPU generator."""
    threshold = round(p * _LEVELS) - _LEVELS // 2
    generator = np.random.SFC64(int(torch.randint(2**62, ())))
    kept = torch.empty(count, dtype=torch.bool)
    for part in kept.split(_PART):
        bits = generator.random_raw(-(-len(part) // 4)).view(np.int16)[: len(part)]
        # The comparison of torch takes eight times as long.
        np.greater_equal(bits, threshold, out=part.numpy())
    return kept
