"""The same seed gives the same weights: twice, and however many processes read."""

import os
from pathlib import Path

import pytest
import torch

from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from support.runs import lines, same

CONFIG = TrainConfig(
    size=32,
    iterations=3,
    batch_labelled=1,
    batch_unlabelled=1,
    validate_every=3,
    options={"rectify_from": 1},
)


def trained(store: Store, run: Path, **changes: object) -> tuple[object, object]:
    config = TrainConfig(**{**vars(CONFIG), **changes})  # type: ignore[arg-type]
    train(store.path, run, config, progress=False)
    state = load_checkpoint(checkpoint_path(run, "last"))
    return {name: state[name] for name in ("method", "optimizers", "best")}, lines(run)


@pytest.fixture(scope="module")
def once(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, object]:
    return trained(store, tmp_path_factory.mktemp("once") / "run")


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_change_nothing(
    store: Store, once: tuple[object, object], tmp_path: Path, workers: int
) -> None:
    torch.rand(7)  # what was drawn before plays no part
    state, metrics = trained(store, tmp_path / "run", workers=workers)
    assert same(state, once[0])
    assert metrics == once[1]


def test_another_seed_is_another_training(
    store: Store, once: tuple[object, object], tmp_path: Path
) -> None:
    assert not same(trained(store, tmp_path / "run", seed=1)[0], once[0])


def test_deterministic_algorithms_can_be_asked_for(
    store: Store,
    once: tuple[object, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    state, _ = trained(store, tmp_path / "run", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert same(state, once[0])  # a CPU has no others
    trained(store, tmp_path / "other")
    assert not torch.are_deterministic_algorithms_enabled()
