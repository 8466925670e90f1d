"""What tests compare of two RUN folders."""

import json
from pathlib import Path
from typing import Any

import torch


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
