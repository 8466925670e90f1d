"""Half precision stays inside the networks: losses are worked out in single precision."""

from pathlib import Path

import pytest
import torch

from diffrect.config import TrainConfig
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.methods.registry import METHODS, complete
from diffrect.training.train import Trainer


@pytest.mark.parametrize("name", sorted(METHODS))
def test_losses_are_single_precision_under_autocast(
    name: str, decathlon_store: Store, tmp_path: Path
) -> None:
    options = {"rectify_from": 0, "rectifier_interval": 1} if name == "diffrect" else {}
    config = TrainConfig(
        method=name, size=64, iterations=4, precision="bf16-mixed", options=options,
        batch_labelled=2, batch_unlabelled=2,
    )  # fmt: skip
    split = resolve_split(decathlon_store, labelled="2")
    trainer = Trainer(decathlon_store, tmp_path / "run", complete(config), split)
    trainer.step = 3  # BCP is past its pre-training then
    batch = trainer.make_batch(trainer.batches[3])
    updates, seen = trainer.method.updates(batch, 3), 0
    while True:
        with trainer.fabric.autocast():
            update = next(updates, None)
        if update is None:
            break
        assert update.loss.dtype == torch.float32
        assert update.loss.isfinite()
        seen += 1
    assert seen == (2 if name == "diffrect" else 1)
