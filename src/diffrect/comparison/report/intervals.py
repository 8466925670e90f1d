"""Intervals of a mean difference that hold for other trainings and for other patients."""

from typing import NamedTuple

import numpy as np

DRAWS = 10_000
_BLOCK = 1_000
_SEED = 0


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval; NaN where nothing is defined."""

    mean: float
    low: float
    high: float


def bootstrap_interval(differences: np.ndarray) -> Interval:
    """Return the mean of differences and its 95 % percentile bootstrap interval.

    Trainings and patients are drawn with replacement, independently of each other (Owen, Annals of
    Applied Statistics 2007), and the mean over all drawn pairs is taken, 10,000 times. With one
    training the interval is over patients only. The draws are the same each time.

    Args:
        differences: variant minus other per training and patient, (S, P); NaN where undefined.
    """
    known = ~np.isnan(differences)
    if not known.any():
        return Interval(np.nan, np.nan, np.nan)
    values = np.where(known, differences, 0.0)
    generator = np.random.default_rng(_SEED)
    means = [_draw(values, known, generator) for _ in range(DRAWS // _BLOCK)]
    low, high = np.nanpercentile(np.concatenate(means), (2.5, 97.5))
    return Interval(float(values.sum() / known.sum()), float(low), float(high))


def _draw(values: np.ndarray, known: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the means of a block of draws, NaN where a draw holds no defined value."""
    trainings, patients = (
        generator.multinomial(number, np.full(number, 1 / number), _BLOCK)
        for number in values.shape
    )
    total = ((trainings @ values) * patients).sum(1)
    number = ((trainings @ known) * patients).sum(1)
    means: np.ndarray = np.divide(total, number, out=np.full(_BLOCK, np.nan), where=number > 0)
    return means
