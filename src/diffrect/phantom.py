"""Synthetic cardiac MR: short-axis hearts with exact labels, written in the layout of ACDC.

`phantom_patient` draws one patient from a seed; `write_phantom` writes a data set of them that
`diffrect prepare` reads like the published ACDC. Made for demonstrations and tests; anatomy and
signal follow figures from patients, but no scan of a patient has gone into it.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffrect.errors import InputError
from diffrect.phantom_anatomy import (
    GROUPS,
    LABEL_OF_TISSUE,
    Anatomy,
    FloatArray,
    Phase,
    Tissue,
    TissueArray,
    draw_anatomy,
)
from diffrect.phantom_tissue import paint_plane

SUPERSAMPLING = 2  # samples per pixel along x and y
PLANES = (-0.25, 0.25)  # samples through a slice, fractions of the slice spacing
LABELS = 4


@dataclass(frozen=True)
class Frame:
    """One volume: image int16 and label uint8, both (X, Y, Z)."""

    number: int
    image: NDArray[np.int16]
    label: NDArray[np.uint8]


@dataclass(frozen=True)
class PhantomPatient:
    """A synthetic patient: end-diastole, end-systole and what `Info.cfg` says; spacing in mm."""

    group: str
    height_cm: float
    weight_kg: float
    frames: int
    spacing: tuple[float, float, float]
    diastole: Frame
    systole: Frame


@dataclass(frozen=True)
class Grid:
    """Where the samples lie: the matrix, its spacing in mm and its place over the patient."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    first_slice: float  # z of the first slice
    rotation: float
    centre: tuple[float, float]  # of the picture, from the LV axis, mm
    misalignment: FloatArray  # (Z, 2) mm, as breath-holds differ


@dataclass(frozen=True)
class Scanner:
    """How tissue becomes signal; blood in the LV is 1."""

    signal: FloatArray  # per tissue; fat is negative, being in opposed phase
    texture: FloatArray  # per tissue, relative
    gradient: tuple[float, float]  # of the log of the coil's sensitivity, per 100 mm
    curvature: float
    blur: float  # pixels
    noise: float
    gamma: float
    scale: float


def phantom_patient(seed: int, index: int) -> PhantomPatient:
    """Draw patient `index` (from 0) of the data set `seed`: a pure function of the two."""
    random = np.random.default_rng((seed, index))
    group = list(GROUPS)[index % len(GROUPS)]
    anatomy = draw_anatomy(random, group)
    grid = _draw_grid(random, anatomy)
    scanner = _draw_scanner(random)
    frames = int(random.integers(20, 36))
    end_systole = round(frames * float(random.uniform(0.32, 0.42)))
    heart = anatomy.heart
    diastole = _scan(random, anatomy, heart.diastole, grid, scanner)
    systole = _scan(random, anatomy, heart.systole, grid, scanner)
    return PhantomPatient(
        group=group,
        height_cm=float(random.integers(155, 190)),
        weight_kg=float(random.integers(52, 105)),
        frames=frames,
        spacing=grid.spacing,
        diastole=Frame(1, *diastole),
        systole=Frame(end_systole, *systole),
    )


def _draw_grid(random: np.random.Generator, anatomy: Anatomy) -> Grid:
    slices = int(random.integers(7, 10))
    pixel = round(float(random.uniform(1.4, 1.7)), 4)
    first = float(random.uniform(2, 8))
    end = anatomy.heart.diastole.length + float(random.uniform(-2, 10))
    between = float(np.clip(round(2 * (end - first) / (slices - 1)) / 2, 8, 10))
    width, height = (int(n) for n in 2 * random.integers(50, 65, 2))
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


