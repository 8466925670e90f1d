"""Painting the synthetic anatomy: one plane of the thorax as a map of tissues.

Painted from the back to the front (lung, abdomen, chest wall, great vessels, heart), so that every
point holds exactly one tissue and the labels, which follow from the tissues, are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from diffrect.phantom_anatomy import (
    ANGLES,
    APEX_WALL_MM,
    DIRECTIONS,
    RV_WALL_MM,
    Anatomy,
    Blob,
    FloatArray,
    Heart,
    Phase,
    Thorax,
    Tissue,
    TissueArray,
    _around,
)


class Contours(NamedTuple):
    """Radii around the LV axis in one plane, in mm, one per entry of `DIRECTIONS`."""

    cavity: FloatArray
    epicardium: FloatArray
    rv: FloatArray  # outer border of the RV cavity; equals `epicardium` where there is none
    depth: float  # of the plane below the mitral valve, a fraction of the cavity's length
    rv_depth: float  # the same for the right ventricle


def _taper(depth: float, power: float) -> float:
    """Relative radius at a fraction of the length from base (0) to apex (1): a blunt ellipsoid."""
    if depth >= 1:
        return 0.0
    below = max(depth, 0.0)
    return float(np.sqrt(1 - below**power) * (0.9 + 0.1 * min(below / 0.25, 1.0)))


def contours_at(heart: Heart, phase: Phase, z: float) -> Contours:
    """The borders of both ventricles in the plane at `z` mm."""
    depth = (z - phase.base) / phase.length
    cavity_radius = phase.radius * _taper(depth, 2.3)
    outer_length = phase.length + APEX_WALL_MM
    outer_radius = (phase.radius + phase.wall) * _taper((z - phase.base) / outer_length, 2.5)
    cavity = cavity_radius * heart.cavity_shape
    # Around the aortic outlet, just below the valves, the wall gives way to a thin membrane.
    outlet = float(np.clip(1 - depth / 0.12, 0, 1)) * _around(heart.septum + 1.2, 0.35)
    thickness = (outer_radius - cavity_radius) * heart.wall_shape * (1 - 0.9 * outlet)
    epicardium = cavity + thickness
    rv_depth = (z - phase.rv_base) / phase.rv_length
    return Contours(cavity, epicardium, _rv_border(heart, phase, rv_depth, epicardium), depth, rv_depth)


def _rv_border(heart: Heart, phase: Phase, depth: float, epicardium: FloatArray) -> FloatArray:
    """The crescent: its width over the septum falls to zero at the two insertions."""
    below = float(np.clip(depth, 0, 1))
    width = phase.rv_width * (1 - below**1.7) ** 0.8
    half_angle = heart.rv_half_angle * (1 - 0.45 * below)
    away = np.angle(np.exp(1j * (DIRECTIONS - heart.septum))) / half_angle
    away = away + heart.rv_skew * (1 - away**2) * (np.abs(away) < 1)
    profile = np.maximum(1 - np.abs(away) ** 2.4, 0) ** 0.75
    return (epicardium + width * profile).astype(np.float32)


def warp(anatomy: Anatomy, x: FloatArray, y: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    """Move points in mm by the patient's smooth deformation."""
    moved_x, moved_y = x.copy(), y.copy()
    for kx, ky, kz, start, dx, dy in anatomy.waves:
        wave = np.sin(kx * x + ky * y + (kz * np.float32(z) + start))
        moved_x += dx * wave
        moved_y += dy * wave
    return moved_x, moved_y


def paint_plane(
    anatomy: Anatomy, phase: Phase, x: FloatArray, y: FloatArray, z: float
) -> TissueArray:
    """The `Tissue` at every point of the plane at `z`; `x` and `y` in mm, same shape as the result."""
    tissue = np.full(x.shape, Tissue.LUNG, dtype=np.uint8)
    x, y = warp(anatomy, x, y, z)
    thorax = anatomy.thorax
    for blob in thorax.lung_vessels:
        _paint_blob(tissue, blob, x, y, z)
    _paint_abdomen(tissue, thorax, x, y, z)
    for blob in thorax.vessels:
        _paint_blob(tissue, blob, x, y, z)
    _paint_chest_wall(tissue, thorax, x, y, z)
    tilt_x, tilt_y = anatomy.heart.tilt
    _paint_heart(tissue, anatomy.heart, phase, x - tilt_x * z, y - tilt_y * z, z)
    return tissue


