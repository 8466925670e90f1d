"""A checkpoint of a RUN folder -> the method it holds, and the device to run it on."""

from pathlib import Path
from typing import Literal, NamedTuple

import torch

from diffrect.config import TrainConfig, config_from_dict
from diffrect.data.task import Task
from diffrect.distributed.ranks import is_launched
from diffrect.errors import InputError
from diffrect.methods.base import Method, Problem
from diffrect.methods.registry import remembered, resolve
from diffrect.processes import local_rank
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.plugins import check_named_by_run
from diffrect.runs.recognise import check_has_model
from diffrect.runs.state import load_statistics, load_weights


class LoadedMethod(NamedTuple):
    """A training method as a checkpoint holds it, on the CPU.

    Attributes:
        method: all networks, in training mode.
        task: what it segments.
        config: the configuration it was trained with.
        step: training iterations it has seen.
    """

    method: Method
    task: Task
    config: TrainConfig
    step: int


def load_method(run: Path | str, checkpoint: Literal["best", "last"] = "best") -> LoadedMethod:
    """Return all networks of a RUN folder's method, including those that only training needs.

    Raises:
        InputError: the folder holds no readable checkpoint of that name.
    """
    check_has_model(Path(run), checkpoint)
    path = checkpoint_path(Path(run), checkpoint)
    state = load_checkpoint(path)
    try:
        config = config_from_dict(state["config"])
        task = Task.from_dict(state["task"])
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    check_named_by_run(Path(run), config, path, predicts=True)
    try:
        config = remembered(config)
        resolved = resolve(config)
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    problem = Problem(task, config.iterations, size=config.side, network=config.network)
    method = resolved.method(problem, resolved.method_options)
    load_weights(method, state["method"], path, hint="try --checkpoint last")
    load_statistics(method.predictor, state.get("statistics", {}), path)
    return LoadedMethod(method, task, config, state["step"])


def pick_device(name: str) -> torch.device:
    """Return the device of a name such as `cpu` or `cuda:1`; `auto` is a GPU if there is one.

    Of several processes on a machine, each takes a GPU of its own.

    Raises:
        InputError: torch has no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and is_launched():  # Another process of this machine has the first GPU.
        name = f"cuda:{local_rank() % max(1, torch.cuda.device_count())}"
    try:
        device = torch.empty(0, device=name).device
    except (
        RuntimeError,
        AssertionError,
        ImportError,
        AttributeError,
    ):  # of a kind that is left out
        device = torch.device("meta")  # holds no numbers
    if device.type == "meta":
        raise InputError(f"--device {name}", "one that torch finds here, such as cpu")
    return device