def _draw_scanner(random: np.random.Generator) -> Scanner:
    myocardium = random.uniform(0.33, 0.6)
    signal = np.zeros(len(Tissue))
    signal[Tissue.AIR] = 0.01
    signal[Tissue.LUNG] = random.uniform(0.06, 0.16)
    signal[Tissue.FAT] = -random.uniform(0.8, 1.7)
    signal[Tissue.MUSCLE] = myocardium * random.uniform(0.5, 0.9)
    signal[Tissue.BONE] = myocardium * random.uniform(0.5, 1.1)
    signal[Tissue.LIVER] = myocardium * random.uniform(0.8, 1.3)
    signal[Tissue.SPLEEN] = random.uniform(0.5, 0.95)
    signal[Tissue.STOMACH] = random.uniform(0.35, 1.1)
    signal[Tissue.VESSEL] = random.uniform(0.8, 1.25)
    signal[Tissue.ATRIUM] = random.uniform(0.75, 1.0)
    signal[Tissue.RV_WALL] = signal[Tissue.RV_TRABECULA] = myocardium * 1.05
    signal[Tissue.RV_BLOOD] = random.uniform(0.7, 1.0)
    signal[Tissue.MYOCARDIUM] = myocardium
    signal[Tissue.LV_BLOOD] = 1
    signal[Tissue.PAPILLARY] = myocardium
    texture = np.full(len(Tissue), 0.05)
    texture[[Tissue.RV_BLOOD, Tissue.LV_BLOOD, Tissue.ATRIUM]] = random.uniform(0.05, 0.14)
    texture[Tissue.STOMACH] = 0.25
    texture[Tissue.LUNG] = 0.3
    return Scanner(
        signal=signal.astype(np.float32),
        texture=texture.astype(np.float32),
        gradient=(float(random.uniform(-0.9, 0.0)), float(random.normal(0, 0.3))),
        curvature=float(random.normal(0, 0.3)),
        blur=float(random.uniform(0.35, 0.7)),
        noise=float(random.uniform(0.02, 0.07)),
        gamma=float(random.uniform(0.75, 1.3)),
        scale=float(random.uniform(150, 700)),
    )


