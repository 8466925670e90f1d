"""Read and write NRRD, MHA and MHD with SimpleITK, their geometry turned to RAS+."""

import math
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from diffrect.errors import InputError
from diffrect.imaging.decode import (
    LARGEST_GZIP_RATIO,
    TRUNCATED,
    check_file,
    decoding,
    silent_stderr,
)
from diffrect.imaging.volume import Spacing, Volume

# ITK counts millimetres towards the left and posterior, NIfTI towards the right and anterior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_READABLE = "a readable NRRD or MetaImage file"
_LONGEST_HEADER = 2**20
_READERS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO"}  # the others are NRRD
_VOXELS_ELSEWHERE = re.compile(rb"^\s*(?:ElementDataFile\s*[=:]|data ?file\s*:)", re.I | re.M)


def read_itk(path: Path) -> Volume:
    """Read a NRRD or MetaImage file.

    Raises:
        InputError: the file is unreadable or truncated, or its voxels lie outside its folder.
    """
    check_file(path, "a NRRD or MetaImage file")
    _check_voxel_files(path)
    with decoding(path, _READABLE), quiet():
        reader = sitk.ImageFileReader()
        reader.SetImageIO(_READERS.get(path.suffix.lower(), "NrrdImageIO"))
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        _check_length(path, reader)
        image = reader.Execute()
        return Volume(array_of(image), *geometry_of(image), path)


def array_of(image: sitk.Image) -> np.ndarray:
    """Return the voxels of an ITK image in the order (X, Y, Z[, C]) without a copy."""
    view = sitk.GetArrayViewFromImage(image)
    # The view borrows the image's memory and could outlive it, so the image is kept alive by the
    # innermost array, to which every view refers.
    owner = view
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    weakref.finalize(owner, _release, image)
    spatial, dimensions = view, image.GetDimension()
    components = image.GetNumberOfComponentsPerPixel() > 1
    axes = tuple(reversed(range(dimensions)))
    spatial = spatial.transpose((*axes, dimensions) if components else axes)
    return spatial[:, :, np.newaxis] if dimensions == 2 else spatial


def geometry_of(image: sitk.Image) -> tuple[Spacing, np.ndarray]:
    """Return spacing and RAS+ affine of the first three axes of an ITK image."""
    dimensions = min(image.GetDimension(), 3)
    size = image.GetDimension()
    spacing, origin, direction = np.ones(3), np.zeros(3), np.eye(3)
    spacing[:dimensions] = image.GetSpacing()[:dimensions]
    origin[:dimensions] = image.GetOrigin()[:dimensions]
    full = np.reshape(image.GetDirection(), (size, size))
    direction[:dimensions, :dimensions] = full[:dimensions, :dimensions]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, origin
    x, y, z = (float(value) for value in spacing)
    return (x, y, z), LPS_TO_RAS @ affine


def write_like(path: Path, labels: np.ndarray, like: Path) -> None:
    """Write labels on the exact grid of another file.

    Args:
        path: the file to write, in the format of its name.
        labels: (X, Y, Z) uint8.
        like: a file that SimpleITK can read.

    Raises:
        InputError: `like` is unreadable.
    """
    with decoding(like, _READABLE), quiet():
        header = sitk.ImageFileReader()
        header.SetFileName(str(like))
        header.ReadImageInformation()
        dimensions = min(header.GetDimension(), 3)
        size = header.GetDimension()
        full = np.reshape(header.GetDirection(), (size, size))
        flat = labels[:, :, 0] if dimensions == 2 else labels
        image = sitk.GetImageFromArray(np.ascontiguousarray(flat.T))
        spacing = np.array(header.GetSpacing()[:dimensions])
        image.SetSpacing(np.abs(spacing).tolist())  # as ITK reads a negative one
        image.SetOrigin(header.GetOrigin()[:dimensions])
        turned = full[:dimensions, :dimensions] * np.sign(spacing)
        image.SetDirection(turned.ravel().tolist())
    with quiet():
        sitk.WriteImage(image, str(path), useCompression=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ITK from printing warnings: faults that matter are checked here."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with silent_stderr():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _release(image: sitk.Image) -> None:
    """Do nothing: the reference to the image has kept it alive until now."""


def _check_voxel_files(path: Path) -> None:
    """Refuse a header that names voxels outside its own folder, where it could read any file."""
    with path.open("rb") as stream:
        header = stream.read(_LONGEST_HEADER)
    whole = len(header) < _LONGEST_HEADER
    if path.suffix.lower() not in _READERS:  # NRRD: up to the first empty line
        header, end, _ = header.replace(b"\r\n", b"\n").partition(b"\n\n")
        whole = whole or bool(end)
    found = list(_VOXELS_ELSEWHERE.finditer(header))
    if not (found or whole):
        raise InputError(path, "a NRRD or MetaImage file", found="no end of its header")
    for match in found:
        value, *lines = header[match.end() :].decode("utf-8", "replace").splitlines() or [""]
        if value.strip().upper() == "LOCAL":  # the voxels follow
            return
        listed = value.split()[:1] in (["LIST"], ["SKIPLIST"])
        for name in lines if listed else [value]:
            place = name.strip().replace("\\", "/")
            if place.startswith("/") or place[1:2] == ":" or ".." in place.split("/"):
                raise InputError(path, "its voxels in a file of its folder", got=name.strip())


def _check_length(path: Path, header: sitk.ImageFileReader) -> None:
    """Refuse a header that promises more than the file can hold, before memory is allocated."""
    if path.suffix.lower() not in (".nrrd", ".mha"):
        return  # the voxels are in files of their own
    voxels = math.prod(header.GetSize()) * header.GetNumberOfComponents()
    size = path.stat().st_size
    if voxels > size * LARGEST_GZIP_RATIO:
        why = f"its header says {tuple(header.GetSize())}, the file has {size} bytes"
        raise InputError(path, _READABLE, found=TRUNCATED, reason=why)
