"""The anatomy of the synthetic patients: which tissue lies at a point of the thorax.

Coordinates are millimetres in a frame fixed to the patient: the origin is the axis of the left
ventricle (LV), x points to the patient's left and y downwards as the picture is looked at, and z
runs from the mitral valve at end-diastole (0) to the apex. Directions are angles of (x, y); the
ventricles and the fat around them are radii as a function of that angle. Everything is drawn
from ranges found in patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float32]
TissueArray = NDArray[np.uint8]

ANGLES = 720  # half a degree: 0.35 mm at 40 mm from the axis, below one sample
DIRECTIONS: FloatArray = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False, dtype=np.float32)
RV_WALL_MM = 3.0  # the free wall of the right ventricle; not labelled, as in ACDC
APEX_WALL_MM = 6.0


class Tissue(IntEnum):
    """What fills a point; the signal and the label follow from it."""

    AIR = 0
    LUNG = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    LIVER = 5
    SPLEEN = 6
    STOMACH = 7
    VESSEL = 8
    ATRIUM = 9
    RV_WALL = 10
    RV_BLOOD = 11
    RV_TRABECULA = 12
    MYOCARDIUM = 13
    LV_BLOOD = 14
    PAPILLARY = 15


# Papillary muscles and trabeculae belong to the cavities, as ACDC's annotators drew them.
LABEL_OF_TISSUE: TissueArray = np.array([0] * 11 + [1, 1, 2, 3, 3], dtype=np.uint8)


class Range(NamedTuple):
    """The interval that a quantity is drawn from."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        """One uniform draw."""
        return float(random.uniform(self.low, self.high))


@dataclass(frozen=True)
class Group:
    """What sets a diagnosis apart; millimetres at end-diastole, fractions of the volume."""

    cavity_diameter: Range
    wall: Range
    ejection: Range
    rv_width: Range
    rv_ejection: Range = Range(0.45, 0.62)
    septum_flattening: Range = Range(0.0, 0.08)
    uneven_wall: Range = Range(0.0, 0.1)  # + thicker septum, - thinned scar


GROUPS = {
    "NOR": Group(Range(44, 54), Range(7.5, 10), Range(0.55, 0.68), Range(26, 36)),
    "DCM": Group(Range(58, 70), Range(7, 9), Range(0.15, 0.35), Range(28, 42), Range(0.25, 0.45)),
    "HCM": Group(
        Range(40, 48), Range(12, 16), Range(0.62, 0.75), Range(22, 32), uneven_wall=Range(0.2, 0.45)
    ),
    "MINF": Group(
        Range(50, 60), Range(7.5, 10), Range(0.3, 0.45), Range(26, 36), uneven_wall=Range(-0.5, -0.3)
    ),
    "RV": Group(
        Range(42, 50),
        Range(7.5, 10),
        Range(0.5, 0.64),
        Range(42, 54),
        Range(0.25, 0.4),
        septum_flattening=Range(0.12, 0.25),
    ),
}


@dataclass(frozen=True)
class Phase:
    """Both ventricles at one moment of the beat, in mm; `base` is the z of the mitral valve."""

    base: float
    length: float
    radius: float
    wall: float
    rv_base: float
    rv_length: float
    rv_width: float
    trabeculation: float


@dataclass(frozen=True)
class Heart:
    """One patient's heart; arrays hold one value per entry of `DIRECTIONS`."""

    diastole: Phase
    systole: Phase
    septum: float  # direction from the LV axis to the middle of the septum
    rv_half_angle: float
    rv_skew: float
    cavity_shape: FloatArray  # relative radius
    wall_shape: FloatArray  # relative thickness
    fat: FloatArray  # mm of epicardial fat
    trabeculae: FloatArray  # (terms, 4): angular frequency, phase, twist along z, amplitude
    papillaries: FloatArray  # (2, 3): direction, relative distance from the axis, radius in mm
    tilt: tuple[float, float]  # mm sideways per mm along z


