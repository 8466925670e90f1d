"""The slices that the demo's picture shows, chosen by rules that do not favour a method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.evaluation.metrics import Scores, case_dice
from diffrect.evaluation.result import Evaluation
from diffrect.inference.model import Model
from diffrect.reporting.panels import Panel, PictureRow
from diffrect.showcase.rectification import RectifiedSlice, rectify_unlabelled
from diffrect.showcase.settings import METHODS

PHASES = {"frame01": "end-diastole", "frame02": "end-systole"}


def median_case(supervised: Evaluation, diffrect: Evaluation) -> str:
    """Return the test case with the median gain in mean Dice from one evaluation to the other."""
    gains = {
        after.id: mean_dice(after.classes) - mean_dice(before.classes)
        for before, after in zip(supervised.cases, diffrect.cases, strict=True)
    }
    return sorted(gains, key=lambda case: (gains[case], case))[len(gains) // 2]


def mean_dice(classes: Mapping[str, Scores]) -> float:
    """Return the mean of a case's Dice over the classes in which it is defined, in [0, 1]."""
    values = [scores["dice"] for scores in classes.values()]
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else 0.0


def rows_of_case(store: Store, case: CaseRecord, runs: Mapping[str, Path]) -> list[PictureRow]:
    """Return a mid-ventricular and an apical slice of a case: image, truth, each prediction.

    Args:
        store: the store that holds the case.
        case: the case.
        runs: the run of each method.
    """
    images, truth = store.image(case.id), store.label(case.id)
    predictions = {
        METHODS[name]: Model.load(run).predict_slices(images) for name, run in runs.items()
    }
    complete = complete_slices(truth, len(store.classes))
    # The middle of the heart, and that of its last third.
    chosen = {
        "mid-ventricular": complete[len(complete) // 2],
        "apical": complete[5 * len(complete) // 6],
    }
    return [
        PictureRow(
            f"test {case.patient}, {phase_of(case)}\n{level} slice",
            images[index, 0],
            truth[index],
            pixel_size(case),
            [
                Panel("image"),
                Panel("truth", truth[index]),
                *(Panel(name, p[index], scored=True) for name, p in predictions.items()),
            ],
        )
        for level, index in chosen.items()
    ]


def complete_slices(truth: np.ndarray, classes: int) -> list[int]:
    """Return the slices of (Z, H, W) that hold every class, base first; all if none does."""
    found = [z for z, labels in enumerate(truth) if len(np.unique(labels)) == classes]
    return found or list(range(len(truth)))


@dataclass(frozen=True)
class ShownRectification:
    """The row of the picture about rectified pseudo-labels, and the numbers behind it.

    Attributes:
        row: the row.
        slices: number of unlabelled slices that show the heart.
        before: mean Dice of their pseudo-labels, in [0, 1].
        after: the same after rectification.
    """

    row: PictureRow
    slices: int
    before: float
    after: float


def show_rectification(run: Path, store: Store, split: Split) -> ShownRectification:
    """Rectify the pseudo-labels of the unlabelled patients and show the one that changes most.

    It is chosen among the slices that hold every class.
    """
    rectified = rectify_unlabelled(run, store, split)
    complete = [r for r in rectified if len(np.unique(r.truth)) == len(store.classes)]
    shown = max(complete or rectified, key=lambda r: r.changed)
    heart = [r for r in rectified if r.truth.any()]
    return ShownRectification(
        row=_rectified_row(store, shown),
        slices=len(heart),
        before=float(np.mean([slice_dice(r.before, r.truth, store.classes) for r in heart])),
        after=float(np.mean([slice_dice(r.after, r.truth, store.classes) for r in heart])),
    )


def _rectified_row(store: Store, shown: RectifiedSlice) -> PictureRow:
    return PictureRow(
        f"unlabelled {shown.case.patient}\n{phase_of(shown.case)}, "
        f"slice {shown.index + 1} of {shown.case.slices}",
        store.image(shown.case.id, shown.index)[0],
        shown.truth,
        pixel_size(shown.case),
        [
            Panel("image"),
            Panel("truth, hidden in training", shown.truth),
            Panel("pseudo-label", shown.before, scored=True),
            Panel("rectified pseudo-label", shown.after, scored=True),
        ],
    )


def slice_dice(labels: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> float:
    """Return the mean Dice of a slice over the classes that are in one of the two, at least one."""
    return float(np.nanmean(list(case_dice(labels, truth, classes).values())))


def phase_of(case: CaseRecord) -> str:
    """Return what the frame is called; synthetic cases are named as ACDC's."""
    return PHASES[case.id.rpartition("_")[2]]


def pixel_size(case: CaseRecord) -> tuple[float, float]:
    """Return millimetres along H and W."""
    assert case.spacing is not None
    return case.spacing[1], case.spacing[2]
