"""Batch norm over the rows of all processes, on any device; that of torch needs CUDA."""

import torch
from torch import Tensor, nn

from diffrect.distributed.sums import processes, shared_sum

OVER_ROWS_AND_PIXELS = (0, 2, 3)


class SyncBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose batch is that of all processes (Ioffe & Szegedy, ICML 2015).

    In eval mode, and where statistics are not shared, it is the same as `nn.BatchNorm2d`. Half
    precision is normalised in single precision, as torch does it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps (B, C, H, W) by the mean and variance of each channel."""
        if not self.training or processes() == 1:
            return super().forward(x)
        values = x if x.dtype == torch.float64 else x.float()
        count = shared_sum(values.new_tensor(x.numel() // x.shape[1]))
        mean = shared_sum(values.sum(OVER_ROWS_AND_PIXELS)) / count
        centred = values - mean[:, None, None]
        variance = shared_sum(centred.square().sum(OVER_ROWS_AND_PIXELS)) / count
        self.remember(mean, variance * count / (count - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt()
        if not self.affine:
            return (centred * scale[:, None, None]).to(x.dtype)
        scaled = centred * (scale * self.weight)[:, None, None]
        return (scaled + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of a batch, each of shape (C,).

        The variance that is remembered is the unbiased one.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


def synchronise(network: nn.Module) -> None:
    """Replace every batch norm in a network by a `SyncBatchNorm` of its weights and statistics."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _converted(child))


def _converted(norm: nn.BatchNorm2d) -> SyncBatchNorm:
    new = SyncBatchNorm(norm.num_features, norm.eps, norm.momentum, affine=norm.affine)
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new.train(norm.training)
