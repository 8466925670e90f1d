"""Synthetic hearts with slices of the size that ACDC's have; shared by the benchmarks."""

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import zoom

from diffrect.phantom.write import write_phantom

PLANE = (216, 256)  # pixels of a typical slice of ACDC
SLICES = 10


def write_acdc_like(
    folder: Path, patients: int, seed: int = 0, plane: tuple[int, int] = PLANE
) -> Path:
    """Write synthetic hearts as `write_phantom` does, each volume resized.

    Args:
        folder: folder to make.
        patients: number of patients, two scans each.
        seed: seed of the patients.
        plane: pixels of a slice; every volume has ten.

    Returns:
        The folder.
    """
    write_phantom(folder, patients, seed)
    for file in folder.glob("*/*_frame*.nii.gz"):
        image = nib.load(file)
        order = 0 if "_gt" in file.name else 1
        factors = [n / m for n, m in zip((*plane, SLICES), image.shape, strict=True)]
        array = zoom(np.asarray(image.dataobj), factors, order=order)
        nib.save(nib.Nifti1Image(array, image.affine), file)
    return folder