class Blob(NamedTuple):
    """An ellipsoid of tissue: centre and half-axes in mm, in-plane angle, lean along z."""

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]
    angle: float
    lean: tuple[float, float]
    tissue: Tissue
    shell: float = 0.0  # mm of wall of muscle around it


@dataclass(frozen=True)
class Thorax:
    """Everything around the heart."""

    wall_centre: tuple[float, float]
    wall_half_axes: tuple[float, float]
    wall_approach: float  # mm that the chest wall comes closer per mm towards the apex
    muscle: float
    fat: float
    rib_spacing: float
    diaphragm: tuple[float, float, float, float]  # top x and y, curvature, rise per mm of z
    blobs: tuple[Blob, ...]
    lung_vessels: tuple[Blob, ...]
    vessels: tuple[Blob, ...]


@dataclass(frozen=True)
class Anatomy:
    """A patient: heart, thorax and the smooth deformation that makes neither of them ideal."""

    group: str
    heart: Heart
    thorax: Thorax
    waves: FloatArray  # (waves, 6): wave vector x y z in rad/mm, phase, displacement x y in mm


def draw_anatomy(random: np.random.Generator, group: str) -> Anatomy:
    """Draw a patient of one of `GROUPS`."""
    heart = _draw_heart(random, GROUPS[group])
    thorax = _draw_thorax(random, heart)
    length = random.uniform(45, 110, 7)  # wavelengths in mm
    towards = random.uniform(-np.pi, np.pi, 7)
    size = length * random.uniform(0.005, 0.022, 7)
    angle = random.uniform(-np.pi, np.pi, 7)
    waves = np.stack(
        [
            2 * np.pi / length * np.cos(towards),
            2 * np.pi / length * np.sin(towards),
            random.normal(0, 2 * np.pi / 200, 7),
            random.uniform(-np.pi, np.pi, 7),
            size * np.cos(angle),
            size * np.sin(angle),
        ],
        axis=1,
    )
    return Anatomy(group, heart, thorax, waves.astype(np.float32))


def _around(direction: float, half_width: float) -> FloatArray:
    """A smooth bump of height 1 around a direction, in radians."""
    away = np.angle(np.exp(1j * (DIRECTIONS - direction)))
    return np.asarray(np.exp(-0.5 * (away / half_width) ** 2), dtype=np.float32)


def _harmonics(random: np.random.Generator, low: int, high: int, size: float) -> FloatArray:
    """A smooth random function of direction with harmonics low..high that fall off as 1/k."""
    total = np.zeros(ANGLES)
    for k in range(low, high + 1):
        total += random.normal(0, size * low / k) * np.cos(
            k * DIRECTIONS + random.uniform(-np.pi, np.pi)
        )
    return total.astype(np.float32)


