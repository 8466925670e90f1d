"""Where training runs: device, precision and processes, by Lightning Fabric."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.config import TrainConfig
from diffrect.distributed.ranks import end_with_parent, rank_and_world, started_outside
from diffrect.errors import InputError

DTYPES = {"64-true": torch.float64}  # of weights and images; float32 in all other precisions


def make_fabric(config: TrainConfig) -> Fabric:
    """Device, precision and processes."""
    make_deterministic(config.deterministic)
    try:
        with warnings.catch_warnings():
            # a precision that a CPU lacks is refused below, not replaced
            warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU")
            fabric = Fabric(
                accelerator=config.accelerator,
                devices=config.devices,
                num_nodes=config.nodes,
                strategy="ddp" if config.devices * config.nodes > 1 else "auto",
                precision=config.precision,
            )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--accelerator {config.accelerator} --devices {config.devices}: expected what this "
            f"machine has: {reason}"
        ) from None
    if fabric.device.type == "cpu" and config.precision == "16-mixed":
        raise InputError(
            "--precision 16-mixed: expected a GPU, a CPU has no loss scaling; "
            "give 32-true or bf16-mixed"
        )
    processors = os.cpu_count() or 1
    if fabric.device.type == "cpu" and config.devices > processors:
        raise InputError(
            f"--devices: expected at most the {processors} processors of this machine, "
            f"got {config.devices}"
        )
    return fabric


def make_deterministic(wanted: bool) -> None:
    """Make torch use deterministic algorithms; see docs/explain/reproducibility.md."""
    # Those that have no such algorithm are named in a warning.
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.backends.cudnn.benchmark = False
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def launch(fabric: Fabric, config: TrainConfig) -> None:
    """Starts the other processes, or joins those that torchrun or srun started.

    Raises:
        InputError: their number is not what the options say.
    """
    end_with_parent()
    world = config.devices * config.nodes
    if started_outside() and rank_and_world()[1] != world:
        raise InputError(
            f"--devices {config.devices} --nodes {config.nodes}: expected the processes that were "
            f"started, {rank_and_world()[1]} in all, got {world}"
        )
    if config.nodes > 1 and not started_outside():
        raise InputError(
            f"--nodes {config.nodes}: expected processes started by torchrun or srun, found one"
        )
    try:
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--devices {config.devices}: expected processes: {reason}") from None


@contextmanager
def batch_explained(config: TrainConfig, fabric: Fabric) -> Iterator[None]:
    """Says in one line that a batch is too large for memory, or too small for its statistics."""
    size = "--size" if config.crop is None else "--crop"
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"{size} {config.side} --batch-labelled {config.batch_labelled} --batch-unlabelled "
            f"{config.batch_unlabelled}: expected at least 2 slices of 16 x 16 pixels or fewer in "
            f"each pass of method {config.method}, one pixel has no batch statistics"
        ) from None
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "CPUAllocator" not in str(error):
            raise
        raise InputError(
            f"{size} {config.side} --batch-labelled {config.batch_labelled} --batch-unlabelled "
            f"{config.batch_unlabelled}: expected batches that fit into the memory of "
            f"{fabric.device}, they do not"
        ) from None


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
