"""Precise statistics of batch norm: counted over plain slices, for prediction alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from diffrect.config import TrainConfig
from diffrect.data.record import SliceIndex
from diffrect.data.store import Store
from diffrect.inference.load import load_method
from diffrect.inference.model import Model
from diffrect.runs import folder as folder_module
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.statistics import chosen_slices, statistics_of, with_precise_statistics
from diffrect.training.train import train
from support.runs import lines, same


@pytest.mark.parametrize(("count", "rows"), [(100, 6), (400, 6), (7, 4), (3, 8), (1, 1)])
def test_the_same_slices_are_chosen_of_any_number(count: int, rows: int) -> None:
    slices = [SliceIndex("a", number) for number in range(count)]
    chosen = chosen_slices(slices, rows)
    assert chosen == chosen_slices(slices, rows)
    assert {len(batch) for batch in chosen} == {max(2, rows)}
    assert len(chosen) == max(1, min(30, count // max(2, rows)))
    different = {index for batch in chosen for index in batch}
    assert len(different) == min(count, sum(map(len, chosen)))


def test_statistics_are_the_means_over_all_batches_and_the_network_stays_as_it_is() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    batches = [torch.rand(3, 2, 4, 4) * k for k in (1, 2, 3)]
    draws = torch.get_rng_state()
    precise = with_precise_statistics(network, batches)
    assert torch.equal(torch.get_rng_state(), draws)  # dropout is off
    assert same(dict(network.state_dict()), before)
    assert network.training
    assert not any(module.training for module in precise.modules())
    found = statistics_of(precise)
    assert found.keys() == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches])
    variances = torch.stack([batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches])
    torch.testing.assert_close(found["1.running_mean"], means.mean(0))
    torch.testing.assert_close(found["1.running_var"], variances.mean(0))
    changed = {n for n, v in precise.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == found.keys()
    assert precise[1].momentum == 0.1  # type: ignore[union-attr]


def test_only_what_predicts_has_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "ROOM", 10**9)  # or there would be no previous.pt
    """Weights, losses and the teacher's statistics are those of the same training without."""
    plain = TrainConfig(size=32, iterations=2, validate_every=1)
    runs = {
        name: train(store.path, tmp_path / name, config, progress=False)
        for name, config in {
            "plain": plain,
            "precise": replace(plain, precise_statistics=True),
        }.items()
    }
    states = {name: load_checkpoint(checkpoint_path(run, "best")) for name, run in runs.items()}
    last = {name: load_checkpoint(checkpoint_path(run, "last")) for name, run in runs.items()}
    assert same(last["plain"]["method"], last["precise"]["method"])
    assert last["plain"]["statistics"] == {}
    losses = [[x for x in lines(run) if x["kind"] == "train"] for run in runs.values()]
    assert losses[0] == losses[1]
    method = load_method(runs["precise"]).method
    assert same(dict(method.predictor.state_dict()), dict(states["precise"]["predictor"]))
    found = dict(load_method(runs["precise"], "last").method.predictor.state_dict())
    statistics = last["precise"]["statistics"]
    assert statistics
    assert same({name: found[name] for name in statistics}, statistics)
    assert same(dict(Model.load(runs["precise"], "last").network.state_dict()), found)
    held = {n.removeprefix("teacher."): v for n, v in last["precise"]["method"].items()}
    assert not any(torch.equal(held[n], v) for n, v in statistics.items() if "mean" in n)
    # A training that is resumed starts from its own, and counts the same anew.
    half = checkpoint_path(runs["precise"], "previous")
    half.replace(checkpoint_path(runs["precise"], "last"))
    again = train(
        store.path,
        runs["precise"],
        replace(plain, precise_statistics=True),
        resume=True,
        progress=False,
    )
    assert same(load_checkpoint(checkpoint_path(again, "last")), last["precise"])
