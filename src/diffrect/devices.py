"""Where training runs: device, precision and processes, by Lightning Fabric."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.config import TrainConfig
from diffrect.errors import InputError

DTYPES = {"64-true": torch.float64}  # of weights and images; float32 in all other precisions


def make_fabric(config: TrainConfig) -> Fabric:
    """Device, precision and processes."""
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="ddp" if config.devices > 1 else "auto",
            precision=config.precision,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--accelerator {config.accelerator} --devices {config.devices}: expected what this "
            f"machine has: {reason}"
        ) from None
    processors = os.cpu_count() or 1
    if fabric.device.type == "cpu" and config.devices > processors:
        raise InputError(
            f"--devices: expected at most the {processors} processors of this machine, "
            f"got {config.devices}"
        )
    return fabric


@contextmanager
def memory_explained(config: TrainConfig, fabric: Fabric) -> Iterator[None]:
    """Says in one line that a batch is too large for the device."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "CPUAllocator" not in str(error):
            raise
        size = "--size" if config.crop is None else "--crop"
        raise InputError(
            f"{size} {config.side} --batch-labelled {config.batch_labelled} --batch-unlabelled "
            f"{config.batch_unlabelled}: expected batches that fit into the memory of "
            f"{fabric.device}, they do not"
        ) from None


def average_gradients(fabric: Fabric, optimizer: Optimizer) -> None:
    """Mean of the gradients over all processes."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    _average(fabric, [p.grad for p in parameters if p.grad is not None])


def average_statistics(fabric: Fabric, network: nn.Module) -> None:
    """Mean of batch norm's running statistics over all processes.

    Each process sees other slices. Without this, validation and the pseudo-labels of networks in
    eval mode would differ between processes, and a resumed training from an uninterrupted one.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    statistics = [s for norm in norms for s in (norm.running_mean, norm.running_var)]
    _average(fabric, [s for s in statistics if s is not None])


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
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
