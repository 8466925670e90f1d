"""One synthetic patient, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffrect.phantom.basics import LabelArray
from diffrect.phantom.heart import GROUPS
from diffrect.phantom.paint import draw_anatomy
from diffrect.phantom.scanner import draw_grid, draw_scanner, scan


@dataclass(frozen=True)
class Frame:
    """One volume, `number` counted from 1 within the beat; image and label are (X, Y, Z)."""

    number: int
    image: NDArray[np.int16]
    label: LabelArray


@dataclass(frozen=True)
class PhantomPatient:
    """A synthetic patient: both labelled frames and what `Info.cfg` tells; spacing in mm."""

    group: str
    height_cm: float
    weight_kg: float
    frames: int
    spacing: tuple[float, float, float]
    diastole: Frame
    systole: Frame


def phantom_patient(seed: int, index: int) -> PhantomPatient:
    """Draw patient `index` (from 0) of the data set `seed`: a pure function of the two."""
    random = np.random.default_rng((seed, index))
    group = tuple(GROUPS)[index % len(GROUPS)]
    anatomy = draw_anatomy(random, group)
    grid = draw_grid(random, anatomy.heart.diastole.length)
    scanner = draw_scanner(random)
    frames = int(random.integers(20, 36))
    end_systole = round(frames * float(random.uniform(0.32, 0.42)))
    heart = anatomy.heart
    diastole = Frame(1, *scan(random, anatomy, heart.diastole, grid, scanner))
    systole = Frame(end_systole, *scan(random, anatomy, heart.systole, grid, scanner))
    height_cm = float(random.integers(155, 190))
    weight_kg = float(random.integers(52, 105))
    return PhantomPatient(group, height_cm, weight_kg, frames, grid.spacing, diastole, systole)
