"""What a spoiled file holds, read without diffrect: a simple reader, strict about what it knows.

Each function returns the array (X, Y, Z ...), `UNREADABLE` if the file cannot be whole, or None if
the reader does not know.
"""

import gzip
import re
import struct
import zlib
from typing import Final

import numpy as np

UNREADABLE: Final = "unreadable"
Expected = np.ndarray | str | None
_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_META_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2"},
    **{"MET_INT": "i4", "MET_UINT": "u4", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_NRRD_TYPES = {"short": "i2", "unsigned char": "u1", "uchar": "u1", "float": "f4", "int16": "i2"}
_META_KEYS = {
    *("ObjectType", "NDims", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData", "Offset"),
    *("TransformMatrix", "CenterOfRotation", "AnatomicalOrientation", "ElementSpacing", "DimSize"),
    *("ElementType", "ElementDataFile", "CompressedDataSize"),
}
_NRRD_KEYS = {
    *("type", "dimension", "space", "sizes", "space directions", "kinds", "endian", "encoding"),
    *("space origin", "space units"),
}


def expected(name: str, files: dict[str, bytes], original: dict[str, bytes]) -> Expected:
    """Return what a scan holds.

    Args:
        name: name of the scan, whose suffix tells the format.
        files: its spoiled files.
        original: the files as they were.
    """
    content = next(iter(files.values())) if len(files) == 1 else files.get(name, b"")
    if name.endswith(".nii.gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return UNREADABLE
        return nifti(content)
    if name.endswith(".nii"):
        return nifti(content)
    if name.endswith(".mha") and len(files) == 1:
        return meta(content)
    if name.endswith(".nrrd") and len(files) == 1:
        return nrrd(content)
    if name.endswith(".png"):
        return UNREADABLE if not png_is_whole(content) and files != original else None
    return None


def nifti(content: bytes) -> Expected:
    """Read an uncompressed NIfTI-1 file."""
    order = next((o for o in "<>" if content[:4] == struct.pack(f"{o}i", 348)), None)
    if order is None or len(content) < 352:
        return None
    dims = struct.unpack_from(f"{order}8h", content, 40)
    kind = struct.unpack_from(f"{order}h", content, 70)[0]
    bits = struct.unpack_from(f"{order}h", content, 72)[0]
    offset, slope, inter = struct.unpack_from(f"{order}3f", content, 108)
    shape = dims[1 : 1 + dims[0]] if 1 <= dims[0] <= 7 else ()
    known = content[344:348] == b"n+1\0" and kind in _NIFTI_TYPES and content[348:352] == bytes(4)
    if not known or not shape or min(shape) < 1 or not 352 <= offset < 1e6 or offset != int(offset):
        return None
    numbers = np.dtype(f"{order}{_NIFTI_TYPES[kind]}")
    if bits != 8 * numbers.itemsize:
        return None
    count = int(np.prod(shape, dtype=object))
    if len(content) < offset + count * numbers.itemsize:
        return UNREADABLE
    array = np.frombuffer(content, numbers, count, int(offset)).reshape(shape, order="F")
    if not np.isfinite([slope, inter]).all():
        return None
    with np.errstate(all="ignore"):
        return array * np.float64(slope) + np.float64(inter) if slope else array


def meta(content: bytes) -> Expected:
    """Read a MetaImage file with its voxels in it."""
    head, found, rest = content.partition(b"ElementDataFile = LOCAL\n")
    pairs = [line.split(" = ", 1) for line in head.decode("latin-1").splitlines()]
    if not found or any(len(pair) != 2 for pair in pairs):
        return None
    values = dict(pairs)
    if len(values) != len(pairs) or not values.keys() <= _META_KEYS:
        return None
    if values.get("BinaryDataByteOrderMSB") != "False" or values.get("NDims") != "3":
        return None
    sizes = values.get("DimSize", "").split()
    kind = _META_TYPES.get(values.get("ElementType", ""))
    if values.get("CompressedData") == "True":
        if values.get("CompressedDataSize") != str(len(rest)):
            return None
        return _voxels(_inflated(rest), sizes, kind)
    return _voxels(rest, sizes, kind) if values.get("CompressedData") == "False" else None


def nrrd(content: bytes) -> Expected:
    """Read a NRRD file with its voxels in it."""
    head, found, rest = content.partition(b"\n\n")
    lines = [line for line in head.decode("latin-1").splitlines()[1:] if not line.startswith("#")]
    pairs = [line.split(": ", 1) for line in lines]
    if not found or not head.startswith(b"NRRD000") or any(len(pair) != 2 for pair in pairs):
        return None
    values = dict(pairs)
    if len(values) != len(pairs) or not values.keys() <= _NRRD_KEYS:
        return None
    if values.get("dimension") != "3" or values.get("endian", "little") != "little":
        return None
    sizes, kind = values.get("sizes", "").split(), _NRRD_TYPES.get(values.get("type", ""))
    if values.get("encoding") in ("gzip", "gz"):
        try:
            rest = gzip.decompress(rest)
        except (OSError, EOFError, zlib.error):
            return UNREADABLE
    elif values.get("encoding") != "raw":
        return None
    return _voxels(rest, sizes, kind)


def png_is_whole(content: bytes) -> bool:
    """Return whether the checksums of all parts that matter agree."""
    at = 8
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        part, check = content[at + 4 : at + 8 + size], content[at + 8 + size : at + 12 + size]
        if part[:4] == b"IEND":
            return True
        if part[:1].isupper() and zlib.crc32(part) != int.from_bytes(check, "big"):
            return False
        at += 12 + size
    return False


def _inflated(content: bytes) -> bytes | None:
    try:
        return zlib.decompress(content)
    except zlib.error:
        return None


def _voxels(content: bytes | None, sizes: list[str], kind: str | None) -> Expected:
    if content is None:
        return UNREADABLE
    if kind is None or len(sizes) != 3 or not all(re.fullmatch(r"[1-9]\d{0,8}", s) for s in sizes):
        return None
    shape = tuple(map(int, sizes))
    count = int(np.prod(shape, dtype=object))
    if len(content) < count * np.dtype(kind).itemsize:
        return UNREADABLE
    return np.frombuffer(content, f"<{kind}", count).reshape(shape, order="F")


def disagreement(array: np.ndarray, wanted: Expected) -> str | None:
    """Return how an array differs from what was expected; None if it does not, or nobody knows."""
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return "read although it cannot be whole"
    mine, theirs = array.squeeze(), wanted.squeeze()
    if mine.shape != theirs.shape:
        return f"read as {mine.shape}, not {theirs.shape}"
    with np.errstate(all="ignore"):
        same = np.allclose(mine.astype(np.float64), theirs.astype(np.float64), 1e-5, 1e-30, True)
    return None if same else "other values were read"
