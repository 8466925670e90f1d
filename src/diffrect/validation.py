"""Validation during training: Dice of the predictor on whole volumes."""

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from diffrect.data.resample import Interpolation
from diffrect.data.store import Store
from diffrect.metrics import case_dice
from diffrect.model import predict_slices


def validate(
    network: nn.Module,
    store: Store,
    patients: tuple[str, ...],
    size: int,
    interpolation: Interpolation,
    fabric: Fabric,
) -> dict[str, float]:
    """Mean Dice of the foreground classes over the cases of some patients, shared over processes.

    Returns:
        "dice" (mean over classes) and "dice_CLASS" for each, in [0, 1].
    """
    wanted = set(patients)
    cases = [case.id for case in store.cases.values() if case.patient in wanted]
    foreground = store.classes[1:]
    scores = torch.zeros(len(cases), len(foreground), dtype=torch.float64)
    training = network.training
    network.eval()
    for row in range(fabric.global_rank, len(cases), fabric.world_size):
        case = cases[row]
        with fabric.autocast():
            prediction = predict_slices(
                network, store.image(case), size, interpolation, fabric.device
            )
        dice = case_dice(prediction, store.label(case), store.classes)
        scores[row] = torch.tensor([dice[name] for name in foreground], dtype=torch.float64)
    network.train(training)
    scores = fabric.all_reduce(scores.to(fabric.device), reduce_op="sum").cpu()
    means = np.nanmean(scores.numpy(), axis=0)
    named = {f"dice_{name}": float(mean) for name, mean in zip(foreground, means, strict=True)}
    return {"dice": float(np.nanmean(means)), **named}
