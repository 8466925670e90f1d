"""Validation during training: Dice of the predictor on whole volumes.

The best checkpoint is chosen by the classes that the truth of some validation case shows. For any
other class, Dice is 0 or undefined by whether a stray pixel was predicted, which says nothing about
how well the class is found and would freeze the choice at the first validation, or move it.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric

from diffrect.console import warn
from diffrect.data.split import Split
from diffrect.data.splits.blocks import Block
from diffrect.data.store import Store
from diffrect.evaluation.metrics import case_dice
from diffrect.inference.segmenter import Segmenter
from diffrect.training.stop import StopRequest


def validate(
    segmenter: Segmenter,
    store: Store,
    blocks: Sequence[Block],
    shown: tuple[str, ...],
    fabric: Fabric,
    stop: StopRequest | None = None,
    report: Callable[[int, int], None] | None = None,
    look: Callable[[Block, np.ndarray], None] | None = None,
) -> dict[str, float] | None:
    """Return the mean Dice of the foreground classes over some cases, or parts of them.

    All processes share the cases. The segmenter's network predicts in eval mode, and is back in the
    mode it was in afterwards.

    Args:
        segmenter: the network in training, and how slices become its input.
        store: the prepared data.
        blocks: what to score, see `Store.validation_blocks`.
        shown: the classes that choose the best checkpoint, see `classes_shown`.
        fabric: the processes, and the precision in which the network runs.
        stop: ends the validation early once a stop is requested.
        report: called with the number of a case, from 1, and of all, before it is scored.
        look: called with a block and its predicted class maps (Z, H, W), once they are known.

    Returns:
        `dice` and `dice_CLASS` for each class, see `summarise_dice`; of no blocks `dice` alone,
        NaN; None if a stop was requested before all cases were done.
    """
    if not blocks:
        return {"dice": math.nan}
    foreground = store.classes[1:]
    scores = torch.zeros(len(blocks), len(foreground), dtype=torch.float64)
    training = segmenter.network.training
    segmenter.network.eval()
    for row in range(fabric.global_rank, len(blocks), fabric.world_size):
        block = blocks[row]
        if stop is not None and stop.requested:
            scores[row:] = math.inf  # No Dice is infinite: every process sees it in the sum.
            break
        if report is not None:
            report(row + 1, len(blocks))
        with fabric.autocast():
            zoom = store.zoom(block.case, segmenter.spacing)
            prediction = segmenter.labels(store.image(block.case)[block.part], zoom)
        if look is not None:
            look(block, prediction)
        dice = case_dice(prediction, store.label(block.case)[block.part], store.classes)
        scores[row] = torch.tensor([dice[name] for name in foreground], dtype=torch.float64)
    segmenter.network.train(training)
    if fabric.world_size > 1:  # Each process filled its own rows; the others are 0.
        scores = cast(torch.Tensor, fabric.all_reduce(scores.to(fabric.device), reduce_op="sum"))
    if scores.isinf().any():
        return None
    return summarise_dice(scores.cpu().numpy(), foreground, shown)


def summarise_dice(
    scores: np.ndarray, foreground: tuple[str, ...], shown: tuple[str, ...]
) -> dict[str, float]:
    """Return the means over cases (rows) of each class, and over classes, without undefined values.

    Args:
        scores: Dice (cases, classes) in [0, 1]; NaN where it is undefined.
        foreground: names of the classes.
        shown: those that the truth of some case shows.

    Returns:
        `dice`, the mean of the classes shown, NaN if there is none; and `dice_CLASS`, NaN for a
        class whose Dice is undefined in all cases.
    """
    defined = ~np.isnan(scores)
    means = np.where(defined, scores, 0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    seen = defined.any(axis=0)
    named = {
        f"dice_{name}": float(mean) if there else math.nan
        for name, mean, there in zip(foreground, means, seen, strict=True)
    }
    chosen = means[[name in shown for name in foreground]]
    return {"dice": float(chosen.mean()) if chosen.size else math.nan, **named}


def classes_shown(store: Store, blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return the foreground classes that the labels of some blocks show, in the store's order.

    Labels are read until all classes are found.
    """
    missing = dict(enumerate(store.classes[1:], start=1))
    for block in blocks:
        if not missing:
            break
        label = store.label(block.case)[block.part]
        missing = {code: name for code, name in missing.items() if not (label == code).any()}
    return tuple(name for name in store.classes[1:] if name not in missing.values())


def warn_of_blind_choice(store: Store, split: Split, shown: tuple[str, ...]) -> None:
    """Say if nothing chooses the best checkpoint, or little, or which classes do not.

    Args:
        store: the prepared data.
        split: the patients, and the slices that validate.
        shown: the classes that validation shows.
    """
    if split.val_slices:
        warn(
            "slices of training patients choose the checkpoint: they are in no batch, but much "
            "like those that are, and their Dice is higher than that of new patients"
        )
    elif not split.val:
        warn(
            "nobody validates, so there is nothing to choose a checkpoint by: best.pt, with which "
            "predict works, will be the last one"
        )
        return
    who = "slices" if split.val_slices else "patients"
    missing = [name for name in store.classes[1:] if name not in shown]
    if not shown:
        warn(
            f"the labels of the validation {who} show no class, so there is nothing to choose a "
            "checkpoint by: best.pt will be the state of the last validation"
        )
    elif missing:
        warn(
            f"the labels of no validation {who[:-1]} show {', '.join(missing)}: validation Dice, "
            "which chooses best.pt, is the mean of the other classes"
        )
