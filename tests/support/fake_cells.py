"""Finished cells with given scores, as a comparison leaves them, but without any training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffrect
from diffrect.config import TrainConfig, config_to_dict
from diffrect.evaluation.metrics import METRICS
from diffrect.runs.names import CELL_FILE, metrics_file

TRAIN = ("p1", "p2", "p3", "p4")
Dice = Mapping[str, Sequence[float | None]]
"""Case -> Dice of each class."""


def write_cell(
    folder: Path,
    name: str,
    dice: Dice,
    *,
    labelled: int = 1,
    seed: int = 0,
    classes: Sequence[str] = ("inner", "outer"),
    minutes: float | None = 10.0,
    split: str = "val",
    millimetres: bool = True,
    metrics: Mapping[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Write CELL/metrics_SPLIT.json and, unless `minutes` is None, CELL/cell.json.

    Jaccard follows from Dice; 95HD is 10 (1 - Dice) and ASD half of that, undefined if Dice is 0 or
    undefined. `metrics` and `config` change entries of the file and of its protocol.
    """
    cell = folder / f"{name}-labelled{labelled}-seed{seed}"
    cell.mkdir(parents=True)
    protocol = {
        **config_to_dict(TrainConfig(method=name, labelled=str(labelled), seed=seed)),
        "labelled_patients": list(TRAIN[:labelled]),
        "unlabelled_patients": len(TRAIN) - labelled,
        **config,
    }
    cases = [
        {
            "id": case,
            "patient": case.split("_")[0],
            "classes": {
                c: scores(value, millimetres) for c, value in zip(classes, values, strict=True)
            },
        }
        for case, values in dice.items()
    ]
    content = {
        "split": split,
        "checkpoint": "best",
        "step": 400,
        "empty": "undefined",
        "run": "/somewhere/run",
        "store": "/somewhere/store",
        "diffrect": diffrect.__version__,
        "format": 1,
        "protocol": protocol,
        "missing_patients": [],
        "mean": {"dice": -1.0},  # the report works out its own
        "classes": {},
        "undefined": {},
        "cases": cases,
        **(metrics or {}),
    }
    (cell / metrics_file(split)).write_text(json.dumps(content))
    if minutes is not None:
        cost = {
            "minutes": minutes,
            "processor_minutes": minutes / 2,
            "seconds_per_iteration": 0.02,
            "peak_memory_mib": 500.0,
            "parameters": 1000,
            "trained_parameters": 2000,
            "machine": "a machine",
        }
        facts = {"format": 1, "name": name, "labelled": str(labelled), "seed": seed}
        code = {"diffrect": diffrect.__version__, "commit": "0123456789ab"}
        (cell / CELL_FILE).write_text(json.dumps({**facts, **code, "cost": cost}))
    return cell


def scores(dice: float | None, millimetres: bool) -> dict[str, float | None]:
    """Return all metrics of a class."""
    if dice is None:
        return dict.fromkeys(METRICS)
    far = 10 * (1 - dice) if dice else None
    near = None if far is None else far / 2
    return {
        "dice": dice,
        "jaccard": dice / (2 - dice),
        "hd95_mm": far if millimetres else None,
        "hd95_voxel": far,
        "asd_mm": near if millimetres else None,
        "asd_voxel": near,
    }
