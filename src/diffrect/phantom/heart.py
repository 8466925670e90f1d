"""Draw the ventricles: their size, shape and motion, from ranges found in patients.

Coordinates are millimetres in a frame fixed to the patient: the origin is the axis of the left
ventricle (LV), x points to the patient's left and y downwards in the picture, and z runs from the
mitral valve at end-diastole (0) to the apex. Contours are radii around the LV axis, one for each of
`DIRECTIONS`.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from diffrect.phantom.basics import FloatArray, Range, away_from, bump, harmonics

APEX_WALL_MM = 6.0
VALVE_TO_APEX_MM = Range(74, 98)
APEX_FAT_MM = 6.0
USUAL_FLATTENING = Range(0.0, 0.08)
USUAL_UNEVENNESS = Range(0.0, 0.1)


@dataclass(frozen=True)
class Group:
    """The ranges of a diagnosis: mm at end-diastole, fractions of the volume ejected."""

    cavity_diameter: Range
    wall: Range
    ejection: Range
    rv_width: Range  # from the septum to the free wall, at the base
    rv_ejection: Range
    septum_flattening: Range = USUAL_FLATTENING
    uneven_wall: Range = USUAL_UNEVENNESS  # above 0 a thicker septum, below 0 a thinned scar


# The five groups of ACDC: normal, dilated, hypertrophic, after infarction, abnormal RV.
GROUPS = {
    "NOR": Group(
        cavity_diameter=Range(46, 56),
        wall=Range(7.5, 10),
        ejection=Range(0.55, 0.68),
        rv_width=Range(26, 38),
        rv_ejection=Range(0.45, 0.62),
    ),
    "DCM": Group(
        cavity_diameter=Range(60, 74),
        wall=Range(7, 9),
        ejection=Range(0.15, 0.35),
        rv_width=Range(26, 42),
        rv_ejection=Range(0.25, 0.45),
    ),
    "HCM": Group(
        cavity_diameter=Range(42, 50),
        wall=Range(12, 16),
        ejection=Range(0.62, 0.75),
        rv_width=Range(22, 34),
        rv_ejection=Range(0.5, 0.65),
        uneven_wall=Range(0.2, 0.45),
    ),
    "MINF": Group(
        cavity_diameter=Range(52, 62),
        wall=Range(7.5, 10),
        ejection=Range(0.3, 0.45),
        rv_width=Range(26, 38),
        rv_ejection=Range(0.4, 0.6),
        uneven_wall=Range(-0.5, -0.3),
    ),
    "RV": Group(
        cavity_diameter=Range(42, 50),
        wall=Range(7.5, 10),
        ejection=Range(0.5, 0.64),
        rv_width=Range(40, 52),
        rv_ejection=Range(0.25, 0.4),
        septum_flattening=Range(0.12, 0.25),
    ),
}


@dataclass(frozen=True)
class Phase:
    """Both ventricles at one moment of the beat, in mm; `base` is the z of the valve."""

    base: float
    length: float
    radius: float
    wall: float
    rv_base: float
    rv_length: float
    rv_width: float
    trabeculation: float  # depth of the trabeculae of the LV


@dataclass(frozen=True)
class Heart:
    """One patient's heart; arrays hold one value per direction unless noted otherwise."""

    diastole: Phase
    systole: Phase
    septum: float  # direction from the LV axis to the middle of the septum
    rv_half_angle: float  # from there to where the RV's free wall meets the LV
    rv_shape: FloatArray  # relative width
    cavity_shape: FloatArray  # relative radius
    wall_shape: FloatArray  # relative thickness
    fat: FloatArray  # mm around the heart
    outlet: float  # direction of the aortic valve, in front of the septum
    root_radius: float  # of the aorta at its valve, mm
    trabeculae: FloatArray  # (terms, 4): angular frequency, phase, twist in rad/mm, amplitude
    papillaries: FloatArray  # (heads, 3): direction, relative distance from the axis, radius in mm
    tilt: tuple[float, float]  # mm sideways per mm along z


class Contours(NamedTuple):
    """Radii around the LV axis in one plane, in mm."""

    cavity: FloatArray
    epicardium: FloatArray
    rv: FloatArray  # outer border of the RV cavity; `epicardium` in directions without one
    apical_fat: FloatArray  # outer border of the fat that caps the apex
    depth: float  # of the plane below the mitral valve, a fraction of the cavity's length
    rv_depth: float  # the same for the right ventricle