def _blob_size(blob: Blob, x: FloatArray, y: FloatArray, z: float) -> FloatArray | None:
    """Relative radius of points in an ellipsoid, 1 on its surface; None if the plane misses it."""
    along = z - blob.centre[2]
    section = 1 - (along / blob.half_axes[2]) ** 2
    if section <= 0:
        return None
    dx = x - (blob.centre[0] + blob.lean[0] * along)
    dy = y - (blob.centre[1] + blob.lean[1] * along)
    cos, sin = np.cos(blob.angle), np.sin(blob.angle)
    a, b = (half * np.sqrt(section) for half in blob.half_axes[:2])
    squared = ((cos * dx + sin * dy) / a) ** 2 + ((cos * dy - sin * dx) / b) ** 2
    return np.sqrt(squared).astype(np.float32)


def _paint_blob(
    tissue: TissueArray,
    blob: Blob,
    x: FloatArray,
    y: FloatArray,
    z: float,
    where: np.ndarray | None = None,
) -> None:
    size = _blob_size(blob, x, y, z)
    if size is None:
        return
    inside = size < 1 if where is None else (size < 1) & where
    if blob.shell:
        tissue[inside] = Tissue.MUSCLE
        inside &= size < 1 - blob.shell / min(blob.half_axes[:2])
    tissue[inside] = blob.tissue


def _paint_abdomen(
    tissue: TissueArray, thorax: Thorax, x: FloatArray, y: FloatArray, z: float
) -> None:
    top_x, top_y, curvature, rise = thorax.diaphragm
    dome = top_y - rise * z + curvature * (x - top_x) ** 2
    tissue[y > dome] = Tissue.MUSCLE
    below = y > dome + 2.5  # the diaphragm itself
    tissue[below] = Tissue.FAT
    for blob in thorax.blobs:
        _paint_blob(tissue, blob, x, y, z, below)


def _paint_chest_wall(
    tissue: TissueArray, thorax: Thorax, x: FloatArray, y: FloatArray, z: float
) -> None:
    a, b = thorax.wall_half_axes
    dx = (x - thorax.wall_centre[0] - thorax.wall_approach * z) / a
    dy = (y - thorax.wall_centre[1]) / b
    outside = (np.sqrt(dx * dx + dy * dy) - 1) * a  # mm from the pleura
    tissue[outside > -1.5] = Tissue.FAT
    wall = outside > 0
    tissue[wall] = Tissue.MUSCLE
    along = np.arctan2(dy, dx) / thorax.rib_spacing + 0.01 * z
    across = (outside - 0.45 * thorax.muscle) / (0.36 * thorax.muscle)
    rib = across**2 + ((along - np.round(along)) / 0.27) ** 2
    tissue[wall & (rib < 1)] = Tissue.BONE
    tissue[outside > thorax.muscle] = Tissue.FAT
    tissue[outside > thorax.muscle + thorax.fat] = Tissue.AIR


