"""Averages over the processes of a training, which all see the same numbers afterwards."""

from collections.abc import Mapping
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer


def average_gradients(fabric: Fabric, optimizer: Optimizer, loss: Tensor) -> Tensor:
    """Average an optimiser's gradients over the processes, in place.

    All processes see the same numbers afterwards, so that they judge them alike.

    Returns:
        The average of the loss, without its graph.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    loss = loss.detach().clone()
    _average(fabric, [p.grad for p in parameters if p.grad is not None] + [loss])
    return loss


def average_statistics(fabric: Fabric, network: nn.Module) -> None:
    """Average batch norm's running statistics over the processes, in place.

    Each process sees other slices. Without this, validation and the pseudo-labels of networks in
    eval mode would differ between processes, and so would a resumed and an uninterrupted training.
    """
    norms = [m for m in network.modules() if isinstance(m, _NormBase)]
    statistics = [s for norm in norms for s in (norm.running_mean, norm.running_var)]
    _average(fabric, [s for s in statistics if s is not None])


def average_logs(fabric: Fabric, logs: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Return the averages of what the processes report, each of them under the same names."""
    values = torch.tensor([float(v) for v in logs.values()], dtype=torch.float64)
    if fabric.device.type == "mps":
        values = values.float()  # this device has no doubles
    values = values.to(fabric.device)
    _average(fabric, [values])
    return dict(zip(logs, values.tolist(), strict=True))


def any_process(fabric: Fabric, here: bool) -> bool:
    """Return whether `here` is true on any process; all of them have to ask."""
    if fabric.world_size == 1:
        return here
    count = fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum")
    return bool(cast(Tensor, count) > 0)


def _average(fabric: Fabric, tensors: list[Tensor]) -> None:
    """Replace tensors by their averages over the processes, in one message."""
    if fabric.world_size == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten().to(tensors[0].dtype) for tensor in tensors])
    flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
