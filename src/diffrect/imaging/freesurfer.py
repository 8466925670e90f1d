"""Read the volumes of FreeSurfer, *.mgz and *.mgh."""

import math
from pathlib import Path

import nibabel as nib
import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.decode import LARGEST_GZIP_RATIO, TRUNCATED, check_file, decoding
from diffrect.imaging.volume import Volume

_READABLE = "a readable FreeSurfer volume"


def read_freesurfer(path: Path) -> Volume:
    """Read a volume (X, Y, Z) or, of several frames, (X, Y, Z, C).

    Raises:
        InputError: the file is unreadable or truncated.
    """
    check_file(path, "a FreeSurfer volume")
    with decoding(path, _READABLE):
        image = nib.MGHImage.from_filename(path)
    with decoding(path, _READABLE, TRUNCATED):
        shape = tuple(int(size) for size in image.shape)
        size = path.stat().st_size
        needed = math.prod(shape) * int(image.get_data_dtype().itemsize)
        if needed > size * LARGEST_GZIP_RATIO:  # found out before memory is allocated for them
            why = f"its header says {shape}, the file has {size} bytes"
            raise InputError(path, _READABLE, found=TRUNCATED, reason=why)
        array = np.asanyarray(image.dataobj)
        x, y, z = (float(size) for size in image.header.get_zooms()[:3])
        affine = np.asarray(image.affine, dtype=np.float64)
    return Volume(array, (x, y, z), affine, path)
