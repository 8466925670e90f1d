"""Validation during training: Dice of the predictor on whole volumes."""

import math
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from diffrect.data.store import Store
from diffrect.evaluation.metrics import case_dice
from diffrect.imaging.resample import Interpolation
from diffrect.inference.model import predict_slices
from diffrect.training.stop import StopRequest


def validate(
    network: nn.Module,
    store: Store,
    patients: tuple[str, ...],
    size: int,
    interpolation: Interpolation,
    fabric: Fabric,
    spacing: float | None = None,
    stop: StopRequest | None = None,
) -> dict[str, float] | None:
    """Mean Dice of the foreground classes over the cases of some patients, shared over processes.

    Slices are resized to ``size``, or with a ``spacing`` resampled to it and cropped to ``size``.

    Returns:
        "dice" (mean over classes) and "dice_CLASS" for each, in [0, 1]; None if a stop was asked
        for before all cases were done.
    """
    wanted = set(patients)
    cases = [c.id for c in store.cases.values() if c.patient in wanted and c.labelled]
    foreground = store.classes[1:]
    scores = torch.zeros(len(cases), len(foreground), dtype=torch.float64)
    training = network.training
    network.eval()
    for row in range(fabric.global_rank, len(cases), fabric.world_size):
        case = cases[row]
        if stop is not None and stop.requested:
            scores[row:] = math.inf  # no Dice, and seen by all processes once it is summed
            break
        with fabric.autocast():
            prediction = predict_slices(
                network,
                store.image(case),
                size,
                interpolation,
                fabric.device,
                zoom=store.zoom(case, spacing),
            )
        dice = case_dice(prediction, store.label(case), store.classes)
        scores[row] = torch.tensor([dice[name] for name in foreground], dtype=torch.float64)
    network.train(training)
    if fabric.world_size > 1:  # each process filled its own rows; the others are 0
        scores = cast(torch.Tensor, fabric.all_reduce(scores.to(fabric.device), reduce_op="sum"))
    if scores.isinf().any():
        return None
    return summarise_dice(scores.cpu().numpy(), foreground)


def summarise_dice(scores: np.ndarray, foreground: tuple[str, ...]) -> dict[str, float]:
    """Means over cases (rows) of each class, and over classes; undefined (NaN) values left out."""
    defined = ~np.isnan(scores)
    means = np.where(defined, scores, 0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    seen = defined.any(axis=0)
    named = {
        f"dice_{name}": float(mean) if there else math.nan
        for name, mean, there in zip(foreground, means, seen, strict=True)
    }
    return {"dice": float(means[seen].mean()) if seen.any() else 0.0, **named}
