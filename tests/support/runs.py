"""RUN folders for tests, and what they compare of two."""

import json
from pathlib import Path
from typing import Any

import torch

from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.training.train import train


def same(one: Any, other: Any) -> bool:
    """Bit for bit, through dicts and lists of tensors."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def lines(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the times."""
    parsed = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    costs = ("seconds_per_iteration", "minutes", "processor_minutes", "peak_memory_mib")
    return [{k: v for k, v in line.items() if k not in costs} for line in parsed]


def train_rectifier(store: Store, folder: Path) -> Path:
    """Make a RUN folder with a rectifier of volumes, by a training of no use, and return it."""
    config = TrainConfig(
        method="diffrect",
        size=32,
        iterations=2,
        batch_labelled=2,
        batch_unlabelled=2,
        options={"rectify_from": 0, "diffusion_from": 0.0},
    )
    return train(store.path, folder, config, progress=False)
