"""A checkpoint of a RUN folder -> the method it holds."""

from pathlib import Path
from typing import Literal, NamedTuple

from diffrect.config import TrainConfig, config_from_dict
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.methods.base import Method, Problem
from diffrect.methods.registry import remembered, resolve
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
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
        config = remembered(config_from_dict(state["config"]))
        task = Task.from_dict(state["task"])
        resolved = resolve(config)
    except InputError as error:
        raise InputError(path, "what a training remembers", reason=error) from None
    problem = Problem(task, config.iterations, size=config.side)
    method = resolved.method(problem, resolved.method_options)
    load_weights(method, state["method"], path, hint="try --checkpoint last")
    load_statistics(method.predictor, state.get("statistics", {}), path)
    return LoadedMethod(method, task, config, state["step"])
