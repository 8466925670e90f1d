"""NRRD, MHA and MHD through SimpleITK, with their geometry turned to RAS+."""

import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from diffrect.errors import InputError
from diffrect.imaging.decode import check_file, decoding, silent_stderr

Spacing = tuple[float, float, float]

# ITK counts millimetres towards the left and posterior, NIfTI towards the right and anterior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LARGEST_RATIO = 1032  # of gzip, see nifti.py
_LONGEST_HEADER = 2**20
_READERS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO"}  # the others are NRRD
_VOXELS_ELSEWHERE = re.compile(rb"^\s*(?:ElementDataFile\s*[=:]|data ?file\s*:)", re.I | re.M)


def read_itk(path: Path) -> tuple[np.ndarray, Spacing, np.ndarray]:
    """Array (X, Y, Z) or (X, Y, Z, C), spacing and affine of a NRRD or MetaImage file.

    Raises:
        InputError: the file is unreadable or truncated, or its voxels lie outside its folder.
    """
    check_file(path, "a NRRD or MetaImage file")
    _check_voxel_files(path)
    with decoding(path, "a readable NRRD or MetaImage file"), quiet():
        reader = sitk.ImageFileReader()
        reader.SetImageIO(_READERS.get(path.suffix.lower(), "NrrdImageIO"))
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        _check_length(path, reader)
        image = reader.Execute()
        return array_of(image), *geometry_of(image)


def array_of(image: sitk.Image) -> np.ndarray:
    """The voxels of an ITK image in the order (X, Y, Z[, C]), not copied."""
    view = sitk.GetArrayViewFromImage(image)
    # The view borrows the image's memory and would outlive it: its innermost array, which every
    # view of it refers to, keeps the image.
    owner = view
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    weakref.finalize(owner, _release, image)
    spatial, dimensions = view, image.GetDimension()
    components = image.GetNumberOfComponentsPerPixel() > 1
    axes = tuple(reversed(range(dimensions)))
    spatial = spatial.transpose((*axes, dimensions) if components else axes)
    return spatial[:, :, np.newaxis] if dimensions == 2 else spatial


def geometry_of(image: sitk.Image | sitk.ImageFileReader) -> tuple[Spacing, np.ndarray]:
    """Spacing and RAS+ affine of the first three axes of an ITK image or header."""
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
    """Write labels (X, Y, Z) uint8 in the format of ``path`` on the exact grid of ``like``."""
    with decoding(like, "a readable NRRD or MetaImage file"), quiet():
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
    """No warnings on the terminal: what matters is checked here and told in one line."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with silent_stderr():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _release(image: sitk.Image) -> None:
    """The image was kept until now."""


def _check_voxel_files(path: Path) -> None:
    """Refuse a header that names voxels outside its own folder: any file could be read so."""
    with path.open("rb") as stream:
        header = stream.read(_LONGEST_HEADER)
    whole = len(header) < _LONGEST_HEADER
    if path.suffix.lower() not in _READERS:  # NRRD: up to the first empty line
        header, end, _ = header.replace(b"\r\n", b"\n").partition(b"\n\n")
        whole = whole or bool(end)
    found = list(_VOXELS_ELSEWHERE.finditer(header))
    if not (found or whole):
        raise InputError(f"{path}: expected a NRRD or MetaImage file, found no end of its header")
    for match in found:
        value, *lines = header[match.end() :].decode("utf-8", "replace").splitlines() or [""]
        if value.strip().upper() == "LOCAL":  # the voxels follow
            return
        listed = value.split()[:1] in (["LIST"], ["SKIPLIST"])
        for name in lines if listed else [value]:
            place = name.strip().replace("\\", "/")
            if place.startswith("/") or place[1:2] == ":" or ".." in place.split("/"):
                raise InputError(
                    f"{path}: expected its voxels in a file of its folder, got {name.strip()}"
                )


def _check_length(path: Path, header: sitk.ImageFileReader) -> None:
    """Refuse a header that promises more than the file can hold, before room is made."""
    if path.suffix.lower() not in (".nrrd", ".mha"):
        return  # the voxels are in files of their own
    voxels = int(np.prod(header.GetSize(), dtype=object)) * header.GetNumberOfComponents()
    size = path.stat().st_size
    if voxels > size * _LARGEST_RATIO:
        raise InputError(
            f"{path}: expected a readable NRRD or MetaImage file, it seems truncated: its header "
            f"says {tuple(header.GetSize())}, the file has {size} bytes"
        )