def draw_heart(random: np.random.Generator, group: Group) -> Heart:
    """Draw a heart of a diagnosis."""
    septum = float(np.pi + random.normal(0, 0.25))
    uneven = group.uneven_wall.draw(random)
    # Scars lie anywhere; hypertrophy prefers the septum.
    spot = septum + random.normal(0, 0.4) if uneven > 0 else random.uniform(-np.pi, np.pi)
    wall_shape = 1 + 2 * uneven * (bump(spot, 0.7) - 0.25) + harmonics(random, 2, 5, 0.05)
    flattening = group.septum_flattening.draw(random)
    cavity_shape = 1 - flattening * bump(septum, 0.6) + harmonics(random, 2, 5, 0.035)
    diastole = _draw_diastole(random, group)
    shortening = random.uniform(0.1, 0.16) * (0.5 if group.ejection.high < 0.5 else 1)
    systole = contract(
        diastole, group.ejection.draw(random), group.rv_ejection.draw(random), float(shortening)
    )
    fat = random.uniform(0, 4.5) * (
        0.2 + bump(septum + 1.3, 0.5) + bump(septum - 1.3, 0.5) + harmonics(random, 1, 7, 0.7)
    )
    return Heart(
        diastole=diastole,
        systole=systole,
        septum=septum,
        rv_half_angle=float(random.uniform(1.25, 1.55)),
        rv_shape=_draw_rv_shape(random, septum),
        cavity_shape=cavity_shape,
        wall_shape=np.maximum(wall_shape, 0.4),
        fat=np.maximum(fat, 0).astype(np.float32),
        outlet=septum + float(random.normal(1.2, 0.15)),
        root_radius=float(random.uniform(11, 16)),
        trabeculae=_draw_trabeculae(random),
        papillaries=_draw_papillaries(random, septum + np.pi),
        tilt=(float(random.normal(0, 0.08)), float(random.normal(0, 0.08))),
    )


def _draw_diastole(random: np.random.Generator, group: Group) -> Phase:
    radius = group.cavity_diameter.draw(random) / 2
    length = float(np.clip(radius * random.uniform(3.1, 3.6), *VALVE_TO_APEX_MM))
    return Phase(
        base=0.0,
        length=length,
        radius=radius,
        wall=group.wall.draw(random),
        rv_base=float(random.uniform(-8, 2)),
        rv_length=length * float(random.uniform(0.85, 1.0)),
        rv_width=group.rv_width.draw(random),
        trabeculation=float(random.uniform(1.0, 3.2)),
    )


def _draw_rv_shape(random: np.random.Generator, septum: float) -> FloatArray:
    """Draw the RV's relative width: a fairly straight free wall between two corners.

    One corner lies in front of the septum; the one below is sharper.
    """
    front = random.uniform(0.0, 0.35) * bump(septum + random.normal(0.85, 0.1), 0.3)
    below = random.uniform(0.1, 0.5) * bump(septum - random.normal(0.9, 0.1), 0.25)
    return np.asarray(0.95 + front + below + harmonics(random, 2, 6, 0.07), dtype=np.float32)


def _draw_trabeculae(random: np.random.Generator) -> FloatArray:
    frequency = np.arange(6, 24)
    start = random.uniform(-np.pi, np.pi, frequency.size)
    twist = random.normal(0, 0.08, frequency.size)
    amplitude = random.normal(0, 1 / np.sqrt(frequency.size / 2), frequency.size)
    return np.stack([frequency, start, twist, amplitude], axis=1).astype(np.float32)


def _draw_papillaries(random: np.random.Generator, free_wall: float) -> FloatArray:
    heads = []
    for side in (-0.95, 0.95):
        towards = free_wall + random.normal(side, 0.2)
        for _ in range(int(random.integers(1, 4))):
            size = random.uniform(1.8, 4.5)
            heads.append((towards + random.normal(0, 0.25), random.uniform(0.55, 0.8), size))
    return np.array(heads, dtype=np.float32)