def _paint_heart(
    tissue: TissueArray, heart: Heart, phase: Phase, x: FloatArray, y: FloatArray, z: float
) -> None:
    lines = contours_at(heart, phase, z)
    if lines.epicardium.max() <= 0:
        return
    radius = np.hypot(x, y)
    direction = np.arctan2(y, x)
    index = ((direction + np.pi) * (ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES
    has_rv = lines.rv > lines.epicardium + 0.5
    outer = np.where(has_rv, np.maximum(lines.rv + RV_WALL_MM, lines.epicardium), lines.epicardium)
    smooth = ndimage.gaussian_filter1d(outer, ANGLES / 24, mode="wrap")
    fat = np.maximum(outer, smooth) + heart.fat
    tissue[radius < (fat + 1.2)[index]] = Tissue.MUSCLE  # the pericardium
    tissue[radius < fat[index]] = Tissue.FAT
    if lines.depth < 0.12:
        _paint_aortic_root(tissue, heart, lines, x, y)
    _paint_right(tissue, heart, phase, lines, outer, radius, index, z)
    _paint_left(tissue, heart, phase, lines, radius, index, z)
    if 0.15 < lines.depth < 0.8:
        _paint_papillaries(tissue, heart, phase, lines, x, y)


def _paint_aortic_root(
    tissue: TissueArray, heart: Heart, lines: Contours, x: FloatArray, y: FloatArray
) -> None:
    direction = heart.septum + 1.2
    distance = float(lines.cavity.mean()) + 8
    away = np.hypot(x - distance * np.cos(direction), y - distance * np.sin(direction))
    tissue[away < 15] = Tissue.MUSCLE
    tissue[away < 13.5] = Tissue.ATRIUM


def _paint_right(
    tissue: TissueArray,
    heart: Heart,
    phase: Phase,
    lines: Contours,
    outer: FloatArray,
    radius: FloatArray,
    index: np.ndarray,
    z: float,
) -> None:
    if lines.rv_depth >= 1:
        return
    crescent = lines.rv > lines.epicardium + 0.5
    tissue[(radius < outer[index]) & crescent[index]] = Tissue.RV_WALL
    cavity = (radius < lines.rv[index]) & (radius > lines.epicardium[index])
    if lines.rv_depth < 0:  # above the tricuspid valve
        tissue[cavity] = Tissue.ATRIUM
        return
    tissue[cavity] = Tissue.RV_BLOOD
    ridge = _trabecular_depth(heart, 2.0 * phase.trabeculation * (0.4 + lines.rv_depth), z + 40)
    tissue[cavity & (radius > (lines.rv - ridge)[index])] = Tissue.RV_TRABECULA


def _trabecular_depth(heart: Heart, size: float, z: float) -> FloatArray:
    """How far trabeculae reach into a cavity, in mm, per direction."""
    waves = heart.trabeculae
    ridge = np.zeros(ANGLES)
    for frequency, start, twist, amplitude in waves:
        ridge += amplitude * np.cos(frequency * DIRECTIONS + start + twist * z)
    return (size * np.maximum(ridge / np.sqrt(len(waves) / 2) - 0.4, 0)).astype(np.float32)


def _paint_left(
    tissue: TissueArray,
    heart: Heart,
    phase: Phase,
    lines: Contours,
    radius: FloatArray,
    index: np.ndarray,
    z: float,
) -> None:
    wall = radius < lines.epicardium[index]
    if lines.depth < 0:  # above the mitral valve: the left atrium, thin-walled and not labelled
        tissue[wall] = Tissue.MUSCLE
        tissue[radius < (lines.epicardium - 2.0)[index]] = Tissue.ATRIUM
        return
    tissue[wall] = Tissue.MYOCARDIUM
    cavity = radius < lines.cavity[index]
    tissue[cavity] = Tissue.LV_BLOOD
    ridge = _trabecular_depth(heart, phase.trabeculation * (0.5 + lines.depth), z)
    tissue[cavity & (radius > (lines.cavity - ridge)[index])] = Tissue.PAPILLARY


def _paint_papillaries(
    tissue: TissueArray,
    heart: Heart,
    phase: Phase,
    lines: Contours,
    x: FloatArray,
    y: FloatArray,
) -> None:
    scale = float(lines.cavity.mean()) / max(phase.radius, 1e-6)
    for direction, distance, size in heart.papillaries:
        reach = distance * float(lines.cavity.mean())
        dx = x - reach * np.cos(direction)
        dy = y - reach * np.sin(direction)
        radial = dx * np.cos(direction) + dy * np.sin(direction)
        tangential = dy * np.cos(direction) - dx * np.sin(direction)
        inside = (radial / 1.35) ** 2 + tangential**2 < (size * scale) ** 2
        tissue[inside & (tissue == Tissue.LV_BLOOD)] = Tissue.PAPILLARY
