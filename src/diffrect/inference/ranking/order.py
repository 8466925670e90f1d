"""Patients, how uncertain each is and how far they are from each other -> an order.

Two greedy orders, in which each choice knows the earlier ones, so that not five of a kind lead:

`k_centre`: the patient who is farthest from all labelled and earlier ones, which is within a factor
of two of the smallest possible radius (Gonzalez, 1985; for labels: Sener & Savarese, "Active
learning for convolutional neural networks: a core-set approach", ICLR 2018).

`cover`: the patient who brings the uncertain ones nearest to a labelled or earlier one. With u the
uncertainty of a patient and m the distance to the nearest of those, a choice i gains

    sum_j u_j max(0, m_j - d(i, j)) / sum_j u_j m_j(at first)

This is facility location, a submodular function (for labels: Wei, Iyer, Bilmes, "Submodularity in
data subset selection and active learning", ICML 2015), whose greedy order gains at least 1 - 1/e of
what is possible (Nemhauser, Wolsey, Fisher, 1978). Unlike `k_centre` it does not begin with
outliers, from whom little is learned about others while labels are few (Hacohen, Dekel, Weinshall,
"Active learning on a budget: opposite strategies suit high and low budgets", ICML 2022).
"""

import heapq
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata


class Choice(NamedTuple):
    """A patient chosen by an order.

    Attributes:
        who: which one.
        score: what the order maximises, 0 to 1; it never rises from one choice to the next.
        distance: to the nearest labelled or earlier patient, as a share of the largest distance of
            any two.
        nearer: how many of the others are nearer to this one than to any labelled or earlier one.
    """

    who: int
    score: float
    distance: float
    nearer: int


def percentiles(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value among all, from above 0 to 1; equal values share theirs."""
    found: np.ndarray = rankdata(values) / max(1, len(values))
    return found


def k_centre(between: np.ndarray, nearest: np.ndarray | None) -> list[Choice]:
    """Return patients, the farthest from all labelled and earlier ones first.

    Args:
        between: distances (N, N).
        nearest: distance of each to the nearest labelled one; None if none is labelled, then the
            first choice is the one nearest to all others.
    """
    left, scale = _start(between, nearest), _scale(between, nearest)
    first = None if nearest is not None else int(between.sum(axis=1).argmin())
    open_ = np.ones(len(left), bool)
    choices = []
    while open_.any():
        index = int(np.where(open_, left, -1.0).argmax()) if first is None else first
        first = None
        choices.append(_choice(index, left[index] / scale, between, left, open_, scale))
        open_[index] = False
        left = np.minimum(left, between[index])
    return choices


def cover(weights: np.ndarray, between: np.ndarray, nearest: np.ndarray | None) -> list[Choice]:
    """Return patients, those first who bring uncertain ones nearest to a labelled or earlier one.

    Gains only fall, so that an old one is a bound, and few are computed again for a choice (Minoux,
    1978).

    Args:
        weights: uncertainties (N,), at least 0.
        between: distances (N, N).
        nearest: distance of each to the nearest labelled one; None if none is labelled.
    """
    left, scale = _start(between, nearest), _scale(between, nearest)
    total = float(weights @ left) or 1.0
    bounds = [(-_gain(weights, left, between[i]), -float(weights[i]), i) for i in range(len(left))]
    heapq.heapify(bounds)
    open_ = np.ones(len(left), bool)
    choices = []
    while bounds:
        _, weight, index = heapq.heappop(bounds)
        gain = _gain(weights, left, between[index])
        if bounds and (-gain, weight, index) > bounds[0]:
            heapq.heappush(bounds, (-gain, weight, index))
            continue
        choices.append(_choice(index, gain / total, between, left, open_, scale))
        open_[index] = False
        left = np.minimum(left, between[index])
    return choices


def by_value(values: np.ndarray, between: np.ndarray, nearest: np.ndarray | None) -> list[Choice]:
    """Return patients, those of the largest value first.

    Args:
        values: the scores (N,).
        between: distances (N, N).
        nearest: distance of each to the nearest labelled one; None if none is labelled.
    """
    left, scale = _start(between, nearest), _scale(between, nearest)
    open_ = np.ones(len(left), bool)
    choices = []
    for index in np.argsort(-values, kind="stable"):
        choices.append(_choice(int(index), float(values[index]), between, left, open_, scale))
        open_[index] = False
        left = np.minimum(left, between[index])
    return choices


def _start(between: np.ndarray, nearest: np.ndarray | None) -> np.ndarray:
    """Return how far each is from what is labelled; of nothing, farther than from any other."""
    return np.full(len(between), between.max(initial=0.0)) if nearest is None else nearest


def _scale(between: np.ndarray, nearest: np.ndarray | None) -> float:
    """Return the largest distance of any two; 1 if all are alike."""
    known = 0.0 if nearest is None else nearest.max(initial=0.0)
    return max(float(between.max(initial=0.0)), float(known)) or 1.0


def _gain(weights: np.ndarray, left: np.ndarray, distance: np.ndarray) -> float:
    return float(weights @ np.maximum(0.0, left - distance))


def _choice(
    index: int,
    score: float,
    between: np.ndarray,
    left: np.ndarray,
    open_: np.ndarray,
    scale: float,
) -> Choice:
    nearer = (between[index] < left) & open_
    nearer[index] = False
    return Choice(index, float(score), float(left[index] / scale), int(nearer.sum()))
