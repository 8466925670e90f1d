"""Where training runs: device, precision and processes, by Lightning Fabric."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from diffrect.config import TrainConfig
from diffrect.distributed.ranks import started_by_fabric, started_outside
from diffrect.distributed.signals import end_with_parent
from diffrect.errors import InputError
from diffrect.processes import rank_and_world

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
            f"machine has: {reason}",
            setting="accelerator",
        ) from None
    if fabric.device.type == "cpu" and config.precision == "16-mixed":
        raise InputError(
            "--precision 16-mixed: expected a GPU, a CPU has no loss scaling; "
            "give 32-true or bf16-mixed",
            setting="precision",
        )
    processors = os.cpu_count() or 1
    if fabric.device.type == "cpu" and config.devices > processors:
        raise InputError(
            f"--devices: expected at most the {processors} processors of this machine, "
            f"got {config.devices}",
            setting="devices",
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
    if started_by_fabric():
        end_with_parent()
    world = config.devices * config.nodes
    if started_outside() and rank_and_world()[1] != world:
        raise InputError(
            f"--devices {config.devices} --nodes {config.nodes}: expected the processes that were "
            f"started, {rank_and_world()[1]} in all, got {world}",
            setting="devices",
        )
    if config.nodes > 1 and not started_outside():
        raise InputError(
            f"--nodes {config.nodes}: expected processes started by torchrun or srun, found one",
            setting="nodes",
        )
    try:
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--devices {config.devices}: expected processes: {reason}", setting="devices"
        ) from None


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
            f"each pass of method {config.method}, one pixel has no batch statistics",
            setting="size" if config.crop is None else "crop",
        ) from None
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "CPUAllocator" not in str(error):
            raise
        raise InputError(
            f"{size} {config.side} --batch-labelled {config.batch_labelled} --batch-unlabelled "
            f"{config.batch_unlabelled}: expected batches that fit into the memory of "
            f"{fabric.device}, they do not",
            setting="size" if config.crop is None else "crop",
        ) from None
