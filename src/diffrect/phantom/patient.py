"""Draw one synthetic patient from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffrect.phantom.basics import LabelArray
from diffrect.phantom.heart import GROUPS
from diffrect.phantom.paint import draw_anatomy
from diffrect.phantom.scanner import draw_grid, draw_scanner, scan


@dataclass(frozen=True)
class Frame:
    """One volume of the beat, `number` counted from 1; image and label are (X, Y, Z)."""

    number: int
    image: NDArray[np.int16]
    label: LabelArray


@dataclass(frozen=True)
class PhantomPatient:
    """A synthetic patient: both labelled frames and the facts of `Info.cfg`; spacing in mm."""

    group: str
    height_cm: float
    weight_kg: float
    frames: int
    spacing: tuple[float, float, float]
    diastole: Frame
    systole: Frame


def phantom_patient(seed: int, index: int) -> PhantomPatient:
    """Draw patient `index` (from 0) of the data set `seed`, a pure function of the two."""
    # Each part has a stream of its own, so that a change to one leaves the others as they were.
    body, plan, machine, noise, facts = (
        np.random.default_rng((seed, index, part)) for part in range(5)
    )
    group = tuple(GROUPS)[index % len(GROUPS)]
    anatomy = draw_anatomy(body, group)
    heart = anatomy.heart
    grid = draw_grid(plan, heart.diastole.length)
    scanner = draw_scanner(machine)
    frames = int(facts.integers(20, 36))
    end_systole = round(frames * float(facts.uniform(0.32, 0.42)))
    return PhantomPatient(
        group=group,
        height_cm=float(facts.integers(155, 190)),
        weight_kg=float(facts.integers(52, 105)),
        frames=frames,
        spacing=grid.spacing,
        diastole=Frame(1, *scan(noise, anatomy, heart.diastole, grid, scanner)),
        systole=Frame(end_systole, *scan(noise, anatomy, heart.systole, grid, scanner)),
    )
