"""Draw what surrounds the heart: chest wall, lungs, great vessels, organs under the diaphragm.

Much of it looks like a ventricle in a patch (stomach and aorta as bright as blood, liver as grey as
myocardium), as it does in patients. Coordinates are those of `heart`, in mm.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from diffrect.phantom.basics import Range, Tissue
from diffrect.phantom.heart import Heart, Phase

Point = tuple[float, float, float]


class Blob(NamedTuple):
    """An ellipsoid: centre and half-axes in mm, angle in the plane, sideways lean per mm of z."""

    centre: Point
    half_axes: Point
    angle: float
    lean: tuple[float, float]
    tissue: Tissue
    shell: float = 0.0  # thickness in mm of the muscle around its content


class Diaphragm(NamedTuple):
    """A dome: its top (mm), its fall towards the sides (1/mm) and its rise towards the apex."""

    x: float
    y: float
    curvature: float
    rise: float


class ChestWall(NamedTuple):
    """An elliptic tube with layers of muscle, ribs and fat; lengths are in mm."""

    centre: tuple[float, float]
    half_axes: tuple[float, float]
    approach: float  # mm by which it comes closer to the heart per mm towards the apex
    muscle: float
    fat: float
    rib_spacing: float  # radians
    unevenness: tuple[float, float]  # of the fat's thickness: relative size, phase


@dataclass(frozen=True)
class Thorax:
    """Everything around the heart; later blobs lie in front of earlier ones."""

    wall: ChestWall
    pads: tuple[float, float]  # mm of fat that fills the corners at the chest wall and diaphragm
    diaphragm: Diaphragm
    lung_vessels: tuple[Blob, ...]
    abdomen: tuple[Blob, ...]
    mediastinum: tuple[Blob, ...]


def draw_thorax(random: np.random.Generator, heart: Heart) -> Thorax:
    """Draw surroundings that a heart fits into."""
    phase = heart.diastole
    floor = phase.radius + phase.wall + float(random.uniform(0, 8))
    left = -(phase.radius + phase.wall + 0.95 * phase.rv_width + float(random.uniform(2, 12)))
    half_axes = (float(random.uniform(78, 95)), float(random.uniform(95, 120)))
    wall = ChestWall(
        centre=(half_axes[0] + left, float(random.uniform(-40, 0))),
        half_axes=half_axes,
        approach=float(random.uniform(0.1, 0.45)),
        muscle=float(random.uniform(9, 18)),
        fat=float(random.uniform(5, 28)),
        rib_spacing=float(random.uniform(0.22, 0.3)),
        unevenness=(float(random.uniform(0.1, 0.6)), float(random.uniform(-np.pi, np.pi))),
    )
    diaphragm = Diaphragm(
        x=float(random.uniform(-30, 15)),
        y=floor,
        curvature=float(random.uniform(0.0005, 0.004)),
        rise=float(random.uniform(0.05, 0.3)),
    )
    vessels = tuple(_draw_lung_vessel(random) for _ in range(70))
    pads = (float(random.uniform(4, 22)), float(random.uniform(4, 22)))
    mediastinum = _draw_vessels(random, phase, floor)
    return Thorax(wall, pads, diaphragm, vessels, _draw_abdomen(random, floor), mediastinum)


def _draw_organ(
    random: np.random.Generator,
    centre: Point,
    spread: float,
    size: Range,
    tissue: Tissue,
    shell: float = 0.0,
) -> Blob:
    """Draw an organ of random size and direction near a point.

    Args:
        random: source of the draws.
        centre: mean of its centre, in mm.
        spread: standard deviation of its centre, in mm; twice as much along z.
        size: half-axes in mm; 1.6 times as much along z.
        tissue: its content.
        shell: thickness in mm of the muscle around its content.
    """
    x, y, z = random.normal(centre, (spread, spread, 2 * spread))
    half_axes = (size.draw(random), size.draw(random), 1.6 * size.draw(random))
    lean = (float(random.normal(0, 0.2)), float(random.normal(0, 0.2)))
    angle = float(random.uniform(-np.pi, np.pi))
    return Blob((float(x), float(y), float(z)), half_axes, angle, lean, tissue, shell)


def _one_of(random: np.random.Generator, tissues: tuple[Tissue, ...]) -> Tissue:
    return tissues[int(random.integers(len(tissues)))]


def _draw_abdomen(random: np.random.Generator, floor: float) -> tuple[Blob, ...]:
    """Draw liver, spleen, stomach and bowel; the last two hold fluid, food or air."""
    organ = partial(_draw_organ, random)
    fillings = (Tissue.VESSEL, Tissue.BOWEL, Tissue.BOWEL, Tissue.AIR)
    loops = [
        organ(
            (20, floor + 48, 60),
            20,
            Range(7, 17),
            _one_of(random, (*fillings, Tissue.SPLEEN)),
            float(random.uniform(1.5, 3.5)),
        )
        for _ in range(9)
    ]
    liver = [
        organ((-42, floor + 46, 15), 6, Range(48, 66), Tissue.LIVER),
        organ((float(random.uniform(-15, 15)), floor + 12, 35), 5, Range(18, 34), Tissue.LIVER),
    ]
    upper = [
        organ((66, floor + 20, 30), 8, Range(18, 30), Tissue.SPLEEN),
        organ(
            (38, floor + 26, 50),
            9,
            Range(19, 34),
            _one_of(random, fillings),
            float(random.uniform(2.5, 5)),
        ),
    ]
    hepatic = [organ((-38, floor + 34, 30), 18, Range(1.5, 4.5), Tissue.VESSEL) for _ in range(8)]
    return (*loops, *liver, *upper, *hepatic)


def _draw_lung_vessel(random: np.random.Generator) -> Blob:
    """Draw a branch of the pulmonary vessels: they are more and larger towards the hilum."""
    out = float(random.exponential(45))
    towards = float(random.uniform(-np.pi, np.pi))
    size = float(random.uniform(1.0, 2.2) + 2.0 * np.exp(-out / 15))
    return Blob(
        centre=(42 + out * np.cos(towards), -10 + out * np.sin(towards), random.uniform(-10, 90)),
        half_axes=(size * random.uniform(1, 3), size, random.uniform(6, 20)),
        angle=towards,
        lean=(float(random.normal(0, 0.5)), float(random.normal(0, 0.5))),
        tissue=Tissue.VESSEL,
    )


def _draw_vessels(random: np.random.Generator, phase: Phase, floor: float) -> tuple[Blob, ...]:
    """Draw inferior vena cava, descending aorta (cut obliquely) and pulmonary veins."""
    right = phase.radius + phase.wall
    cava = Blob(
        centre=(-random.uniform(25, 45), floor + random.uniform(14, 30), 0.0),
        half_axes=(random.uniform(8, 12), random.uniform(7, 11), random.uniform(25, 45)),
        angle=0.0,
        lean=(0.0, 0.2),
        tissue=Tissue.VESSEL,
    )
    aorta = Blob(
        centre=(right + random.uniform(12, 24), random.uniform(5, 35), 0.0),
        half_axes=(random.uniform(9, 12), random.uniform(11, 22), random.uniform(45, 90)),
        angle=float(random.normal(0, 0.3)),
        lean=(float(random.uniform(-0.3, 0.1)), float(random.uniform(0.1, 0.5))),
        tissue=Tissue.VESSEL,
        shell=1.5,
    )
    veins = [
        Blob(
            centre=(right + random.uniform(2, 10), random.uniform(-25, 25), -5.0),
            half_axes=(random.uniform(5, 12), random.uniform(4, 7), random.uniform(8, 22)),
            angle=float(random.normal(0, 0.6)),
            lean=(0.0, 0.0),
            tissue=Tissue.ATRIUM,
            shell=1.2,
        )
        for _ in range(2)
    ]
    return (cava, aorta, *veins)
