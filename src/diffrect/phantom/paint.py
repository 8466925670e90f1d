"""Paint the anatomy: the tissue at every point of a plane.

Tissues are painted from the back to the front (lungs, abdomen, vessels, chest wall, heart), so that
every point holds exactly one tissue and the labels, which follow from the tissues, are exact.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffrect.phantom.basics import Canvas, FloatArray, LabelArray, Plane, Tissue
from diffrect.phantom.heart import GROUPS, Heart, Phase, draw_heart
from diffrect.phantom.paint_heart import paint_heart
from diffrect.phantom.thorax import Blob, ChestWall, Diaphragm, Thorax, draw_thorax

STRIDE = 8  # samples skipped when looking for the part of a plane that a blob reaches


@dataclass(frozen=True)
class Anatomy:
    """A patient: heart, thorax, and the smooth deformation that leaves neither of them ideal."""

    heart: Heart
    thorax: Thorax
    waves: FloatArray  # (waves, 6): wave vector x y z in rad/mm, phase, displacement x y in mm


def draw_anatomy(random: np.random.Generator, group: str) -> Anatomy:
    """Draw a patient of one of `GROUPS`."""
    heart = draw_heart(random, GROUPS[group])
    thorax = draw_thorax(random, heart)
    count = 7
    length = random.uniform(45, 110, count)  # mm
    towards, start, angle = random.uniform(-np.pi, np.pi, (3, count))
    size = length * random.uniform(0.005, 0.022, count)
    number = 2 * np.pi / length
    along = random.normal(0, 2 * np.pi / 200, count)
    waves = np.stack(
        [
            number * np.cos(towards),
            number * np.sin(towards),
            along,
            start,
            size * np.cos(angle),
            size * np.sin(angle),
        ],
        axis=1,
    )
    return Anatomy(heart, thorax, waves.astype(np.float32))


def paint_plane(anatomy: Anatomy, phase: Phase, plane: Plane) -> LabelArray:
    """Return the `Tissue` at every point of a plane, in the shape of its x.

    Args:
        anatomy: the patient.
        phase: the moment of the beat.
        plane: the points, in mm.
    """
    tissue = np.full(plane.x.shape, Tissue.LUNG, dtype=np.uint8)
    plane = _deform(anatomy.waves, plane)
    canvas, thorax = Canvas(tissue, plane), anatomy.thorax
    for blob in thorax.lung_vessels:
        _paint_blob(canvas, blob)
    _paint_abdomen(canvas, thorax.diaphragm, thorax.abdomen)
    for blob in thorax.mediastinum:
        _paint_blob(canvas, blob)
    outside = _depth_in_wall(thorax.wall, plane)
    _paint_chest_wall(canvas, thorax.wall, outside)
    to_wall, to_diaphragm = -outside, -_depth_below(thorax.diaphragm, plane)
    corner = np.minimum(to_wall - thorax.pads[0], to_diaphragm - thorax.pads[1])
    tilt_x, tilt_y = anatomy.heart.tilt
    x, y = plane.x - np.float32(tilt_x * plane.z), plane.y - np.float32(tilt_y * plane.z)
    paint_heart(Canvas(tissue, Plane(x, y, plane.z)), anatomy.heart, phase, corner)
    return tissue


def _deform(waves: FloatArray, plane: Plane) -> Plane:
    x, y = plane.x.copy(), plane.y.copy()
    for kx, ky, kz, start, dx, dy in waves:
        wave = np.sin(kx * plane.x + ky * plane.y + (kz * np.float32(plane.z) + start))
        x += dx * wave
        y += dy * wave
    return Plane(x, y, plane.z)


def _paint_blob(canvas: Canvas, blob: Blob, where: NDArray[np.bool_] | None = None) -> None:
    """Paint an ellipsoid, restricted to `where` if given."""
    tissue, plane = canvas
    above = plane.z - blob.centre[2]
    section = 1 - (above / blob.half_axes[2]) ** 2
    if section <= 0:
        return
    x, y = (c + lean * above for c, lean in zip(blob.centre[:2], blob.lean, strict=True))
    a, b = (half * section**0.5 for half in blob.half_axes[:2])
    window = _window(plane, x, y, max(a, b))
    if window is None:
        return
    dx, dy = plane.x[window] - np.float32(x), plane.y[window] - np.float32(y)
    cos, sin = np.float32(np.cos(blob.angle)), np.float32(np.sin(blob.angle))
    squared = ((cos * dx + sin * dy) / np.float32(a)) ** 2
    squared += ((cos * dy - sin * dx) / np.float32(b)) ** 2
    inside = squared < 1
    if where is not None:
        inside &= where[window]
    if blob.shell:
        tissue[window][inside] = Tissue.MUSCLE
        inside &= squared < max(1 - blob.shell / min(a, b), 0) ** 2
    tissue[window][inside] = blob.tissue


def _window(plane: Plane, x: float, y: float, reach: float) -> tuple[slice, slice] | None:
    """Find, on a coarse grid, rows and columns that hold every point within `reach` of (x, y).

    Args:
        plane: the points, in mm.
        x: centre of the search, in mm.
        y: centre of the search, in mm.
        reach: radius of the search, in mm.

    Returns:
        Slices of rows and of columns; None if no point lies within reach.
    """
    away = np.hypot(plane.x[::STRIDE, ::STRIDE] - x, plane.y[::STRIDE, ::STRIDE] - y)
    near = away < reach + 1.5 * STRIDE  # samples are less than 1 mm apart
    if not near.any():
        return None
    rows, columns = (np.flatnonzero(near.any(axis=axis)) * STRIDE for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - STRIDE, 0), int(rows[-1]) + STRIDE),
        slice(max(int(columns[0]) - STRIDE, 0), int(columns[-1]) + STRIDE),
    )


def _depth_below(diaphragm: Diaphragm, plane: Plane) -> FloatArray:
    """Return how far points lie below the diaphragm, in mm."""
    dome = diaphragm.y - diaphragm.rise * plane.z
    fall = np.float32(diaphragm.curvature) * (plane.x - diaphragm.x) ** 2
    return np.asarray(plane.y - np.float32(dome) - fall, dtype=np.float32)


def _paint_abdomen(canvas: Canvas, diaphragm: Diaphragm, organs: tuple[Blob, ...]) -> None:
    tissue = canvas.tissue
    below = _depth_below(diaphragm, canvas.plane)
    tissue[below > 0] = Tissue.MUSCLE  # the diaphragm itself
    abdomen = below > 2.5
    tissue[abdomen] = Tissue.MESENTERY
    for organ in organs:
        _paint_blob(canvas, organ, abdomen)


def _depth_in_wall(wall: ChestWall, plane: Plane) -> FloatArray:
    """Return how far points lie outside the pleura, in mm; negative inside."""
    dx, dy = _towards_wall(wall, plane)
    return np.asarray((np.hypot(dx, dy) - 1) * np.float32(wall.half_axes[0]), dtype=np.float32)


def _towards_wall(wall: ChestWall, plane: Plane) -> tuple[FloatArray, FloatArray]:
    """Return the points relative to the tube's axis, in half-axes."""
    a, b = wall.half_axes
    dx = (plane.x - np.float32(wall.centre[0] + wall.approach * plane.z)) / np.float32(a)
    return dx, (plane.y - np.float32(wall.centre[1])) / np.float32(b)


def _paint_chest_wall(canvas: Canvas, wall: ChestWall, outside: FloatArray) -> None:
    """Paint the wall; `outside` is how far points lie outside the pleura, in mm."""
    tissue, plane = canvas
    tissue[outside > -1.5] = Tissue.FAT
    chest = outside > 0
    tissue[chest] = Tissue.MUSCLE
    dx, dy = _towards_wall(wall, plane)
    angle = np.arctan2(dy, dx)
    along = angle / np.float32(wall.rib_spacing) + np.float32(0.02 * plane.z)
    across = (outside - 0.45 * wall.muscle) / (0.36 * wall.muscle)
    rib = across**2 + ((along - np.round(along)) / 0.27) ** 2
    tissue[chest & (rib < 1)] = Tissue.BONE
    tissue[outside > wall.muscle] = Tissue.FAT
    size, start = wall.unevenness
    skin = wall.muscle + wall.fat * (1 + size * np.sin(2 * angle + np.float32(start)))
    tissue[outside > skin] = Tissue.AIR
    # Fat parts the layers of muscle.
    tissue[(np.abs(outside - 0.87 * wall.muscle) < 0.6) & (np.sin(7 * angle) > 0)] = Tissue.FAT
