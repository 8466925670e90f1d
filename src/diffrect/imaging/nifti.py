"""Read and write NIfTI; written files have the geometry of their image byte for byte.

The volumes of FreeSurfer (*.mgz, *.mgh), which the same library reads, are read too.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np

from diffrect.atomic import new_file
from diffrect.errors import InputError
from diffrect.imaging.decode import TRUNCATED, check_file, decoding
from diffrect.imaging.volume import Spacing, Volume
from diffrect.imaging.voxels.binary import opened, scaled_voxels
from diffrect.imaging.voxels.files import check_place
from diffrect.imaging.voxels.streams import remarks_on

_READABLE = "a readable NIfTI file"
_FREESURFER = "a readable FreeSurfer volume"
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # per metre and per micrometre, by the code of xyzt_units
_SINGLE: tuple[Any, ...] = (nib.Nifti1Header, nib.Nifti2Header)
_PAIRED: tuple[Any, ...] = (nib.nifti1.Nifti1PairHeader, nib.nifti2.Nifti2PairHeader)
_LONGEST_HEADER = 540
_QFORM_USED = "its sform does not say where every axis points, so its qform is used"


def read_nifti(path: Path) -> Volume:
    """Read a volume in the file's axis order; its spacing is that of pixdim, not of the affine.

    A file of two dimensions is one slice; an axis of one slice without a spacing has one of 1 mm.
    Channels come last, also in the five dimensions in which ITK writes a vector per voxel. Metres
    and micrometres become millimetres.

    Raises:
        InputError: the file is unreadable, damaged or truncated, or its spacing is not positive.
    """
    found = _open_nifti(path)
    header = found.stored
    with decoding(path, _READABLE, TRUNCATED), np.errstate(all="ignore"):
        array, remarks = _read_voxels(found, path)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    elif array.ndim < 2:
        raise InputError(path, "a 3-D volume", got=f"shape {array.shape}")
    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = tuple(abs(float(size)) * scale for size in header["pixdim"][1:4])
    # Headers of one slice may say nothing about the third axis.
    sizes = zip(array.shape, spacing, strict=False)
    spacing = tuple(1.0 if voxels == 1 and size == 0 else size for voxels, size in sizes)
    if not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(path, "a spacing above 0 mm in pixdim", got=spacing)
    affine, unusual = _affine(path, found.used)
    affine[:3] *= scale
    x, y, z = spacing
    whole = found.used.get_data_dtype().kind in "iu"
    step = abs(float(found.used.get_slope_inter()[0] or 1)) if whole else 0.0
    return Volume(array, (x, y, z), affine, path, unusual + remarks, step)


def _affine(path: Path, header: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the affine in the header's units, and what is unusual about it.

    An sform that cannot place voxels, such as one of zeros, gives way to a qform that can, as in
    ITK.
    """
    with decoding(path, _READABLE):
        affine = np.array(header.get_best_affine(), dtype=np.float64)
        finite = np.isfinite(affine).all()
        if int(header["qform_code"]) > 0 and finite and np.linalg.matrix_rank(affine[:3, :3]) < 3:
            return np.array(header.get_qform(), dtype=np.float64), (_QFORM_USED,)
    return affine, ()


@dataclass(frozen=True)
class _Opened:
    """A NIfTI file whose header was read.

    Attributes:
        used: the header as nibabel repairs it: a spacing of 0 becomes 1, a negative one positive.
        stored: the header as on disk, so that faults are seen and geometry is copied unchanged.
        voxels: the file that holds the voxels.
    """

    used: Any
    stored: Any
    voxels: Path


def _open_nifti(path: Path) -> _Opened:
    """Read the header of a NIfTI file. What may follow it, such as DICOM headers, is not read."""
    check_file(path, "a NIfTI file")
    _check_compression(path)
    single = path.name.lower().removesuffix(".gz").removesuffix(".bz2").endswith(".nii")
    with decoding(path, _READABLE):
        pair = {"header": path, "image": path}
        if not single:
            holders = nib.Nifti1Pair.filespec_to_file_map(str(path))
            pair = {name: Path(str(holder.filename)) for name, holder in holders.items()}
        with opened(pair["header"], path, _READABLE) as stream:
            block = stream.read(_LONGEST_HEADER)
        kinds = _SINGLE if single else _PAIRED
        kind = next((one for one in kinds if one.may_contain_header(block)), None)
        if kind is None:
            raise InputError(path, "a NIfTI file", found="no header of NIfTI")
        block = block[: kind.template_dtype.itemsize]
        with _no_remarks():
            used, stored = (kind(block, check=check) for check in (True, False))
    voxels = pair["image"] if single else check_place(path, pair["image"])
    return _Opened(used, stored, voxels)


