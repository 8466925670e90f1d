"""Paint the heart: both ventricles, the fat around them, the muscles inside them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffrect.phantom.basics import ANGLES, Canvas, FloatArray, IndexArray, Tissue
from diffrect.phantom.heart import Contours, Heart, Phase, contours_at, trabecular_depth

RV_WALL_MM = 3.0  # the free wall of the right ventricle; not labelled, as in ACDC


@dataclass(frozen=True)
class _Section:
    """A plane through a heart at one moment of the beat.

    Attributes:
        canvas: the picture, in the frame of the heart.
        heart: the patient's heart.
        phase: the moment of the beat.
        lines: borders of the ventricles in this plane.
        radius: of each point around the LV axis, in mm.
        direction: of each point, an index of `DIRECTIONS`.
    """

    canvas: Canvas
    heart: Heart
    phase: Phase
    lines: Contours
    radius: FloatArray
    direction: IndexArray

    def inside(self, contour: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return the points within a contour that is given per direction."""
        return np.asarray(self.radius < np.asarray(contour, dtype=np.float32)[self.direction])


def paint_heart(canvas: Canvas, heart: Heart, phase: Phase, corner: FloatArray) -> None:
    """Paint the heart and the fat around it.

    Args:
        canvas: the picture, in the frame of the heart.
        heart: the patient's heart.
        phase: the moment of the beat.
        corner: mm to the chest wall or diaphragm, less the mm that fat fills of that gap.
    """
    tissue, plane = canvas
    lines = contours_at(heart, phase, plane.z)
    if lines.apical_fat.max() <= 0:
        return
    angle = np.arctan2(plane.y, plane.x)
    direction = ((angle + np.pi) * (ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES
    radius = np.hypot(plane.x, plane.y)
    section = _Section(canvas, heart, phase, lines, radius, direction)
    has_rv = (lines.rv > lines.epicardium) & (lines.rv_depth < 1)
    outer = np.where(has_rv, lines.rv + RV_WALL_MM, lines.epicardium)
    # Fat evens out the grooves between the ventricles.
    fat = np.maximum(outer, ndimage.gaussian_filter1d(outer, ANGLES / 24, mode="wrap"))
    fat = np.maximum(fat + heart.fat, lines.apical_fat)
    gap = radius - np.asarray(fat, dtype=np.float32)[direction]
    ragged = 4 * np.sin(0.17 * plane.x + 0.11 * plane.y + 0.05 * plane.z)
    tissue[(gap + corner < ragged) & (tissue == Tissue.LUNG)] = Tissue.FAT
    tissue[section.inside(fat + 1.2)] = Tissue.MUSCLE  # the pericardium
    tissue[section.inside(fat)] = Tissue.FAT
    if lines.depth < 0.12:
        _paint_aortic_root(section)
    if lines.rv_depth < 1:
        tissue[section.inside(np.where(has_rv, outer, 0))] = Tissue.RV_WALL
        _paint_right(section)
    _paint_left(section)
    if 0.15 < lines.depth < 0.8:
        _paint_papillaries(section)


def _paint_aortic_root(section: _Section) -> None:
    (tissue, plane), heart = section.canvas, section.heart
    distance = float(section.lines.cavity.mean()) + 0.55 * heart.root_radius
    x, y = distance * np.cos(heart.outlet), distance * np.sin(heart.outlet)
    away = np.hypot(plane.x - x, plane.y - y)
    tissue[away < heart.root_radius] = Tissue.MUSCLE
    tissue[away < heart.root_radius - 1.5] = Tissue.ATRIUM


def _paint_right(section: _Section) -> None:
    (tissue, plane), lines = section.canvas, section.lines
    cavity = section.inside(lines.rv) & ~section.inside(lines.epicardium)
    if lines.rv_depth < 0:  # above the tricuspid valve: the right atrium
        tissue[cavity] = Tissue.ATRIUM
        return
    tissue[cavity] = Tissue.RV_BLOOD
    size = 2.2 * section.phase.trabeculation * (0.4 + lines.rv_depth)
    core = section.inside(lines.rv - trabecular_depth(section.heart, size, plane.z + 40))
    tissue[cavity & ~core] = Tissue.RV_TRABECULA


def _paint_left(section: _Section) -> None:
    (tissue, plane), lines = section.canvas, section.lines
    if lines.depth < 0:  # above the mitral valve: the left atrium, thin-walled and not labelled
        tissue[section.inside(lines.epicardium)] = Tissue.MUSCLE
        tissue[section.inside(lines.epicardium - 2)] = Tissue.ATRIUM
        return
    tissue[section.inside(lines.epicardium)] = Tissue.MYOCARDIUM
    tissue[section.inside(lines.cavity)] = Tissue.PAPILLARY
    size = section.phase.trabeculation * (0.5 + lines.depth)
    ridge = trabecular_depth(section.heart, size, plane.z)
    tissue[section.inside(lines.cavity - ridge)] = Tissue.LV_BLOOD


def _paint_papillaries(section: _Section) -> None:
    (tissue, plane), lines = section.canvas, section.lines
    mean = float(lines.cavity.mean())
    for direction, distance, size in section.heart.papillaries:
        cos, sin = np.cos(direction), np.sin(direction)
        reach = mean * (distance + 0.15 * lines.depth)  # their roots lie towards the apex
        dx, dy = plane.x - reach * cos, plane.y - reach * sin
        outwards, sideways = dx * cos + dy * sin, dy * cos - dx * sin
        inside = (outwards / 1.35) ** 2 + sideways**2 < (size * mean / section.phase.radius) ** 2
        tissue[inside & (tissue == Tissue.LV_BLOOD)] = Tissue.PAPILLARY