def _scan(
    random: np.random.Generator, anatomy: Anatomy, phase: Phase, grid: Grid, scanner: Scanner
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Image and label (X, Y, Z) of one phase."""
    image = np.empty(grid.shape, dtype=np.float32)
    label = np.empty(grid.shape, dtype=np.uint8)
    bias = _coil(grid, scanner)
    for k in range(grid.shape[2]):
        tissues = [paint_plane(anatomy, phase, *_samples(grid, k), z) for z in _levels(grid, k)]
        label[..., k] = _label(tissues)
        image[..., k] = _receive(random, tissues, bias, scanner)
    return np.rint(scanner.scale * image).astype(np.int16), label


def _levels(grid: Grid, k: int) -> list[float]:
    """The z of the planes sampled in slice k."""
    return [grid.first_slice + (k + plane) * grid.spacing[2] for plane in PLANES]


def _samples(grid: Grid, k: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates in the patient's frame, mm, of the samples of slice k: (X * S, Y * S) each."""
    axes = []
    for size, pixel in zip(grid.shape[:2], grid.spacing[:2], strict=True):
        count = SUPERSAMPLING * size
        axes.append((np.arange(count) + 0.5 - count / 2) * (pixel / SUPERSAMPLING))
    cos, sin = np.cos(grid.rotation), np.sin(grid.rotation)
    across, down = np.meshgrid(*axes, indexing="ij")
    x = cos * across + sin * down + (grid.centre[0] + grid.misalignment[k, 0])
    y = cos * down - sin * across + (grid.centre[1] + grid.misalignment[k, 1])
    return x.astype(np.float32), y.astype(np.float32)


def _pool(samples: NDArray[np.generic]) -> FloatArray:
    """Mean over the samples of each pixel: (X * S, Y * S) -> (X, Y)."""
    width, height = (size // SUPERSAMPLING for size in samples.shape)
    blocks = samples.reshape(width, SUPERSAMPLING, height, SUPERSAMPLING)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def _label(tissues: list[TissueArray]) -> NDArray[np.uint8]:
    """The class that fills most of each voxel."""
    shares = [
        np.mean([_pool(LABEL_OF_TISSUE[tissue] == value) for tissue in tissues], axis=0)
        for value in range(LABELS)
    ]
    return np.argmax(shares, axis=0).astype(np.uint8)


def _coil(grid: Grid, scanner: Scanner) -> FloatArray:
    """Sensitivity of the receive coil over the picture (X, Y): strongest at the chest wall."""
    x, y = _samples(grid, 0)
    x, y = _pool(x) / 100, _pool(y) / 100
    log = scanner.gradient[0] * x + scanner.gradient[1] * y + scanner.curvature * (x * x + y * y)
    return np.exp(log).astype(np.float32)


def _receive(
    random: np.random.Generator, tissues: list[TissueArray], bias: FloatArray, scanner: Scanner
) -> FloatArray:
    """The magnitude image (X, Y) of a slice, LV blood near 1."""
    blur = SUPERSAMPLING * scanner.blur
    signal = np.mean([scanner.signal[tissue] for tissue in tissues], axis=0)
    # Fat and water cancel where they share a voxel: the dark outline seen in cine MR.
    complex_signal = _pool(ndimage.gaussian_filter(signal, blur))
    rough = ndimage.gaussian_filter(random.standard_normal(bias.shape), 1.3) * 4.6  # unit deviation
    amount = np.mean([_pool(scanner.texture[tissue]) for tissue in tissues], axis=0)
    real = complex_signal * bias * (1 + amount * rough)
    noise = scanner.noise * random.standard_normal((2, *bias.shape))
    magnitude = np.hypot(real + noise[0], noise[1])  # Rician
    return np.asarray(magnitude**scanner.gamma, dtype=np.float32)


def write_phantom(folder: Path | str, patients: int = 24, seed: int = 0) -> list[Path]:
    """Write `patients` synthetic patients under `folder` as ACDC is published; their folders.

    Each gets `patientXXX/` with `Info.cfg` and, for end-diastole and end-systole,
    `patientXXX_frameYY.nii.gz` (int16) and `patientXXX_frameYY_gt.nii.gz` (uint8; 1 RV cavity,
    2 myocardium, 3 LV cavity). The same arguments give the same bytes.

    Raises InputError if `patients` is not in 1..999 or a patient's folder exists already.
    """
    if not 1 <= patients <= 999:
        raise InputError(f"patients: expected 1 to 999, got {patients}")
    folders = [Path(folder) / f"patient{index + 1:03d}" for index in range(patients)]
    for index, place in enumerate(folders):
        if place.exists():
            raise InputError(f"{place}: expected a new folder, but it exists already")
        place.mkdir(parents=True)
        _write_patient(place, phantom_patient(seed, index))
    return folders


def _write_patient(folder: Path, patient: PhantomPatient) -> None:
    for frame in (patient.diastole, patient.systole):
        stem = f"{folder.name}_frame{frame.number:02d}"
        _write_nifti(folder / f"{stem}.nii.gz", frame.image, patient.spacing)
        _write_nifti(folder / f"{stem}_gt.nii.gz", frame.label, patient.spacing)
    lines = {
        "ED": patient.diastole.number,
        "ES": patient.systole.number,
        "Group": patient.group,
        "Height": patient.height_cm,
        "NbFrame": patient.frames,
        "Weight": patient.weight_kg,
    }
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    (folder / "Info.cfg").write_text(text, encoding="utf-8")


def _write_nifti(
    path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float]
) -> None:
    # Columns run to the patient's left and rows to the back, so both axes are flipped against
    # NIfTI's right-anterior-superior; the origin is the middle of the volume.
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(array.shape) - 1) / 2)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    # No time and no name in the gzip header: the same arrays give the same bytes.
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
