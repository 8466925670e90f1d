"""Read arrays from HDF5 files, only from the file itself: HDF5 can point to any other file."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.decoders.limits import announce, check_promise

EXPECTED = "HDF5 with image and label"


def read_arrays(path: Path, keys: Sequence[str]) -> list[np.ndarray | None]:
    """Return the arrays of numbers under some keys; None for keys that are not there.

    Args:
        path: the file.
        keys: names of the arrays, of which the first must be there; all have its shape.

    Raises:
        InputError: one is no array of numbers, has another shape, or is larger than what the file
            holds of it can decode to.
    """
    with h5py.File(path, "r") as content:
        found = [_dataset(content, key) if key in content else None for key in keys]
        if found[0] is None:
            raise ValueError(f"there is no {keys[0]}")
        there = [dataset for dataset in found if dataset is not None]
        for key, dataset in zip(keys, found, strict=True):
            if dataset is not None:
                _check_kind(path, key, dataset, found[0])
        announce(sum(dataset.size for dataset in there))
        return [None if dataset is None else np.asarray(dataset) for dataset in found]


def _dataset(content: h5py.File, key: str) -> h5py.Dataset:
    dataset = content[key] if isinstance(content.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"{key} is not an array in the file itself")
    return dataset


def _check_kind(path: Path, key: str, dataset: h5py.Dataset, first: h5py.Dataset) -> None:
    """Refuse what is not wanted before memory is allocated for it.

    Args:
        path: the file.
        key: name of the array.
        dataset: the array.
        first: the array that all others have the shape of.
    """
    if dataset.dtype.kind not in "biuf":
        raise InputError(path, f"numbers under {key}", got=dataset.dtype)
    if dataset.shape != first.shape:
        expected = f"a {key} of the {first.name.lstrip('/')}'s shape, {first.shape}"
        raise InputError(path, expected, got=dataset.shape)
    promised = dataset.size * dataset.dtype.itemsize
    held = dataset.id.get_storage_size()
    check_promise(path, EXPECTED, dataset.shape, promised, held=held)
