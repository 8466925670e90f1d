"""An order of unlabelled patients and their slices: what `rank` returns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from diffrect.inference.ranking.doubt import AUGMENTATION, DISAGREEMENT, ENTROPY

By = Literal["combined", "entropy", "disagreement", "augmentation", "diversity"]
"""What orders patients, see `diffrect.rank`."""


@dataclass(frozen=True)
class RankedSlicePicture:
    """A slice to look at.

    Attributes:
        case: id of the case.
        index: number of the slice, from 0.
        slices: of how many.
        image: (H, W), the first channel, in [0, 1].
        labels: class map (H, W) that the model predicts.
        entropy: (H, W), 0 certain to 1.
        spacing: mm along H and W; None if unknown.
    """

    case: str
    index: int
    slices: int
    image: np.ndarray
    labels: np.ndarray
    entropy: np.ndarray
    spacing: tuple[float, float] | None


@dataclass(frozen=True)
class RankedPatient:
    """An unlabelled patient.

    Attributes:
        rank: from 1.
        patient: the id.
        cases: ids of the scans.
        slices: number of slices of all scans.
        score: what the order goes by, see `diffrect.rank`.
        measures: `entropy`, `disagreement` and `augmentation`, 0 to 1, those that the run has.
        places: of each measure the patient's place among all candidates, 1 for the highest value.
        uncertainty: mean rank of the measures among all candidates, from above 0 to 1.
        diversity: distance of the pooled features to the nearest labelled or earlier patient, as a
            share of the largest distance of any two.
        nearer: how many later candidates are nearer to this one than to any labelled or earlier
            one.
        reason: all this in words.
        picture: the slice of most doubt; None after the first twenty.
    """

    rank: int
    patient: str
    cases: tuple[str, ...]
    slices: int
    score: float
    measures: Mapping[str, float]
    places: Mapping[str, int]
    uncertainty: float
    diversity: float
    nearer: int
    reason: str
    picture: RankedSlicePicture | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class RankedSlice:
    """A slice of a ranked patient.

    Attributes:
        rank: from 1, among all slices of the ranked patients.
        case: id of the case.
        patient: whose it is.
        patient_rank: the rank of the patient.
        slice: its number in the store, from 1.
        score: mean rank of its measures among the slices of all candidates, or of one of them.
        measures: what it contributes to its case's `entropy`, `disagreement` and `augmentation`,
            whose mean over slices is that of the case.
    """

    rank: int
    case: str
    patient: str
    patient_rank: int
    slice: int
    score: float
    measures: Mapping[str, float]


@dataclass(frozen=True)
class Ranking:
    """Unlabelled patients in the order in which they are worth annotating.

    Attributes:
        by: what orders them.
        patients: the first comes first.
        slices: of these patients, the first comes first.
        candidates: number of unlabelled patients, of whom `patients` are the first.
        labelled: number of patients whose labels the run was trained on and the store holds.
        opinions: who disagrees, such as "teacher and rectifier"; None if nobody can.
        views: the views that `augmentation` compares; None if none suit the model.
        classes: names of the class codes, background first.
        run: the run.
        store: the store.
    """

    by: By
    patients: Sequence[RankedPatient]
    slices: Sequence[RankedSlice] = field(repr=False)
    candidates: int
    labelled: int
    opinions: str | None
    views: str | None
    classes: tuple[str, ...] = field(repr=False)
    run: str
    store: str

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that the run has."""
        return tuple(self.patients[0].measures)


def in_words(measures: Mapping[str, float], opinions: str | None) -> dict[str, str]:
    """Return what measures are called, by their names."""
    named = {
        ENTROPY: "entropy",
        DISAGREEMENT: f"disagreement of {opinions}",
        AUGMENTATION: "disagreement of views",
    }
    return {name: named[name] for name in measures}


def explain(
    measures: Mapping[str, float],
    places: Mapping[str, int],
    candidates: int,
    nearer: int,
    opinions: str | None,
) -> str:
    """Return in words why a patient has its rank.

    Args:
        measures: of the patient, by their names.
        places: the patient's place by each of them, 1 for the highest.
        candidates: number of patients.
        nearer: see `RankedPatient.nearer`.
        opinions: who disagrees.
    """
    words = in_words(measures, opinions)
    parts = [
        f"{words[name]} {value:.2f} ({places[name]} of {candidates})"
        for name, value in measures.items()
        if not math.isnan(value)
    ]
    if nearer == 0:
        alike = "nobody else is most like this patient"
    elif nearer == 1:
        alike = "1 other is more like this patient than like any labelled or earlier one"
    else:
        alike = f"{nearer} others are more like this patient than like any labelled or earlier one"
    return f"{', '.join(parts)}; {alike}"