def _read_voxels(found: _Opened, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the voxels, scaled as the header says, and remarks on bytes that are too many.

    Raises:
        InputError: the header promises more voxels than the file can hold, or puts them elsewhere;
            or the file is damaged.
    """
    offset = int(found.used.get_data_offset())
    first = found.used.single_vox_offset if found.used.is_single else 0
    if offset < first:  # nibabel would read the header as voxels
        raise InputError(path, f"voxels from byte {first} on", reason=f"its header says {offset}")
    array, surplus, trailing = scaled_voxels(found.voxels, found.used, offset, path, _READABLE)
    return array, remarks_on(surplus, trailing)


def label_header(path: Path, shape: tuple[int, ...]) -> Any:
    """Return a header for labels on the grid of a file.

    Raises:
        InputError: the file is unreadable or has another shape.
    """
    found = _open_nifti(path)
    with decoding(path, _READABLE):
        sizes = tuple(int(size) for size in found.used.get_data_shape())
    grid = (*sizes, 1)[:3] if len(sizes) == 2 else sizes[:3]
    if shape != grid:
        raise InputError(path, f"a grid of {shape} voxels", got=grid)
    return found.stored


def new_header(shape: tuple[int, ...], spacing: Spacing | None, affine: np.ndarray) -> Any:
    """Return a header for a grid of another format; its sform and qform say the same.

    A qform cannot hold axes that are not at right angles. Its code is then 0, so that programs that
    prefer it do not place voxels elsewhere.
    """
    header = nib.Nifti1Header() if max(shape) < 2**15 else nib.Nifti2Header()
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    known = spacing is not None
    header.set_sform(affine, code="scanner" if known else "aligned")
    with np.errstate(all="ignore"):
        header.set_qform(affine, code="scanner" if known else "aligned", strip_shears=True)
    header["pixdim"][1:4] = spacing or (1, 1, 1)
    if not _same_place(header.get_qform(), affine, shape):
        header["qform_code"] = 0
    return header


def _same_place(qform: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether no corner of a grid differs by more than a hundredth of a voxel."""
    corners = np.array(list(product(*((0, size - 1) for size in shape[:3]), (1,))))
    apart = np.linalg.norm(corners @ (qform - affine)[:3].T, axis=1).max()
    return bool(apart <= 0.01 * np.linalg.norm(affine[:3, :3], axis=0).min())


def write_nifti(path: Path, voxels: np.ndarray, header: Any, level: int = 6) -> None:
    """Write an array as NIfTI with the geometry of a header, plane by plane.

    nibabel's own writer would repair the geometry it is given, so the file is put together here. It
    appears under its name only when it is complete.

    Args:
        path: the file to write, compressed unless its name ends in .nii.
        voxels: (X, Y, Z) or (X, Y, Z, C), in the type in which it is stored.
        header: a NIfTI header, which is not changed.
        level: of compression, 1 to 9.
    """
    header = header.copy()
    if int(header["dim"][0]) == 2 and voxels.ndim == 3:
        voxels = voxels[:, :, 0]  # two dimensions, as its image has
    pixdim = np.array(header["pixdim"])
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header["pixdim"] = pixdim  # the line above resets the entries past the third axis
    # Fields about the image's intensities do not hold for labels.
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"], header["cal_max"] = 0, 0
    for name in ("intent_code", "intent_p1", "intent_p2", "intent_p3"):
        header[name] = 0
    header["intent_name"] = b""
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    voxels = voxels.astype(voxels.dtype.newbyteorder(header.endianness), copy=False)
    no_extensions = bytes(4)
    with new_file(path) as file, _compressed(file, path, level) as stream:
        stream.write(header.binaryblock + no_extensions)
        for slab in _slabs(voxels):
            stream.write(slab.tobytes(order="F"))


def _compressed(file: BinaryIO, path: Path, level: int) -> Any:
    if path.name.lower().endswith(".nii"):
        return nullcontext(file)
    return gzip.GzipFile("", "wb", level, file, mtime=0)


def _slabs(voxels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the planes (X, Y) of an array in the order of the file."""
    if voxels.ndim == 2:
        yield voxels
        return
    channels = [voxels] if voxels.ndim == 3 else list(np.moveaxis(voxels, 3, 0))
    for channel in channels:
        yield from np.moveaxis(channel, 2, 0)


def _check_compression(path: Path) -> None:
    """Refuse a compressed file that is named *.nii, which no other program can read either."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    if compressed and path.name.lower().endswith(".nii"):
        raise InputError(path, f"a file without compression, or the name {path.name}.gz")


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Keep nibabel from printing repairs that are not made: faults are refused here, or kept."""
    logger = nib.imageglobals.logger
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def read_freesurfer(path: Path) -> Volume:
    """Read a volume (X, Y, Z) or, of several frames, (X, Y, Z, C).

    Raises:
        InputError: the file is unreadable, damaged or truncated.
    """
    check_file(path, "a FreeSurfer volume")
    with decoding(path, _FREESURFER), np.errstate(all="ignore"):
        with opened(path, path, _FREESURFER) as stream:
            block = stream.read(_LONGEST_HEADER)
        # What follows the voxels is about their acquisition.
        with _no_remarks():
            header = nib.freesurfer.mghformat.MGHHeader(block[:90])
        affine = np.asarray(header.get_affine(), dtype=np.float64)
        x, y, z = (float(size) for size in header.get_zooms()[:3])
    with decoding(path, _FREESURFER, TRUNCATED):
        array, _, trailing = scaled_voxels(path, header, 284, path, _FREESURFER)
    return Volume(array, (x, y, z), affine, path, remarks_on(0, trailing))
