"""Scan the anatomy: from tissue to the magnitude image of a balanced cine sequence, and labels.

Every voxel is sampled several times in and through the plane, so that partial volume is real: the
image is the mean over the samples and the label is the class that fills most of the voxel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffrect.phantom.basics import LABEL_OF_TISSUE, FloatArray, LabelArray, Plane, Tissue
from diffrect.phantom.heart import Phase
from diffrect.phantom.paint import Anatomy, paint_plane

SAMPLES = 2  # per pixel along x and y
PLANES = (-0.3, 0.0, 0.3)  # sampled through a slice, as fractions of the slice spacing
LABELS = 4
GRAIN = 1.0  # size of the texture, pixels


@dataclass(frozen=True)
class Grid:
    """The place of the voxels: the matrix, its spacing in mm and its position in the patient."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    first_slice: float  # z in mm
    rotation: float
    centre: tuple[float, float]  # of the picture, from the LV axis, mm
    misalignment: FloatArray  # (Z, 2) mm: breath-holds differ


@dataclass(frozen=True)
class Scanner:
    """The settings by which tissue becomes signal; blood in the LV is 1."""

    signal: FloatArray  # per tissue; fat is negative, being in opposed phase to water
    texture: FloatArray  # per tissue, relative deviation
    gradient: tuple[float, float]  # of the log of the coil's sensitivity, per 100 mm
    curvature: float
    band: tuple[float, float, float]  # dark band: direction, distance in mm, relative depth
    blur: float  # pixels
    noise: float
    gamma: float
    scale: float


def draw_grid(random: np.random.Generator, length: float) -> Grid:
    """Plan a stack over an LV of `length` mm: 7 to 9 slices, 8 to 10 mm apart."""
    pixel = round(float(random.uniform(1.4, 1.7)), 4)
    first = float(random.uniform(2, 8))
    end = length + float(random.uniform(-14, 6))
    slices = int(np.clip(round((end - first) / random.uniform(8, 10)) + 1, 7, 9))
    between = float(np.clip(round(2 * (end - first) / (slices - 1)) / 2, 8, 10))
    width, height = (int(size) for size in 2 * random.integers(48, 65, 2))
    # Most centres plan with the sternum to the left of the picture, some with it on top.
    turned = random.random() < 0.3
    rotation = random.normal(0.9, 0.2) if turned else random.normal(0, 0.2)
    return Grid(
        shape=(width, height, slices),
        spacing=(pixel, pixel, between),
        first_slice=first,
        rotation=float(rotation),
        centre=(float(random.normal(-8, 9)), float(random.normal(2, 9))),
        misalignment=random.normal(0, 1.2, (slices, 2)).astype(np.float32),
    )


def draw_scanner(random: np.random.Generator) -> Scanner:
    """Draw a contrast, a coil, a resolution and a noise level."""
    myocardium = random.uniform(0.33, 0.6)
    signal = {
        Tissue.AIR: 0.01,
        Tissue.LUNG: random.uniform(0.06, 0.22),
        Tissue.FAT: -random.uniform(0.8, 1.7),
        Tissue.MESENTERY: -random.uniform(0.5, 0.9),
        Tissue.MUSCLE: myocardium * random.uniform(0.5, 0.9),
        Tissue.BONE: myocardium * random.uniform(0.5, 1.1),
        Tissue.LIVER: myocardium * random.uniform(0.8, 1.3),
        Tissue.SPLEEN: random.uniform(0.5, 0.95),
        Tissue.BOWEL: random.uniform(0.35, 1.0),
        Tissue.VESSEL: random.uniform(0.8, 1.25),
        Tissue.ATRIUM: random.uniform(0.75, 1.0),
        Tissue.RV_WALL: myocardium,
        Tissue.RV_BLOOD: random.uniform(0.7, 1.0),
        Tissue.RV_TRABECULA: myocardium * random.uniform(1.0, 1.3),
        Tissue.MYOCARDIUM: myocardium,
        Tissue.LV_BLOOD: 1.0,
        Tissue.PAPILLARY: myocardium,
    }
    blood = random.uniform(0.02, 0.07)  # flow
    texture = {
        **dict.fromkeys(Tissue, 0.04),
        **dict.fromkeys((Tissue.RV_BLOOD, Tissue.LV_BLOOD, Tissue.ATRIUM), blood),
        **dict.fromkeys((Tissue.BOWEL, Tissue.LUNG, Tissue.MESENTERY), 0.14),
    }
    return Scanner(
        signal=np.array([signal[tissue] for tissue in Tissue], dtype=np.float32),
        texture=np.array([texture[tissue] for tissue in Tissue], dtype=np.float32),
        gradient=(float(random.uniform(-0.6, 0.0)), float(random.normal(0, 0.3))),
        curvature=float(random.normal(0, 0.3)),
        band=(
            float(random.uniform(-np.pi, np.pi)),
            float(random.uniform(20, 60)),
            float(random.uniform(0.3, 0.7)) if random.random() < 0.3 else 0.0,
        ),
        blur=float(random.uniform(0.35, 0.7)),
        noise=float(random.uniform(0.02, 0.07)),
        gamma=float(random.uniform(0.75, 1.3)),
        scale=float(random.uniform(150, 700)),
    )


