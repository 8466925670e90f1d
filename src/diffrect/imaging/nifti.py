"""Read and write NIfTI; written files have the geometry of their image byte for byte.

The volumes of FreeSurfer (*.mgz, *.mgh), which the same library reads, are read too.
"""

import contextlib
import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np

from diffrect.atomic import new_file
from diffrect.console import count
from diffrect.errors import InputError
from diffrect.imaging.decode import LARGEST_GZIP_RATIO, TRUNCATED, check_file, decoding
from diffrect.imaging.volume import Spacing, Volume

_READABLE = "a readable NIfTI file"
_FREESURFER = "a readable FreeSurfer volume"
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # per metre and per micrometre, by the code of xyzt_units
_QFORM_USED = "its sform does not say where every axis points, so its qform is used"


def read_nifti(path: Path) -> Volume:
    """Read a volume in the file's axis order; its spacing is that of pixdim, not of the affine.

    A file of two dimensions is one slice; an axis of one slice without a spacing has one of 1 mm.
    Channels come last, also in the five dimensions in which ITK writes a vector per voxel. Metres
    and micrometres become millimetres.

    Raises:
        InputError: the file is unreadable or truncated, or its spacing is not positive.
    """
    image, header = _open_nifti(path)
    trailing = _check_length(path, image)
    with decoding(path, _READABLE, TRUNCATED), np.errstate(all="ignore"):
        array = np.asanyarray(image.dataobj)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = tuple(abs(float(size)) * scale for size in header["pixdim"][1:4])
    # Headers of one slice may say nothing about the third axis.
    sizes = zip(array.shape, spacing, strict=False)
    spacing = tuple(1.0 if voxels == 1 and size == 0 else size for voxels, size in sizes)
    if not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(path, "a spacing above 0 mm in pixdim", got=spacing)
    affine, remarks = _affine(path, image)
    affine[:3] *= scale
    x, y, z = spacing
    whole = image.get_data_dtype().kind in "iu"
    step = abs(float(image.dataobj.slope)) if whole else 0.0
    if trailing:
        remarks += (
            f"{count(trailing, 'byte')} after its voxels, of which its header says nothing",
        )
    return Volume(array, (x, y, z), affine, path, remarks, step)


def _affine(path: Path, image: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the affine in the header's units, and what is unusual about it.

    An sform that cannot place voxels, such as one of zeros, gives way to a qform that can, as in
    ITK.
    """
    affine = np.array(image.affine, dtype=np.float64)
    qform_code = int(image.header["qform_code"])
    if qform_code > 0 and np.isfinite(affine).all() and np.linalg.matrix_rank(affine[:3, :3]) < 3:
        with decoding(path, _READABLE):
            qform = image.header.get_qform()
        return np.array(qform, dtype=np.float64), (_QFORM_USED,)
    return affine, ()


def _open_nifti(path: Path) -> tuple[Any, Any]:
    """Return the nibabel image and its header as on disk.

    nibabel repairs headers while loading (a spacing of 0 becomes 1, a negative one positive). The
    second header is not repaired, so that faults are seen and geometry is copied unchanged.
    """
    check_file(path, "a NIfTI file")
    _check_compression(path)
    with decoding(path, _READABLE):
        with _no_remarks():
            image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise InputError(path, "a NIfTI file", got=type(image).__name__)
        holder = image.file_map.get("header", image.file_map["image"])
        with holder.get_prepare_fileobj("rb") as stream:
            header = image.header_class.from_fileobj(stream, check=False)
    return image, header


def label_header(path: Path, shape: tuple[int, ...]) -> Any:
    """Return a header for labels on the grid of a file.

    Raises:
        InputError: the file is unreadable or has another shape.
    """
    image, header = _open_nifti(path)
    found = (*image.shape, 1)[:3] if len(image.shape) == 2 else tuple(image.shape[:3])
    if shape != found:
        raise InputError(path, f"a grid of {shape} voxels", got=found)
    return header


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


def _check_length(path: Path, image: Any) -> int:
    """Return how many bytes follow the voxels.

    Raises:
        InputError: the header promises more voxels than the file can hold, or puts them elsewhere.
    """
    holder = image.file_map["image"].filename or str(path)
    size = Path(holder).stat().st_size
    ratio = 1 if str(holder).lower().endswith((".nii", ".img")) else LARGEST_GZIP_RATIO
    shape = tuple(int(n) for n in image.shape)
    needed = math.prod(shape) * int(image.get_data_dtype().itemsize)
    if needed > size * ratio:  # found out before memory is allocated for them
        why = f"its header says {shape}, the file has {size} bytes"
        raise InputError(path, _READABLE, found=TRUNCATED, reason=why)
    offset = int(image.dataobj.offset)
    first = image.header.single_vox_offset if image.header.is_single else 0
    if offset < first:  # nibabel would read the header as voxels
        why = f"its header says {offset}"
        raise InputError(path, f"voxels from byte {first} on", reason=why)
    promised = offset + needed
    length = size if ratio == 1 else _decompressed_size(Path(holder), promised)
    return max(length - promised, 0)


def _decompressed_size(path: Path, promised: int) -> int:
    """Return the bytes in a gzip file, counted only if its last four do not say `promised`."""
    length = 0
    with path.open("rb") as file, contextlib.suppress(OSError, EOFError, zlib.error):
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(), "little") == promised % 2**32:
            return promised
        file.seek(0)
        with gzip.GzipFile(fileobj=file) as stream:  # what follows may be cut short, or not gzip
            while part := stream.read(1 << 20):
                length += len(part)
    return length


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
        InputError: the file is unreadable or truncated.
    """
    check_file(path, "a FreeSurfer volume")
    with decoding(path, _FREESURFER):
        image = nib.MGHImage.from_filename(path)
    with decoding(path, _FREESURFER, TRUNCATED):
        shape = tuple(int(size) for size in image.shape)
        size = path.stat().st_size
        needed = math.prod(shape) * int(image.get_data_dtype().itemsize)
        if needed > size * LARGEST_GZIP_RATIO:  # found out before memory is allocated for them
            why = f"its header says {shape}, the file has {size} bytes"
            raise InputError(path, _FREESURFER, found=TRUNCATED, reason=why)
        array = np.asanyarray(image.dataobj)
        x, y, z = (float(size) for size in image.header.get_zooms()[:3])
        affine = np.asarray(image.affine, dtype=np.float64)
    return Volume(array, (x, y, z), affine, path)
