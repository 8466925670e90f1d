"""Where training runs: device, precision and processes, by Lightning Fabric."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from diffrect.config import TrainConfig
from diffrect.errors import InputError


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
        raise InputError(
            f"--size {config.size} --batch-labelled {config.batch_labelled} --batch-unlabelled "
            f"{config.batch_unlabelled}: expected batches that fit into the memory of "
            f"{fabric.device}, they do not"
        ) from None


def average_gradients(fabric: Fabric, optimizer: Optimizer) -> None:
    """Mean of the gradients over all processes, as one message."""
    if fabric.world_size == 1:
        return
    parameters = [p for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = part.view_as(parameter)
