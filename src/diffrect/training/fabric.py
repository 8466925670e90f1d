"""Where training runs: device, precision and processes, by Lightning Fabric."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from lightning_fabric import Fabric

from diffrect.config import TrainConfig
from diffrect.distributed.devices import find_device
from diffrect.distributed.ranks import started_by_fabric, started_outside
from diffrect.distributed.signals import end_with_parent
from diffrect.errors import InputError
from diffrect.processes import as_parent, rank_and_world

DTYPES = {"64-true": torch.float64}  # of weights and images; float32 in all other precisions
# torch's words for more memory than the processor has, or than any can have.
_MEMORY = re.compile("CPUAllocator|Storage size calculation overflowed")


def make_fabric(config: TrainConfig) -> Fabric:
    """Return Lightning Fabric with the device, precision and processes of a configuration.

    Raises:
        InputError: this machine does not have them.
    """
    make_deterministic(config.deterministic)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = find_device(config.device, config.devices)
    chosen = [device.index] if ":" in config.device and device.index is not None else config.devices
    try:
        with warnings.catch_warnings():
            # A precision that a CPU lacks is refused below; Fabric would replace it.
            warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU")
            fabric = Fabric(
                accelerator=device.type,
                devices=chosen,
                num_nodes=config.nodes,
                strategy="ddp" if config.devices * config.nodes > 1 else "auto",
                precision=config.precision,
            )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"--device {config.device} --devices {config.devices}",
            "what this machine has",
            reason=_first_line(error),
            setting="device",
        ) from None
    _check_cpu(fabric, config)
    return fabric


def _check_cpu(fabric: Fabric, config: TrainConfig) -> None:
    """Refuse a precision or a number of processes that make no sense on a CPU."""
    if fabric.device.type != "cpu":
        return
    if config.precision == "16-mixed":
        raise InputError(
            "--precision 16-mixed",
            problem="expected a GPU, a CPU has no loss scaling",
            hint="give 32-true or bf16-mixed",
            setting="precision",
        )
    processors = os.cpu_count() or 1
    if config.devices > processors:
        expected = f"at most the {processors} processors of this machine"
        raise InputError("--devices", expected, got=config.devices, setting="devices")


def make_deterministic(wanted: bool) -> None:
    """Make torch use deterministic algorithms.

    Operations that have no such algorithm are named in a warning.
    """
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.backends.cudnn.benchmark = False
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def launch(fabric: Fabric, config: TrainConfig) -> None:
    """Start the other processes, or join those that torchrun or srun started.

    Raises:
        InputError: their number is not what the options say.
    """
    if started_by_fabric():
        end_with_parent()
    world = config.devices * config.nodes
    if started_outside() and rank_and_world()[1] != world:
        raise InputError(
            f"--devices {config.devices} --nodes {config.nodes}",
            f"the processes that were started, {rank_and_world()[1]} in all",
            got=world,
            setting="devices",
        )
    if config.nodes > 1 and not started_outside():
        expected = "processes started by torchrun or srun"
        raise InputError(f"--nodes {config.nodes}", expected, found="one", setting="nodes")
    try:
        with nullcontext() if started_by_fabric() else as_parent():
            fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"--devices {config.devices}",
            "processes",
            reason=_first_line(error),
            setting="devices",
        ) from None


@contextmanager
def batch_explained(config: TrainConfig, fabric: Fabric) -> Iterator[None]:
    """Explain in one line a batch that is too large for memory, or too small for batch norm.

    Raises:
        InputError: the batch is one of these.
    """
    size = "size" if config.crop is None else "crop"
    subject = (
        f"--{size} {config.side} --batch-labelled {config.batch_labelled} --batch-unlabelled "
        f"{config.batch_unlabelled}"
    )
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            subject,
            problem="expected at least 2 slices of 16 x 16 pixels or fewer in each pass of method "
            f"{config.method}, one pixel has no batch statistics",
            setting=size,
        ) from None
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not _MEMORY.search(str(error)):
            raise
        raise InputError(
            subject,
            problem=f"expected batches that fit into the memory of {fabric.device}, they do not",
            setting=size,
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
