"""A volume in, its labels on the same grid out, a few slices at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from diffrect.data.case import Case, check_case
from diffrect.errors import InputError
from diffrect.imaging.intensity import Intensity, scale
from diffrect.imaging.resample import labels_from_logits, probabilities_from_logits, to_network
from diffrect.imaging.slicing import choose_slicing
from diffrect.imaging.volume import Volume
from diffrect.networks.folding import slices_at_once

if TYPE_CHECKING:
    from diffrect.inference.model import Model

_ARRAY = Path("array")


@torch.inference_mode()
def segment(
    model: "Model",
    volume: Volume,
    *,
    axis: str | None = None,
    largest_component: bool = False,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Labels of a volume, (X, Y, Z) uint8 on its own grid, whatever the axis that is cut.

    Args:
        model: says how volumes are cut, normalised and resampled.
        volume: raw intensities, (X, Y, Z) or (X, Y, Z, C).
        axis: cut it in another way than the model's, see `choose_slicing`.
        largest_component: keep of each class the largest connected part alone.
        probabilities: float32 (X, Y, Z, classes) to fill; may lie on disk.

    Raises:
        InputError: constant intensities, other channels than the model's, or a spacing that the
            model needs and the volume does not have.
    """
    check_case(Case(str(volume.path), "", volume, None), model.channels)
    slicing = choose_slicing(volume, axis or model.axis)
    slices = slicing.view(volume.array)
    limits = Intensity.parse(model.intensity).limits(slices, volume.path)
    zoom = model.zoom(slicing.spacing(volume), str(volume.path))
    labels = np.empty(volume.array.shape[:3], np.uint8, order="F")
    shape = (slices.shape[1], slices.shape[2])
    # All that is ever there of a volume besides itself and its labels.
    count = slices_at_once(model.size, model.device)
    for start in range(0, len(slices), count):
        part = slice(start, start + count)
        images = torch.from_numpy(scale(slices[part], limits)).to(model.device, model.dtype)
        logits = model.folded(to_network(images, model.size, model.interpolation, zoom))
        if not bool(logits.isfinite().all()):
            raise InputError(f"{volume.path}: expected numbers from the model, got NaN or infinity")
        found = labels_from_logits(logits, shape, model.interpolation, zoom)
        slicing.view(labels)[part] = found.cpu().numpy()
        if probabilities is not None:
            shares = probabilities_from_logits(logits, shape, model.interpolation, zoom)
            slicing.view(probabilities)[part] = shares.permute(0, 2, 3, 1).cpu().numpy()
    if largest_component:
        keep_largest_components(labels)
    return labels


def keep_largest_components(labels: np.ndarray) -> None:
    """Turn all but the largest connected part of each class into background, in place.

    Voxels that touch at a face, an edge or a corner are connected.
    """
    touching = np.ones((3,) * labels.ndim, bool)
    for code, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        inside = labels[box]
        parts, count = ndimage.label(inside == code, touching)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            largest = 1 + int(sizes[1:].argmax())
            inside[(parts > 0) & (parts != largest)] = 0


def volume_of(array: np.ndarray, channels: int, spacing: Sequence[float] | None) -> Volume:
    """An array as a volume (X, Y, Z[, C]); a single slice is (H, W[, C]), as pictures are in NumPy.

    Raises:
        InputError: another number of dimensions, something that is not finite, or a spacing of
            another length.
    """
    array = np.asarray(array)
    single = array.ndim == (3 if channels > 1 else 2)
    wanted = (2, 3) if channels == 1 else (3, 4)
    if array.ndim not in (*wanted, 4) or 0 in array.shape or array.dtype.kind not in "biuf":
        kinds = "(H, W) or (X, Y, Z)" if channels == 1 else "(H, W, C) or (X, Y, Z, C)"
        raise InputError(f"array: expected numbers {kinds}, got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("array: expected finite intensities, found NaN or infinity")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if single:
        array = np.swapaxes(array, 0, 1)[:, :, np.newaxis]
    return Volume(array, _spacing_of(spacing, single), np.eye(4), _ARRAY)


def _spacing_of(spacing: Sequence[float] | None, single: bool) -> tuple[float, float, float] | None:
    if spacing is None:
        return None
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != (2 if single else 3) or not all(0 < size < np.inf for size in sizes):
        expected = "rows and columns" if single else "X, Y and Z"
        raise InputError(f"spacing: expected millimetres along {expected}, got {spacing}")
    return (sizes[1], sizes[0], 1.0) if single else (sizes[0], sizes[1], sizes[2])
