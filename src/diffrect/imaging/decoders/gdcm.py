"""Read the pixels of DICOM files: with GDCM in ITK or, for segmentations, with pydicom."""

from pathlib import Path

import numpy as np

from diffrect.imaging.decoders.limits import announce


def read_pixels(file: Path, values: int) -> np.ndarray:
    """Return the pixels of a file, (frames, rows, columns[, C]), rescaled.

    Args:
        file: the file.
        values: how many its header announces.
    """
    import SimpleITK as sitk

    from diffrect.imaging.itk import array_of, quiet

    announce(values)
    with quiet():
        pixels = array_of(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))  # (X, Y, frames[, C])
    return pixels.swapaxes(0, 2)


def read_stored(file: Path, values: int) -> np.ndarray:
    """Return the stored numbers of a file, not rescaled; see `read_pixels` for the arguments."""
    import pydicom

    announce(values)
    pixels: np.ndarray = pydicom.dcmread(file).pixel_array
    return pixels