def scan(
    random: np.random.Generator, anatomy: Anatomy, phase: Phase, grid: Grid, scanner: Scanner
) -> tuple[NDArray[np.int16], LabelArray]:
    """Return image and label, both (X, Y, Z), of one phase.

    Args:
        random: source of the noise.
        anatomy: the patient.
        phase: the moment of the beat.
        grid: the place of the voxels.
        scanner: contrast, coil, resolution and noise.
    """
    image = np.empty(grid.shape, dtype=np.float32)
    label = np.empty(grid.shape, dtype=np.uint8)
    sensitivity = _coil(grid, scanner)
    for k in range(grid.shape[2]):
        x, y = _samples(grid, k)
        levels = (grid.first_slice + (k + part) * grid.spacing[2] for part in PLANES)
        tissues = np.stack([paint_plane(anatomy, phase, Plane(x, y, z)) for z in levels])
        label[..., k] = _fullest_class(tissues)
        image[..., k] = _receive(random, tissues, sensitivity, scanner)
    return np.rint(scanner.scale * image).astype(np.int16), label


def _samples(grid: Grid, k: int) -> tuple[FloatArray, FloatArray]:
    """Return x and y in mm of the samples of slice k, (X * SAMPLES, Y * SAMPLES) each."""
    axes = []
    for size, pixel in zip(grid.shape[:2], grid.spacing[:2], strict=True):
        count = SAMPLES * size
        axes.append(((np.arange(count) + 0.5 - count / 2) * pixel / SAMPLES).astype(np.float32))
    across, down = axes[0][:, None], axes[1][None, :]
    cos, sin = np.float32(np.cos(grid.rotation)), np.float32(np.sin(grid.rotation))
    x = cos * across + sin * down + np.float32(grid.centre[0] + grid.misalignment[k, 0])
    y = cos * down - sin * across + np.float32(grid.centre[1] + grid.misalignment[k, 1])
    return x, y


def _pool(samples: FloatArray) -> FloatArray:
    """Return the mean of each pixel's samples: (X * SAMPLES, Y * SAMPLES) -> (X, Y)."""
    rows = samples[::SAMPLES].copy()
    for start in range(1, SAMPLES):
        rows += samples[start::SAMPLES]
    total = rows[:, ::SAMPLES].copy()
    for start in range(1, SAMPLES):
        total += rows[:, start::SAMPLES]
    return np.asarray(total / np.float32(SAMPLES**2), dtype=np.float32)


def _fullest_class(tissues: LabelArray) -> LabelArray:
    """Return the class that fills most of each pixel, (planes, X * SAMPLES, ...) -> (X, Y)."""
    classes = LABEL_OF_TISSUE[tissues]
    shares = [_pool((classes == value).sum(axis=0, dtype=np.float32)) for value in range(LABELS)]
    return np.asarray(np.argmax(shares, axis=0), dtype=np.uint8)


def _coil(grid: Grid, scanner: Scanner) -> FloatArray:
    """Return the sensitivity (X, Y) of the receive coil, highest towards the chest wall."""
    x, y = (_pool(samples) / 100 for samples in _samples(grid, 0))
    log = scanner.gradient[0] * x + scanner.gradient[1] * y + scanner.curvature * (x * x + y * y)
    # Where the field is off, balanced sequences lose the signal along a band.
    direction, distance, depth = scanner.band
    across = (100 * (x * np.cos(direction) + y * np.sin(direction)) - distance) / 6
    band = 1 - depth * np.exp(-(across**2))
    return np.asarray(np.exp(log) * band, dtype=np.float32)


def _receive(
    random: np.random.Generator, tissues: LabelArray, sensitivity: FloatArray, scanner: Scanner
) -> FloatArray:
    """Return the magnitude image (X, Y) of a slice; blood in the LV is near 1.

    Args:
        random: source of texture and noise.
        tissues: `Tissue` codes of the samples, (planes, X * SAMPLES, Y * SAMPLES).
        sensitivity: of the coil, (X, Y).
        scanner: contrast, resolution and noise.
    """
    signal = scanner.signal[tissues].mean(axis=0)
    # Fat and water of one voxel cancel: the dark outlines of cine MR.
    signal = _pool(ndimage.gaussian_filter(signal, SAMPLES * scanner.blur))
    grain = ndimage.gaussian_filter(random.standard_normal(signal.shape, dtype=np.float32), GRAIN)
    amount = _pool(scanner.texture[tissues].mean(axis=0)) * (2 * GRAIN * np.sqrt(np.pi))
    signal = signal * (1 + amount * grain) * sensitivity
    noise = scanner.noise * random.standard_normal((2, *signal.shape), dtype=np.float32)
    magnitude = np.hypot(signal + noise[0], noise[1])  # Rician
    return np.asarray(magnitude**scanner.gamma, dtype=np.float32)