def _draw_heart(random: np.random.Generator, group: Group) -> Heart:
    septum = float(np.pi + random.normal(0, 0.25))
    uneven = group.uneven_wall.draw(random)
    # Scars lie anywhere; hypertrophy prefers the septum.
    spot = septum + random.normal(0, 0.4) if uneven > 0 else random.uniform(-np.pi, np.pi)
    wall_shape = 1 + 2 * uneven * (_around(spot, 0.7) - 0.25) + _harmonics(random, 2, 5, 0.05)
    flattening = group.septum_flattening.draw(random)
    cavity_shape = 1 - flattening * _around(septum, 0.6) + _harmonics(random, 2, 5, 0.035)
    diastole = _draw_diastole(random, group)
    systole = contract(
        diastole,
        group.ejection.draw(random),
        group.rv_ejection.draw(random),
        float(random.uniform(0.1, 0.16)) * (0.5 if group.ejection.high < 0.5 else 1),
    )
    fat = random.uniform(0, 5) * (
        0.6 + _around(septum, 0.8) + _around(np.pi / 2, 0.5) + _harmonics(random, 1, 6, 0.5)
    )
    terms = np.arange(7, 19)
    trabeculae = np.stack(
        [
            terms,
            random.uniform(-np.pi, np.pi, terms.size),
            random.normal(0, 0.08, terms.size),
            random.normal(0, 1, terms.size),
        ],
        axis=1,
    )
    opposite = septum + np.pi
    papillaries = [
        (opposite + random.normal(-0.95, 0.2), random.uniform(0.6, 0.75), random.uniform(3, 5)),
        (opposite + random.normal(0.95, 0.2), random.uniform(0.6, 0.75), random.uniform(3, 5)),
    ]
    return Heart(
        diastole=diastole,
        systole=systole,
        septum=septum,
        rv_half_angle=float(random.uniform(1.1, 1.35)),
        rv_skew=float(random.uniform(-0.3, 0.3)),
        cavity_shape=cavity_shape,
        wall_shape=np.maximum(wall_shape, 0.4),
        fat=np.maximum(fat, 0).astype(np.float32),
        trabeculae=trabeculae.astype(np.float32),
        papillaries=np.array(papillaries, dtype=np.float32),
        tilt=(float(random.normal(0, 0.08)), float(random.normal(0, 0.08))),
    )


def _draw_diastole(random: np.random.Generator, group: Group) -> Phase:
    radius = group.cavity_diameter.draw(random) / 2
    length = float(np.clip(radius * random.uniform(2.9, 3.4), 68, 92))
    return Phase(
        base=0.0,
        length=length,
        radius=radius,
        wall=group.wall.draw(random),
        rv_base=float(random.uniform(-8, 4)),
        rv_length=length * float(random.uniform(0.82, 0.98)),
        rv_width=group.rv_width.draw(random),
        trabeculation=float(random.uniform(0.8, 2.2)),
    )


def contract(diastole: Phase, ejection: float, rv_ejection: float, shortening: float) -> Phase:
    """End-systole: the cavities lose `ejection` of their volume, the wall keeps all of its own.

    Muscle is incompressible, so the wall thickens as the cavity shrinks. The base moves towards
    the apex by `shortening` (a fraction of the length); the apex stays.
    """
    left = 1 - shortening
    radius = diastole.radius * np.sqrt((1 - ejection) / left)
    section = ((diastole.radius + diastole.wall) ** 2 - diastole.radius**2) / left
    descent = shortening * diastole.length
    return replace(
        diastole,
        base=diastole.base + descent,
        length=left * diastole.length,
        radius=float(radius),
        wall=float(np.sqrt(radius**2 + section) - radius),
        rv_base=diastole.rv_base + 1.4 * descent,
        rv_length=diastole.rv_length - 1.4 * descent,
        rv_width=diastole.rv_width * (1 - rv_ejection) / (1 - 1.4 * shortening) ** 0.5,
        trabeculation=diastole.trabeculation * 1.1,
    )


def _draw_thorax(random: np.random.Generator, heart: Heart) -> Thorax:
    phase = heart.diastole
    left = phase.radius + phase.wall + 0.95 * phase.rv_width + random.uniform(2, 12)
    half_axes = (float(random.uniform(78, 95)), float(random.uniform(95, 120)))
    below = phase.radius + phase.wall + random.uniform(0, 8)
    diaphragm = (
        float(random.uniform(-30, 15)),
        float(below),
        float(random.uniform(0.0005, 0.004)),
        float(random.uniform(0.05, 0.3)),
    )
    return Thorax(
        wall_centre=(float(half_axes[0] - left), float(random.uniform(-40, 0))),
        wall_half_axes=half_axes,
        wall_approach=float(random.uniform(0.1, 0.45)),
        muscle=float(random.uniform(9, 16)),
        fat=float(random.uniform(5, 28)),
        rib_spacing=float(random.uniform(0.22, 0.3)),
        diaphragm=diaphragm,
        blobs=_draw_abdomen(random, float(below)),
        lung_vessels=_draw_lung_vessels(random),
        vessels=_draw_vessels(random, phase, float(below)),
    )


