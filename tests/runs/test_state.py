"""A checkpoint of other values is refused in one line that names the file and the entry."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diffrect.config import read_config
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.resume import TrainingState, load_training
from diffrect.training.checkpoints.state import restore
from diffrect.training.trainer import Trainer

State = dict[str, Any]
OPTIMIZER = "optimizers.segmenter"


def put(*names: Any, value: Any) -> Callable[[State], None]:
    """Replace an entry within entries."""

    def change(state: State) -> None:
        owner: Any = state
        for name in names[:-1]:
            owner = owner[name]
        owner[names[-1]] = value

    return change


def momentum(value: Callable[[torch.Tensor], Any]) -> Callable[[State], None]:
    """Replace what the optimiser remembers of its first parameter."""

    def change(state: State) -> None:
        moments = state["optimizers"]["segmenter"]["state"][0]
        moments["momentum_buffer"] = value(moments["momentum_buffer"])

    return change


def weight(value: Callable[[torch.Tensor], Any]) -> Callable[[State], None]:
    """Replace the first weight."""

    def change(state: State) -> None:
        name = next(iter(state["method"]))
        state["method"][name] = value(state["method"][name])

    return change


ENTRIES: dict[str, tuple[Callable[[State], None], str]] = {
    "step of text": (
        put("step", value="abc"),
        "a whole number from 0 to .* under 'step', got 'abc'",
    ),
    "step below 0": (put("step", value=-5), "a whole number from 0 to .* under 'step', got -5"),
    "step of a flag": (put("step", value=True), "a whole number .* under 'step', got True"),
    "step beyond": (put("step", value=99), "a whole number from 0 to 2 under 'step', got 99"),
    "config of nothing": (put("config", value=None), "names with values under 'config', got None"),
    "size": (
        put("config", "size", value=10**9),
        "config: size: expected at most 16384.*",
    ),
    "best": (put("best", value=float("nan")), "a number from 0 to 1 under 'best', got nan"),
    "last_dice": (put("last_dice", value=[]), r"a number from 0 to 1 under 'last_dice', got \[\]"),
    "validated": (put("validated", value=7), "a whole number from 0 to 2 under 'validated', got 7"),
    "skipped": (put("skipped", value=-1), "a whole number from 0 .* under 'skipped', got -1"),
    "carried": (put("carried", value={"a": "b"}), "a number .* under 'carried.a', got 'b'"),
    "loss_scale": (put("loss_scale", value=3), "names with values under 'loss_scale', got 3"),
    "split of numbers": (
        put("split", value={"train": [[1]], "val": ["x"]}),
        r"a list of texts under 'split.train', got \[\[1\]\]",
    ),
    "split of a part": (
        put("split", "rest", value=[]),
        "nothing but train, .* under 'split.rest'.*",
    ),
    "task": (put("task", "channels", value=0), "a whole number .* under 'channels', got 0"),
    "no optimisers": (
        put("optimizers", value={}),
        "a value under 'optimizers.segmenter', found none",
    ),
    "groups": (
        put("optimizers", "segmenter", "param_groups", value=[]),
        f"a list of 1 under '{OPTIMIZER}.param_groups', found 0",
    ),
    "parameters": (
        put("optimizers", "segmenter", "param_groups", 0, "params", value=[0]),
        rf"\d+ parameters by number under '{OPTIMIZER}\.param_groups\[0\]\.params', got \[0\]",
    ),
    "rate": (
        put("optimizers", "segmenter", "param_groups", 0, "lr", value="fast"),
        r"a number from .* under '.*\.param_groups\[0\]\.lr', got 'fast'",
    ),
    "a momentum that a fused step needs": (
        momentum(lambda tensor: None),
        rf"tensors for parameter \d+ under '{OPTIMIZER}\.state', found none",
    ),
    "momentum of another shape": (
        momentum(lambda tensor: tensor[..., None]),
        f"finite tensors of shape .* under '{OPTIMIZER}.state', found something else",
    ),
    "momentum without end": (
        momentum(lambda tensor: torch.zeros(1).expand(2**40)),
        f"finite tensors of shape .* under '{OPTIMIZER}.state', found something else",
    ),
    "momentum that is not finite": (
        momentum(lambda tensor: tensor * float("nan")),
        f"finite tensors of shape .* under '{OPTIMIZER}.state', found something else",
    ),
    "momentum of nobody": (
        put("optimizers", "segmenter", "state", 10**6, value={}),
        f"the numbers 0 to .* under '{OPTIMIZER}.state', found 1000000",
    ),
    "no weights": (put("method", value={}), "weights that fit its configuration: Missing key.*"),
    "weights of text": (weight(str), "weights that fit its configuration: .* is no tensor"),
    "whole weights": (
        weight(lambda tensor: tensor.long()),
        "weights that fit its configuration: .* is torch.int64",
    ),
    "complex weights": (
        weight(lambda tensor: tensor * 1j),
        "weights that fit its configuration: .* is torch.complex64",
    ),
    "weights of another shape": (
        weight(lambda tensor: torch.zeros(1).expand(2**40)),
        "weights that fit its configuration: size mismatch .*",
    ),
    "weights that are not finite": (
        weight(lambda tensor: tensor * float("inf")),
        "finite weights, .* is not",
    ),
}


@pytest.fixture(scope="module")
def trainer(store: Store, tiny_run: Path) -> Trainer:
    """The training of `tiny_run`, into which states are loaded."""
    state = load_training(checkpoint_path(tiny_run, "last"), store)
    return Trainer(store, tiny_run, state.config, state.split)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_state_of_other_values_is_refused_by_name(
    name: str, trainer: Trainer, store: Store, tiny_run: Path, tmp_path: Path
) -> None:
    change, message = ENTRIES[name]
    path = Path(shutil.copy(checkpoint_path(tiny_run, "last"), tmp_path / "last.pt"))
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(InputError) as caught:
        restore(trainer, load_training(path, store))
    assert re.fullmatch(f"{path}: (expected )?{message}", str(caught.value)), caught.value


def test_the_state_of_a_training_is_taken_whole(
    trainer: Trainer, store: Store, tiny_run: Path
) -> None:
    path = checkpoint_path(tiny_run, "last")
    state = load_training(path, store)
    restore(trainer, state)
    assert trainer.step == state.step == read_config(tiny_run / "config.yaml").iterations
    assert load_checkpoint(path).keys() == {"format", *state.to_dict()}
    assert TrainingState.from_dict(state.to_dict()) == state
