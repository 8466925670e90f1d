"""Validation during training: Dice of the predictor on whole volumes."""

import math
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric

from diffrect.data.store import Store
from diffrect.evaluation.metrics import case_dice
from diffrect.inference.segmenter import Segmenter
from diffrect.training.stop import StopRequest


def validate(
    segmenter: Segmenter,
    store: Store,
    patients: tuple[str, ...],
    fabric: Fabric,
    stop: StopRequest | None = None,
) -> dict[str, float] | None:
    """Return the mean Dice of the foreground classes over the cases of some patients.

    All processes share the cases. The segmenter's network predicts in eval mode, and is back in the
    mode it was in afterwards.

    Args:
        segmenter: the network in training, and how slices become its input.
        store: the prepared data.
        patients: the patients to score; their unlabelled cases are left out.
        fabric: the processes, and the precision in which the network runs.
        stop: ends the validation early once a stop is requested.

    Returns:
        `dice` (mean over classes) and `dice_CLASS` for each, in [0, 1]; None if a stop was
        requested before all cases were done.
    """
    wanted = set(patients)
    cases = [c.id for c in store.cases.values() if c.patient in wanted and c.labelled]
    foreground = store.classes[1:]
    scores = torch.zeros(len(cases), len(foreground), dtype=torch.float64)
    training = segmenter.network.training
    segmenter.network.eval()
    for row in range(fabric.global_rank, len(cases), fabric.world_size):
        case = cases[row]
        if stop is not None and stop.requested:
            scores[row:] = math.inf  # No Dice is infinite: every process sees it in the sum.
            break
        with fabric.autocast():
            zoom = store.zoom(case, segmenter.spacing)
            prediction = segmenter.labels(store.image(case), zoom)
        dice = case_dice(prediction, store.label(case), store.classes)
        scores[row] = torch.tensor([dice[name] for name in foreground], dtype=torch.float64)
    segmenter.network.train(training)
    if fabric.world_size > 1:  # Each process filled its own rows; the others are 0.
        scores = cast(torch.Tensor, fabric.all_reduce(scores.to(fabric.device), reduce_op="sum"))
    if scores.isinf().any():
        return None
    return summarise_dice(scores.cpu().numpy(), foreground)


def summarise_dice(scores: np.ndarray, foreground: tuple[str, ...]) -> dict[str, float]:
    """Return the means over cases (rows) of each class, and over classes, without undefined values.

    Args:
        scores: Dice (cases, classes) in [0, 1]; NaN where it is undefined.
        foreground: names of the classes.

    Returns:
        `dice`, 0 if nothing is defined, and `dice_CLASS`, NaN for a class that no case shows.
    """
    defined = ~np.isnan(scores)
    means = np.where(defined, scores, 0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    seen = defined.any(axis=0)
    named = {
        f"dice_{name}": float(mean) if there else math.nan
        for name, mean, there in zip(foreground, means, seen, strict=True)
    }
    return {"dice": float(means[seen].mean()) if seen.any() else 0.0, **named}
