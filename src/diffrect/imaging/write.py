"""Label and probability files on the grid of the image they belong to."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from diffrect.atomic import naming, sync_file, sync_folder
from diffrect.errors import InputError
from diffrect.imaging.kinds import SUFFIXES, kind_of, suffix_of
from diffrect.imaging.nifti import label_header, new_header, write_nifti
from diffrect.imaging.volume import Volume, read_label


def write_labels(path: Path, labels: np.ndarray, image: Volume) -> None:
    """Write labels (X, Y, Z) uint8 on the image's grid, in the format that the name says.

    On a NIfTI image's grid, affine, sform and qform with their codes, pixdim and units of a NIfTI
    file are copied byte for byte. A file appears under its name only when complete.

    Raises:
        InputError: the image's grid has another shape, or its file has gone.
    """
    if labels.shape != image.array.shape[:3]:
        shape = image.array.shape[:3]
        raise InputError(f"{image.path}: expected a grid of {labels.shape} voxels, got {shape}")
    labels = labels.astype(np.uint8, copy=False)
    suffix = suffix_of(path).lower()
    if suffix in ("", ".nii", ".nii.gz"):
        write_nifti(path, labels, _header(image))
        return
    # A header may come with a file of voxels: both move into place when both are complete.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            partial.mkdir(mode=0o700)
            _write_other(partial / path.name, labels, image)
            _check_written(partial / path.name, labels, path)
            files = sorted(partial.iterdir(), key=lambda file: file.name == path.name)
            for file in files:
                sync_file(file)
                file.replace(path.with_name(file.name))
            sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_probabilities(path: Path, probabilities: np.ndarray, image: Volume) -> None:
    """Write (X, Y, Z, classes) float32 as NIfTI on the image's grid."""
    write_nifti(path, probabilities, _header(image), level=1)


def _write_other(path: Path, labels: np.ndarray, image: Volume) -> None:
    if SUFFIXES[suffix_of(path).lower()] == "picture":
        from diffrect.imaging.picture import write_picture

        write_picture(path, labels)
    else:
        from diffrect.imaging.itk import write_like

        assert image.path is not None
        write_like(path, labels, image.path)


def _check_written(file: Path, labels: np.ndarray, path: Path) -> None:
    """Libraries may say nothing of a disk that was full: what was written is read again.

    Raises:
        InputError: naming ``path``, as which the file was meant to appear.
    """
    with contextlib.suppress(InputError):
        if np.array_equal(read_label(file).array, labels):
            return
    raise InputError(
        f"{path}: expected to read the labels just written, found others; is the disk full?"
    )


def _header(image: Volume) -> Any:
    """The NIfTI header of the image's file; a new one where it is of another format."""
    shape = image.array.shape[:3]
    if image.path is not None and kind_of(image.path) in ("nifti", None):
        return label_header(image.path, shape)
    return new_header(shape, image.spacing, image.affine)
