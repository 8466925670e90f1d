"""Write labels and probabilities on the grid of the image they belong to."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diffrect.atomic import naming, sync_file, sync_folder, write_atomic
from diffrect.errors import InputError
from diffrect.imaging.kinds import SUFFIXES, kind_of, suffix_of
from diffrect.imaging.nifti import label_header, new_header, write_nifti
from diffrect.imaging.read import read_label
from diffrect.imaging.volume import Volume


class LabelTarget:
    """A label file that is written once its labels are known; `.dcm` is a DICOM segmentation.

    What the scan lacks for it is found before its labels are computed, and what is wrong with the
    labels before any other file of the scan is written.
    """

    def __init__(self, path: Path, image: Volume, classes: Sequence[str]) -> None:
        """Read what the file takes from the scan.

        Args:
            path: the file to write.
            image: the scan.
            classes: names of the codes.

        Raises:
            InputError: the scan is no DICOM series that a segmentation can refer to.
        """
        self.path, self.image, self.classes = path, image, classes
        self._sources = None
        if SUFFIXES.get(suffix_of(path).lower()) == "dicom":
            from diffrect.imaging.dicom_seg.sources import read_sources

            self._sources = read_sources(image)

    @property
    def on_scan(self) -> bool:
        """Whether the labels have to be on the grid of the scan."""
        return self._sources is not None

    def ready(self, labels: np.ndarray, grid: Volume | None = None) -> Callable[[], None]:
        """Return what writes labels (X, Y, Z), after everything that can be refused was.

        Args:
            labels: class codes.
            grid: the volume whose grid they are on, if not the scan.

        Raises:
            InputError: see `encode_segmentation`.
        """
        if self._sources is None:
            return partial(write_labels, self.path, labels, grid or self.image)
        from diffrect.imaging.dicom_seg.encode import encode_segmentation

        content = encode_segmentation(labels, self._sources, self.classes)
        return partial(write_atomic, self.path, content, verify=True)


def write_labels(path: Path, labels: np.ndarray, image: Volume) -> None:
    """Write labels on the grid of an image, in the format that the file's name says.

    If both files are NIfTI, the affine, the sform and qform with their codes, pixdim and units are
    copied byte for byte. The file appears under its name only when it is complete.

    Args:
        path: the file to write; a name without a known suffix means compressed NIfTI.
        labels: (X, Y, Z) class codes from 0 to 255.
        image: the volume whose grid the labels are on.

    Raises:
        InputError: the image's grid has another shape, or its file is gone.
    """
    shape = image.array.shape[:3]
    if labels.shape != shape:
        raise InputError(image.path, f"a grid of {labels.shape} voxels", got=shape)
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
    """Write probabilities (X, Y, Z, classes) float32 as NIfTI on the grid of an image."""
    write_nifti(path, probabilities, _header(image), level=1)


def write_confidence(path: Path, confidence: np.ndarray, image: Volume) -> None:
    """Write a map (X, Y, Z) of float32 as NIfTI on the grid of an image."""
    write_nifti(path, confidence, _header(image), level=1)


def _write_other(path: Path, labels: np.ndarray, image: Volume) -> None:
    if SUFFIXES[suffix_of(path).lower()] == "picture":
        from diffrect.imaging.picture import write_picture

        write_picture(path, labels)
    else:
        from diffrect.imaging.itk import write_like

        write_like(path, labels, image)


def _check_written(file: Path, labels: np.ndarray, path: Path) -> None:
    """Read what was written again, because libraries may not report that the disk was full.

    Args:
        file: what was written.
        labels: what it should hold.
        path: the name under which it is to appear.

    Raises:
        InputError: the file holds something else; the message names `path`.
    """
    with contextlib.suppress(InputError):
        if np.array_equal(read_label(file).array, labels):
            return
    expected = "to read the labels just written"
    raise InputError(path, expected, found="others", hint="is the disk full?")


def _header(image: Volume) -> Any:
    """Return the NIfTI header of the image's file, or a new one if that is of another format."""
    shape = image.array.shape[:3]
    if image.path is not None and kind_of(image.path) in ("nifti", None):
        return label_header(image.path, shape)
    return new_header(shape, image.spacing, image.affine)
