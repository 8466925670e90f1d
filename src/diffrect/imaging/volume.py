"""A scan as an array with its geometry.

All geometry follows NIfTI's convention: an affine maps voxel indices to millimetres towards the
right, anterior and superior (RAS+). The spacing is kept beside the affine because ACDC's affines
are unscaled: an affine says where axes point and is never used to measure anything.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffrect.console import summary

Spacing = tuple[float, float, float]
"""Millimetres from one voxel to the next along X, Y and Z."""


@dataclass(frozen=True)
class Volume:
    """An image or a label map with its geometry.

    Attributes:
        array: (X, Y, Z), or (X, Y, Z, C) for C > 1 channels, in the file's own axis order; a
            picture is (columns, rows, 1).
        spacing: millimetres along X, Y, Z; None where the format does not record it.
        affine: (4, 4) float64, voxel index to world, RAS+; the identity where the format has none.
        path: the file it came from, or the folder of a DICOM series; for messages.
        remarks: unusual facts about a file that could be read nevertheless, one sentence each.
        step: the distance of the values that the file can hold, where it stores whole numbers and
            multiplies them by a slope; else 0.
        cropped: the array may be the part of a label map that is not background.
    """

    array: np.ndarray
    spacing: Spacing | None
    affine: np.ndarray
    path: Path | None = None
    remarks: tuple[str, ...] = ()
    step: float = 0.0
    cropped: bool = False

    def __repr__(self) -> str:
        """Return shape, number type, spacing and file in one line."""
        size = " x ".join(map(str, self.array.shape))
        spacing = "unknown spacing"
        if self.spacing is not None:
            spacing = f"{' x '.join(f'{one:.4g}' for one in self.spacing)} mm"
        where = "" if self.path is None else f", {self.path}"
        return summary(self, f"{size} voxels of {self.array.dtype}, {spacing}{where}")
