"""Averages over the processes of a training, which see the same numbers afterwards."""

from collections.abc import Mapping
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer


def average_gradients(fabric: Fabric, optimizer: Optimizer, loss: Tensor) -> Tensor:
    """Mean of the gradients over all processes; returns that of the loss, without its graph.

    All processes see the same numbers after it, so that they judge them alike.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    loss = loss.detach().clone()
    _average(fabric, [p.grad for p in parameters if p.grad is not None] + [loss])
    return loss


def average_statistics(fabric: Fabric, network: nn.Module) -> None:
    """Mean of batch norm's running statistics over all processes.

    Each process sees other slices. Without this, validation and the pseudo-labels of networks in
    eval mode would differ between processes, and a resumed training from an uninterrupted one.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    statistics = [s for norm in norms for s in (norm.running_mean, norm.running_var)]
    _average(fabric, [s for s in statistics if s is not None])


def average_logs(fabric: Fabric, logs: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Mean of what is reported over all processes, each of which reports the same names."""
    values = torch.tensor([float(v) for v in logs.values()], dtype=torch.float64)
    if fabric.device.type == "mps":
        values = values.float()  # it has no doubles
    values = values.to(fabric.device)
    _average(fabric, [values])
    return dict(zip(logs, values.tolist(), strict=True))


def any_process(fabric: Fabric, here: bool) -> bool:
    """Whether `here` is true on any process; all of them have to ask."""
    if fabric.world_size == 1:
        return here
    count = fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum")
    return bool(cast(Tensor, count) > 0)


def _average(fabric: Fabric, tensors: list[Tensor]) -> None:
    """Replaces tensors by their mean over all processes, as one message."""
    if fabric.world_size == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten().to(tensors[0].dtype) for tensor in tensors])
    flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
