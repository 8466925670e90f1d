"""Read and write NRRD, MHA and MHD, their geometry turned to RAS+; SimpleITK writes them."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from diffrect.errors import InputError
from diffrect.imaging.decode import check_file, decoding, silent_stderr
from diffrect.imaging.kinds import kind_of
from diffrect.imaging.volume import Spacing, Volume
from diffrect.imaging.voxels import metaimage, nrrd
from diffrect.imaging.voxels.fields import READABLE, Grid, Header
from diffrect.imaging.voxels.layout import read_voxels

# ITK counts millimetres towards the left and posterior, NIfTI towards the right and anterior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk(path: Path) -> Volume:
    """Read a NRRD or MetaImage file.

    Raises:
        InputError: the file is unreadable, damaged or truncated, or its voxels lie outside its
            folder.
    """
    header = read_header(path)
    with decoding(path, READABLE):
        array, remarks = read_voxels(header.layout, path, READABLE)
        if header.channels is not None:
            array = np.moveaxis(array, header.channels, -1)
        if len(header.grid.spacing) == 2:
            array = array[:, :, np.newaxis]
        return Volume(array, *_geometry_of(header.grid), path, remarks)


def read_header(path: Path) -> Header:
    """Read the header of a NRRD or MetaImage file.

    Raises:
        InputError: it is none, contradicts itself, or names voxels outside its folder.
    """
    check_file(path, "a NRRD or MetaImage file")
    with decoding(path, READABLE):
        is_meta = path.suffix.lower() in (".mha", ".mhd")
        return metaimage.read_header(path) if is_meta else nrrd.read_header(path)


def _geometry_of(grid: Grid) -> tuple[Spacing, np.ndarray]:
    """Return spacing and RAS+ affine of the first three axes of a grid."""
    dimensions = min(len(grid.spacing), 3)
    spacing, affine = np.ones(3), np.eye(4)
    spacing[:dimensions] = grid.spacing[:dimensions]
    affine[:dimensions, :dimensions] = grid.direction[:dimensions, :dimensions]
    affine[:3, :3] *= spacing
    affine[:dimensions, 3] = grid.origin[:dimensions]
    x, y, z = (float(value) for value in spacing)
    return (x, y, z), LPS_TO_RAS @ affine


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


def write_like(path: Path, labels: np.ndarray, like: Volume) -> None:
    """Write labels on the grid of an image; it is the exact one if that is NRRD or MetaImage.

    Args:
        path: the file to write, in the format of its name.
        labels: (X, Y, Z) uint8.
        like: the image.

    Raises:
        InputError: the file of `like` is unreadable, or its affine does not place voxels.
    """
    is_itk = like.path is not None and kind_of(like.path) == "itk"
    grid = read_header(like.path).grid if is_itk and like.path else _grid_of(like)
    dimensions = min(len(grid.spacing), 3)
    flat = labels[:, :, 0] if dimensions == 2 else labels
    with decoding(like.path or path, "a grid that ITK can write"), quiet():
        image = sitk.GetImageFromArray(np.ascontiguousarray(flat.T))
        image.SetSpacing(grid.spacing[:dimensions].tolist())
        image.SetOrigin(grid.origin[:dimensions].tolist())
        image.SetDirection(grid.direction[:dimensions, :dimensions].ravel().tolist())
    with quiet():
        sitk.WriteImage(image, str(path), useCompression=True)


def _grid_of(volume: Volume) -> Grid:
    """Return the grid of a volume, whose affine says where axes point and not how long they are."""
    world = LPS_TO_RAS @ volume.affine
    lengths = np.linalg.norm(world[:3, :3], axis=0)
    if not lengths.all():
        raise InputError(volume.path, "an affine that says where every axis points")
    spacing = np.array(volume.spacing or (1.0, 1.0, 1.0))
    return Grid(spacing, world[:3, 3], world[:3, :3] / lengths)


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
