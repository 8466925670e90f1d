"""Cases of the store of a run, with the predictions of its model and their scores."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from diffrect.data.splits.chosen import choose_cases
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.scores_file import read_scores
from diffrect.imaging.volume import Volume
from diffrect.inference.model import Model
from diffrect.runs.folder import read_split
from diffrect.runs.folds import is_cross_validation
from diffrect.runs.names import SPLITS, Checkpoint, metrics_file
from diffrect.runs.store_of_run import open_store
from diffrect.viewing.from_store import Known, on_grid, store_gallery
from diffrect.viewing.gallery import Gallery, Layer


def gallery_of_run(
    run: Path,
    labels: Sequence[Path],
    *,
    store: Path | None = None,
    patients: str = "",
    checkpoint: Checkpoint = "best",
    device: str = "auto",
) -> Gallery:
    """Return cases of a run; the model predicts a case when it is looked at.

    Args:
        run: folder made by `train`.
        labels: see `match_labels`.
        store: store to read in place of the one that the run was trained on.
        patients: whose, see `choose_cases`; empty for those who validate, or all if none does.
        checkpoint: the checkpoint that predicts.
        device: what computes.

    Raises:
        InputError: no such run, store, patients or labels.
    """
    if is_cross_validation(run):
        raise InputError(run, "a run", found="a cross-validation", hint="each of its folds is one")
    model = Model.load(run, checkpoint, device)
    data = open_store(run, model.task, store)
    split = read_split(run)
    cases = choose_cases(patients or ("val" if split.val else "all"), data.cases, split)
    lock = Lock()
    layers = {
        case.id: [Layer("prediction", "label", partial(_predict, model, data, case.id, lock))]
        for case in cases
    }
    known = Known(split, _dice(run), layers)
    return store_gallery(data, cases, labels, known, run.resolve().name)


def _predict(model: Model, store: Store, case: str, lock: Lock, _: Volume) -> np.ndarray:
    """Return the labels of a case, as `evaluate` has them; one case at a time."""
    with lock:
        found = model.predict_slices(store.image(case), spacing=store.cases[case].spacing)
    return on_grid(store, case, found).array


def _dice(run: Path) -> dict[str, float]:
    """Return the mean Dice in per cent of each case that `evaluate` has scored.

    Raises:
        InputError: a file of scores is damaged.
    """
    found: dict[str, float] = {}
    for split in SPLITS:
        file = run / metrics_file(split)
        if file.is_file():
            content = read_scores(file)
            try:
                found |= {case["id"]: _mean(case["classes"]) for case in content["cases"]}
            except (KeyError, TypeError, AttributeError):
                raise InputError(file, "the scores of cases", hint="evaluate it again") from None
    return {case: dice for case, dice in found.items() if math.isfinite(dice)}


def _mean(classes: Mapping[str, Mapping[str, Any]]) -> float:
    known = [float(scores["dice"]) for scores in classes.values() if scores["dice"] is not None]
    return 100 * sum(known) / len(known) if known else math.nan
