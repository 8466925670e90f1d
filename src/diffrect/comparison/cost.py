"""The cost of training a cell, as cell.json holds it: time, memory and size."""

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from diffrect.console import count
from diffrect.data.fields import is_number
from diffrect.inference.load import load_method
from diffrect.runs.log import read_log
from diffrect.runs.names import LOG_FILE, Checkpoint


@dataclass(frozen=True)
class TrainingCost:
    """The cost of a finished training; values that its run does not record are None.

    Attributes:
        minutes: time by the clock of all sessions, validation included.
        processor_minutes: what the threads of the training process computed in that time.
        seconds_per_iteration: time by the clock of an iteration, validation excluded.
        peak_memory_mib: largest memory, in MiB, of the GPU, or of the process if there is none.
        parameters: parameters of the network that predicts.
        trained_parameters: parameters of all networks that the method holds and optimises.
        machine: the device that computed.
    """

    minutes: float | None = None
    processor_minutes: float | None = None
    seconds_per_iteration: float | None = None
    peak_memory_mib: float | None = None
    parameters: int | None = None
    trained_parameters: int | None = None
    machine: str | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that are known, by name."""
        return {k: float(v) for k, v in asdict(self).items() if isinstance(v, int | float)}

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of cell.json."""
        return asdict(self)


def cost_from_dict(values: Mapping[str, Any]) -> TrainingCost:
    """Return the cost that a cell.json holds, perhaps one of another version of the package."""
    known: dict[str, Any] = {}
    for field in fields(TrainingCost):
        value: Any = values.get(field.name)
        kinds: tuple[type, ...] = (str,) if field.name == "machine" else (int, float)
        usable = isinstance(value, str) or (is_number(value) and 0 <= value < math.inf)
        known[field.name] = value if isinstance(value, kinds) and usable else None
    return TrainingCost(**known)


def training_cost(run: Path, checkpoint: Checkpoint) -> TrainingCost:
    """Return the cost of a finished training, by its log and its checkpoint.

    Raises:
        InputError: the run holds no readable checkpoint of that name.
    """
    end: dict[str, Any] = {}
    for line in read_log(run / LOG_FILE):
        if "minutes" in line or line.get("kind") == "end":
            end = {**end, **line}
    method = load_method(run, checkpoint).method
    return replace(
        cost_from_dict({**end, "machine": machine()}),
        parameters=sum(p.numel() for p in method.predictor.parameters()),
        trained_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
    )


def machine() -> str:
    """Return the device that trains here and, if it is a processor, how many threads compute."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name.strip()}, {count(torch.get_num_threads(), 'thread')}"