def _draw_abdomen(random: np.random.Generator, top: float) -> tuple[Blob, ...]:
    """Liver, stomach, spleen and bowel below the diaphragm at y = `top`; later ones lie in front."""

    def near(x: float, y: float, z: float, spread: float) -> tuple[float, float, float]:
        dx, dy, dz = random.normal(0, spread, 3)
        return (x + dx, y + dy, z + 2 * dz)

    def blob(
        centre: tuple[float, float, float], size: Range, tissue: Tissue, shell: float = 0.0
    ) -> Blob:
        a, b, c = size.draw(random), size.draw(random), 1.6 * size.draw(random)
        lean = (float(random.normal(0, 0.2)), float(random.normal(0, 0.2)))
        return Blob(centre, (a, b, c), float(random.uniform(-np.pi, np.pi)), lean, tissue, shell)

    content = [Tissue.VESSEL, Tissue.STOMACH, Tissue.STOMACH, Tissue.AIR][random.integers(4)]
    organs = [
        blob(near(-38, top + 42, 20, 6), Range(38, 60), Tissue.LIVER),
        blob(near(62, top + 20, 30, 8), Range(16, 28), Tissue.SPLEEN),
        blob(near(35, top + 24, 50, 9), Range(16, 28), content, float(random.uniform(2.5, 5))),
    ]
    for _ in range(5):
        tissue = [Tissue.STOMACH, Tissue.VESSEL, Tissue.SPLEEN, Tissue.AIR][random.integers(4)]
        centre = near(20, top + 40, 60, 18)
        organs.append(blob(centre, Range(5, 13), tissue, float(random.uniform(1.5, 3.5))))
    for _ in range(6):
        centre = near(-35, top + 30, 30, 18)
        organs.append(blob(centre, Range(1.5, 4), Tissue.VESSEL))
    return tuple(organs)


def _draw_lung_vessels(random: np.random.Generator) -> tuple[Blob, ...]:
    vessels = []
    for _ in range(26):
        size = random.uniform(0.9, 2.4)
        x, y, z = random.uniform((-40, -90, 0), (95, 40, 90))
        lean = (float(random.normal(0, 0.5)), float(random.normal(0, 0.5)))
        half_axes = (size * random.uniform(1, 3), size, random.uniform(8, 20))
        angle = float(random.uniform(-np.pi, np.pi))
        vessels.append(Blob((x, y, z), half_axes, angle, lean, Tissue.VESSEL))
    return tuple(vessels)


def _draw_vessels(random: np.random.Generator, phase: Phase, top: float) -> tuple[Blob, ...]:
    """The descending aorta, cut obliquely, and the pulmonary veins behind the left atrium."""
    aorta = Blob(
        (phase.radius + phase.wall + random.uniform(12, 24), random.uniform(5, 35), 0.0),
        (random.uniform(9, 12), random.uniform(11, 22), random.uniform(45, 90)),
        float(random.normal(0, 0.3)),
        (float(random.uniform(-0.3, 0.1)), float(random.uniform(0.1, 0.5))),
        Tissue.VESSEL,
        1.5,
    )
    veins = [
        Blob(
            (phase.radius + phase.wall + random.uniform(2, 10), random.uniform(-25, 25), -5.0),
            (random.uniform(5, 12), random.uniform(4, 7), random.uniform(8, 22)),
            float(random.normal(0, 0.6)),
            (0.0, 0.0),
            Tissue.ATRIUM,
            1.2,
        )
        for _ in range(2)
    ]
    cava = Blob(
        (-random.uniform(25, 45), top + random.uniform(14, 30), 0.0),
        (random.uniform(8, 12), random.uniform(7, 11), random.uniform(25, 45)),
        0.0,
        (0.0, 0.2),
        Tissue.VESSEL,
    )
    return (cava, aorta, *veins)
