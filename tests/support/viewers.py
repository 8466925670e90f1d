"""Galleries in memory, and folders of scans and labels, to look at."""

from pathlib import Path

import numpy as np

from diffrect.imaging.volume import Volume
from diffrect.viewing.gallery import Gallery, Layer, ShownCase
from support.tiny import scan, write_nifti

SHAPE = (20, 18, 4)


def volume(seed: int, shape: tuple[int, int, int] = SHAPE, classes: int = 4) -> Volume:
    return Volume(scan(shape, classes, seed)[0], (1.5, 1.25, 8.0), np.eye(4), Path("scan.nii"))


def labels(seed: int, shape: tuple[int, int, int] = SHAPE, classes: int = 4) -> np.ndarray:
    return scan(shape, classes, seed)[1]


def gallery(names: tuple[str, ...] = ("a", "b"), classes: tuple[str, ...] = ("wall", "blood", "c")):
    """Cases with a truth that the last one lacks, a prediction that is shifted, and an entropy."""
    cases = []
    number = len(classes) + 1
    for seed, name in enumerate(names):
        truth = labels(seed, classes=number)
        shifted = np.roll(truth, 2, axis=0)
        entropy = (shifted != truth).astype(np.float32)
        layers = [
            Layer("truth", "label", lambda _, found=truth: found),
            Layer("prediction", "label", lambda _, found=shifted: found),
            Layer("entropy", "map", lambda _, found=entropy: found),
        ]
        last = seed == len(names) - 1
        image = volume(seed, classes=number)
        shown = tuple(layers[1:] if last else layers)
        dice = None if last else 71.25
        cases.append(ShownCase(name, lambda image=image: image, shown, "val", dice, 0.125))
    return Gallery("run", tuple(cases), classes)


def write_scans(folder: Path, names: tuple[str, ...] = ("one", "two")) -> Path:
    """`images/NAME.nii.gz`, `labels/NAME.nii.gz`."""
    for seed, name in enumerate(names):
        image, label = scan(SHAPE, classes=3, seed=seed)
        write_nifti(folder / "images" / f"{name}.nii.gz", image)
        write_nifti(folder / "labels" / f"{name}.nii.gz", label)
    return folder