def contract(diastole: Phase, ejection: float, rv_ejection: float, shortening: float) -> Phase:
    """Return end-systole: the cavities lose volume, the wall keeps all of its own.

    Muscle is incompressible, so the wall thickens as the cavity shrinks. The valves move towards
    the apex, that of the RV further than that of the LV; the apex stays.

    Args:
        diastole: the ventricles at end-diastole.
        ejection: fraction of its volume that the LV ejects.
        rv_ejection: fraction of its volume that the RV ejects.
        shortening: way of the mitral valve as a fraction of the LV's length.
    """
    left = 1 - shortening
    radius = float(diastole.radius * np.sqrt((1 - ejection) / left))
    section = ((diastole.radius + diastole.wall) ** 2 - diastole.radius**2) / left
    descent = shortening * diastole.length
    rv_descent = 1.2 * descent
    # The crescent's section falls with its width and with the LV that it leans on.
    rv_left = (1 - rv_ejection) / (1 - rv_descent / diastole.rv_length)
    return replace(
        diastole,
        base=diastole.base + descent,
        length=left * diastole.length,
        radius=radius,
        wall=float(np.sqrt(radius**2 + section) - radius),
        rv_base=diastole.rv_base + rv_descent,
        rv_length=diastole.rv_length - rv_descent,
        rv_width=diastole.rv_width * rv_left**0.85,
    )


def contours_at(heart: Heart, phase: Phase, z: float) -> Contours:
    """Return the borders of both ventricles in the plane at `z` mm."""
    depth = (z - phase.base) / phase.length
    cavity_radius = phase.radius * _taper(depth, 2.3)
    outer_depth = (z - phase.base) / (phase.length + APEX_WALL_MM)
    outer_radius = (phase.radius + phase.wall) * _taper(outer_depth, 2.5)
    # Below the aortic valve the wall gives way to a thin membrane.
    opening = float(np.clip(1 - depth / 0.12, 0, 1)) * bump(heart.outlet, 0.35)
    cavity = cavity_radius * heart.cavity_shape
    epicardium = cavity + (outer_radius - cavity_radius) * heart.wall_shape * (1 - 0.9 * opening)
    rv_depth = (z - phase.rv_base) / phase.rv_length
    rv = _rv_border(heart, phase, rv_depth, epicardium)
    cap_depth = (z - phase.base) / (phase.length + APEX_WALL_MM + APEX_FAT_MM)
    cap = (phase.radius + phase.wall) * _taper(cap_depth, 2.5) * heart.cavity_shape
    return Contours(cavity, epicardium, rv, cap, depth, rv_depth)


def _taper(depth: float, power: float) -> float:
    """Return the radius relative to the widest, at a fraction of the way from base to apex."""
    if depth >= 1:
        return 0.0
    below = max(depth, 0.0)
    return float(np.sqrt(1 - below**power) * (0.9 + 0.1 * min(below / 0.25, 1.0)))


def _rv_border(heart: Heart, phase: Phase, depth: float, epicardium: FloatArray) -> FloatArray:
    """Return the RV's outer border: a crescent that bulges over the septum.

    It is part of the circle that leaves the LV at both insertions.

    Args:
        heart: the patient's heart.
        phase: the moment of the beat.
        depth: of the plane below the tricuspid valve, a fraction of the RV's length.
        epicardium: the LV's outer border, mm per direction.
    """
    below = float(np.clip(depth, 0, 1))
    width = phase.rv_width * (1 - below**2.2)
    half_angle = heart.rv_half_angle * (1 - 0.35 * below)
    inner = float(epicardium.mean())
    outer = inner + width
    # The circle through both insertions and the point `outer` over the septum.
    centre = (outer**2 - inner**2) / (2 * (outer - inner * np.cos(half_angle)) + 1e-6)
    away = away_from(heart.septum)
    across = np.maximum((outer - centre) ** 2 - (centre * np.sin(away)) ** 2, 0)
    circle = centre * np.cos(away) + np.sqrt(across)
    bulge = np.maximum(circle - inner, 0) * np.maximum(heart.rv_shape, 0.4)
    border = epicardium + bulge * (np.abs(away) < half_angle)
    return np.asarray(border, dtype=np.float32)


def trabecular_depth(heart: Heart, size: float, z: float) -> FloatArray:
    """Return how far the trabeculae reach into a cavity, in mm; `size` is about the deepest."""
    ridge = np.zeros(away_from(0).shape)
    for frequency, start, twist, amplitude in heart.trabeculae:
        ridge += amplitude * np.cos(frequency * away_from(0) + start + twist * z)
    return (size * np.maximum(1.4 * ridge - 0.8, 0)).astype(np.float32)
