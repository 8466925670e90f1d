"""Volumes of structures against the truth: agreement after Bland and Altman."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WIDTH = 1.96  # standard deviations that hold 95 % of normal differences


class Agreement(NamedTuple):
    """How far volumes are from the truth (Bland & Altman, Lancet 1986)."""

    cases: int
    bias: float
    """Mean of predicted minus true; NaN without cases."""
    low: float
    """Lower limit of agreement, bias - 1.96 standard deviations; NaN with fewer than two cases."""
    high: float
    """Upper limit of agreement."""


def agreement(predicted: Sequence[float], true: Sequence[float]) -> Agreement:
    """Return bias and limits of agreement of paired volumes, in their unit."""
    difference = np.subtract(predicted, true)
    if not difference.size:
        return Agreement(0, np.nan, np.nan, np.nan)
    bias = float(difference.mean())
    spread = WIDTH * float(difference.std(ddof=1)) if difference.size > 1 else np.nan
    return Agreement(difference.size, bias, bias - spread, bias + spread)
