"""What a caller gives a model: files, and arrays in memory as volumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.label_codes import whole_numbers
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume

_ARRAY = Path("array")


@dataclass(frozen=True)
class Source:
    """A scan that a caller gave, and the form in which it was given.

    Attributes:
        image: the scan.
        single: whether it was given as the array of a single slice, (H, W[, C]).
    """

    image: Volume
    single: bool = False

    @classmethod
    def of(
        cls, source: np.ndarray | Path | str, channels: int, spacing: Sequence[float] | None
    ) -> "Source":
        """Read a scan.

        Args:
            source: an image file, the folder of a DICOM series, or an array, see `volume_of`.
            channels: image channels of the model.
            spacing: millimetres along the axes of an array; None if unknown.

        Raises:
            InputError: it cannot be read, or is no such array.
        """
        if isinstance(source, Path | str):
            return cls(read_image(Path(source)))
        array = np.asarray(source)
        return cls(volume_of(array, channels, spacing), is_single_slice(array, channels))

    def label(self, label: np.ndarray | Path | str) -> Volume:
        """Return a label of the scan: a file, or an array of class codes in the scan's layout.

        Raises:
            InputError: it cannot be read, has another shape than the scan, or holds something else
                than class codes.
        """
        if isinstance(label, Path | str):
            return read_label(Path(label))
        return label_volume_of(np.asarray(label), self.single, self.image)

    def laid_out(self, array: np.ndarray) -> np.ndarray:
        """Return an array (X, Y, Z, ...) on the scan's grid in its layout, see `laid_out`."""
        return laid_out(array, self.single)


def volume_of(array: np.ndarray, channels: int, spacing: Sequence[float] | None) -> Volume:
    """Return an array as a volume (X, Y, Z[, C]).

    Args:
        array: (X, Y, Z[, C]), or a single slice (H, W[, C]), as pictures are in NumPy.
        channels: image channels, which come last; a single one needs no axis of its own.
        spacing: millimetres along the axes of the array; None if unknown.

    Raises:
        InputError: another number of dimensions, a value that is not finite, or a spacing of
            another length.
    """
    array = np.asarray(array)
    single = is_single_slice(array, channels)
    wanted = (2, 3) if channels == 1 else (3, 4)
    if array.ndim not in (*wanted, 4) or 0 in array.shape or array.dtype.kind not in "biuf":
        kinds = "(H, W) or (X, Y, Z)" if channels == 1 else "(H, W, C) or (X, Y, Z, C)"
        raise InputError("array", f"numbers {kinds}", got=f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("array", "finite intensities", found="NaN or infinity")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if single:
        array = np.swapaxes(array, 0, 1)[:, :, np.newaxis]
    return Volume(array, _spacing_of(spacing, single), np.eye(4), _ARRAY)


def is_single_slice(array: np.ndarray, channels: int) -> bool:
    """Return whether an array is one slice (H, W[, C]) rather than a volume."""
    return array.ndim == (2 if channels == 1 else 3)


def label_volume_of(array: np.ndarray, single: bool, image: Volume) -> Volume:
    """Return an array of class codes as a label of an image.

    Args:
        array: (X, Y, Z), or (H, W) of a single slice.
        single: whether it is the latter.
        image: the image, whose place it gets.

    Raises:
        InputError: another shape than the image's, or something else than class codes.
    """
    if single and array.ndim == 2:
        array = np.swapaxes(array, 0, 1)[:, :, np.newaxis]
    shape = image.array.shape[:3]
    if array.shape != shape or array.dtype.kind not in "biuf":
        raise InputError("label", f"codes of shape {shape}", got=f"{array.dtype} {array.shape}")
    codes = whole_numbers(array.astype(np.uint8) if array.dtype.kind == "b" else array, _ARRAY)
    return Volume(codes, image.spacing, image.affine, _ARRAY)


def laid_out(array: np.ndarray, single: bool) -> np.ndarray:
    """Return an array (X, Y, Z, ...) as a caller's array is laid out: (H, W, ...) for one slice."""
    return np.ascontiguousarray(np.swapaxes(array[:, :, 0], 0, 1)) if single else array


def _spacing_of(spacing: Sequence[float] | None, single: bool) -> tuple[float, float, float] | None:
    if spacing is None:
        return None
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != (2 if single else 3) or not all(0 < size < np.inf for size in sizes):
        axes = "rows and columns" if single else "X, Y and Z"
        raise InputError("spacing", f"millimetres along {axes}", got=spacing)
    return (sizes[1], sizes[0], 1.0) if single else (sizes[0], sizes[1], sizes[2])
