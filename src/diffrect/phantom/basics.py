"""What all parts of the phantom share: tissues, ranges, functions of direction, planes."""

from __future__ import annotations

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
    """What fills a point; the signal and the label follow from it."""

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
        """One uniform draw."""
        return float(random.uniform(self.low, self.high))


class Plane(NamedTuple):
    """Points at one level: `x` and `y` in mm, any two-dimensional shape; `z` in mm."""

    x: FloatArray
    y: FloatArray
    z: float


def bump(direction: float, half_width: float) -> FloatArray:
    """A smooth function of direction, 1 at `direction`; both arguments in radians."""
    return np.exp(-0.5 * (away_from(direction) / half_width) ** 2).astype(np.float32)


def away_from(direction: float) -> FloatArray:
    """The angle from `direction` to every direction, in -pi..pi."""
    return np.angle(np.exp(1j * (DIRECTIONS - direction))).astype(np.float32)


def harmonics(random: np.random.Generator, low: int, high: int, size: float) -> FloatArray:
    """A smooth random function of direction; harmonics low..high, falling off as 1 / order."""
    total = np.zeros(ANGLES)
    for order in range(low, high + 1):
        start = random.uniform(-np.pi, np.pi)
        total += random.normal(0, size * low / order) * np.cos(order * DIRECTIONS + start)
    return total.astype(np.float32)
