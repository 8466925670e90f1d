"""Sums over processes are switched on for one training, not for everything in the process."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from diffrect.config import TrainConfig
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.distributed import sums
from diffrect.distributed.sums import processes, shared_mean, shared_statistics, shared_sum
from diffrect.methods.registry import complete
from diffrect.training.trainer import Trainer

CONFIG = TrainConfig(method="supervised", size=32, iterations=4, batch_labelled=1, device="cpu")


def test_sums_are_shared_within_the_context_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_all_reduce", lambda values: 2 * values)
    values = torch.tensor([1.0, 3.0])
    with shared_statistics(2):
        assert torch.equal(shared_sum(values), 2 * values)
        assert torch.equal(shared_mean(values), values)
        with shared_statistics(1):
            assert shared_sum(values) is values
        assert processes() == 2
    assert processes() == 1
    assert shared_sum(values) is values


def test_a_failed_iteration_ends_the_sharing() -> None:
    with pytest.raises(KeyError), shared_statistics(2):
        raise KeyError("a loss")
    assert processes() == 1


def test_a_second_trainer_changes_nothing_for_the_first(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = resolve_split(store)

    def trainer(config: TrainConfig = CONFIG) -> Trainer:
        return Trainer(store, tmp_path, complete(config), split)

    first, alone = trainer(), trainer()
    expected = [alone.iteration(alone.batches[step]) for step in range(2)]
    losses = [first.iteration(first.batches[0])]
    with monkeypatch.context() as patch:  # as on one of two processes
        patch.setattr(Fabric, "world_size", property(lambda fabric: 2))
        second = trainer(replace(CONFIG, sync_batchnorm=True))
        assert second.batches.world == 2
    losses.append(first.iteration(first.batches[1]))
    assert losses == expected
