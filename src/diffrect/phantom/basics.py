"""Tissues, ranges, planes and functions of direction, which all parts of the phantom share."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]
LabelArray = NDArray[np.uint8]

ANGLES = 720  # half a degree: 0.35 mm at 40 mm from the axis, below one sample
DIRECTIONS: FloatArray = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False, dtype=np.float32)


class Tissue(IntEnum):
    """The tissue at a point, from which the signal and the label follow."""

    AIR = 0
    LUNG = 1
    FAT = 2
    MESENTERY = 3
    MUSCLE = 4
    BONE = 5
    LIVER = 6
    SPLEEN = 7
    BOWEL = 8
    VESSEL = 9
    ATRIUM = 10
    RV_WALL = 11
    RV_BLOOD = 12
    RV_TRABECULA = 13
    MYOCARDIUM = 14
    LV_BLOOD = 15
    PAPILLARY = 16


# As in ACDC: 1 cavity of the right ventricle, 2 myocardium, 3 cavity of the left ventricle.
# Papillary muscles and trabeculae belong to the cavities, as its annotators drew them.
LABEL_OF_TISSUE: LabelArray = np.array([0] * 12 + [1, 1, 2, 3, 3], dtype=np.uint8)


class Range(NamedTuple):
    """The interval that a quantity is drawn from."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        """Return one uniform draw."""
        return float(random.uniform(self.low, self.high))


class Plane(NamedTuple):
    """Points at one level: `x` and `y` in mm, any two-dimensional shape; `z` in mm."""

    x: FloatArray
    y: FloatArray
    z: float


class Canvas(NamedTuple):
    """A picture in the making: the `Tissue` of each point, changed in place, and the points."""

    tissue: LabelArray
    plane: Plane


def bump(direction: float, half_width: float) -> FloatArray:
    """Return a smooth function of direction that is 1 at `direction`; arguments in radians."""
    values = np.exp(-0.5 * (away_from(direction) / half_width) ** 2)
    return np.asarray(values, dtype=np.float32)


def away_from(direction: float) -> FloatArray:
    """Return the angle from `direction` to every direction, in -pi..pi."""
    return np.asarray(np.angle(np.exp(1j * (DIRECTIONS - direction))), dtype=np.float32)


def harmonics(random: np.random.Generator, low: int, high: int, size: float) -> FloatArray:
    """Return a smooth random function of direction.

    Args:
        random: source of the draws.
        low: lowest harmonic.
        high: highest harmonic; amplitudes fall off as 1 / order.
        size: standard deviation of the lowest harmonic's amplitude.
    """
    total = np.zeros(ANGLES)
    for order in range(low, high + 1):
        start = random.uniform(-np.pi, np.pi)
        total += random.normal(0, size * low / order) * np.cos(order * DIRECTIONS + start)
    return total.astype(np.float32)
