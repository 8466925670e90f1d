"""The headers of MetaImage files, *.mha and *.mhd, read as ITK reads them.

ITK itself never sees a file that may be hostile: it opens whatever a header names. Only fields that
say where voxels are, or where they lie, count; the names of fields are in the case of the letters
in which the format writes them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.voxels.fields import (
    READABLE,
    Grid,
    Header,
    checked_grid,
    numbers,
    read_lines,
    refuse,
    whole_numbers,
)
from diffrect.imaging.voxels.files import voxel_file, voxel_files
from diffrect.imaging.voxels.layout import AT_END, Layout, Stored

_KINDS = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_SPACINGS = ("ElementSpacing", "ElementSize")  # the first of them counts
_ORIGINS = ("Offset", "Position", "Origin", "ImagePosition")  # one of them
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")  # one of them
_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")  # one of them
_VOXELS = "ElementDataFile"
_USED = {
    *_SPACINGS,
    *_ORIGINS,
    *_MATRICES,
    *_ORDERS,
    *("ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "HeaderSize"),
    *("BinaryData", "CompressedData", "FileFormatVersion"),
    _VOXELS,
}


def read_header(path: Path) -> Header:
    """Read the header of a MetaImage file.

    Raises:
        InputError: it is none, contradicts itself, or names voxels outside its folder.
    """
    fields, listed, end = _read_fields(path)
    if fields.get("ObjectType", "Image") != "Image":
        raise refuse(path, "ObjectType", fields["ObjectType"])
    if fields.get("FileFormatVersion", "0") != "0":
        raise refuse(path, "FileFormatVersion", fields["FileFormatVersion"])
    for name in ("NDims", "DimSize", "ElementType"):
        if name not in fields:
            raise InputError(path, READABLE, reason=f"its header says no {name}")
    (dimensions,) = whole_numbers(path, "NDims", fields["NDims"], 1, 2, 5)
    sizes = whole_numbers(path, "DimSize", fields["DimSize"], dimensions)
    given = fields.get("ElementNumberOfChannels", "1")
    (channels,) = whole_numbers(path, "ElementNumberOfChannels", given, 1, 1, 2**16)
    several = channels > 1
    layout = Layout(
        files=_files(path, fields, listed, sizes),
        kind=_kind(path, fields),
        sizes=(channels, *sizes) if several else sizes,
        **_stored(path, fields, end),
    )
    return Header(layout, _grid(path, fields, dimensions), 0 if several else None)


def _read_fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Return the fields that are used, the names of a list of files, and where the header ends."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    end = 0
    for line in read_lines(path):
        end = line.end
        if _VOXELS in fields:
            listed.append(line.text.strip())
            continue
        if not line.text.strip():
            continue
        mark = min((at for at in map(line.text.find, "=:") if at >= 0), default=-1)
        if mark < 0:
            raise InputError(path, READABLE, found="a line of its header without a value")
        name, value = line.text[:mark].strip(), line.text[mark:].lstrip("=: \t").rstrip()
        if name not in _USED:
            continue
        if name in fields:
            raise InputError(path, READABLE, reason=f"its header says {name} twice")
        fields[name] = value
        if name == _VOXELS and value != "LIST":
            return fields, [], end
    if _VOXELS not in fields:
        raise InputError(path, READABLE, reason=f"its header says no {_VOXELS}")
    return fields, listed, end


def _files(
    path: Path, fields: dict[str, str], listed: list[str], sizes: tuple[int, ...]
) -> tuple[Path, ...]:
    """Return the files of the voxels."""
    name = fields[_VOXELS]
    if name in ("LOCAL", "Local", "local"):
        return (path,)
    if name != "LIST":
        if name.startswith("LIST"):
            raise refuse(path, _VOXELS, name)
        return (voxel_file(path, name),)
    while listed and not listed[-1]:  # empty lines at the end
        listed.pop()
    return voxel_files(path, listed, sizes[-1])


def _kind(path: Path, fields: dict[str, str]) -> np.dtype:
    kind = _KINDS.get(fields["ElementType"].removesuffix("_ARRAY"))
    if kind is None:
        raise refuse(path, "ElementType", fields["ElementType"])
    orders = {_is_true(fields[name]) for name in _ORDERS if name in fields}
    if len(orders) > 1:
        raise InputError(path, READABLE, reason="its header says two orders of bytes")
    return np.dtype(f"{'>' if orders == {True} else '<'}{kind}")


def _stored(path: Path, fields: dict[str, str], end: int) -> dict[str, Any]:
    """Return how the voxels are stored, and where in their file they begin."""
    compressed = _is_true(fields.get("CompressedData", "False"))
    binary = _is_true(fields.get("BinaryData", "True"))
    stored: Stored = "zlib" if compressed else "raw" if binary else "text"
    given = fields.get("HeaderSize", "0")
    (skipped,) = whole_numbers(path, "HeaderSize", given, 1, AT_END)
    local = fields[_VOXELS].upper() == "LOCAL"
    if skipped and (stored != "raw" or (local and skipped != AT_END)):
        raise refuse(path, "HeaderSize", given)
    return {"stored": stored, "start": skipped or (end if local else 0)}


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")


def _grid(path: Path, fields: dict[str, str], dimensions: int) -> Grid:
    spacing = next((name for name in _SPACINGS if name in fields), None)
    origin = _one_of(path, fields, _ORIGINS, dimensions)
    rows = _one_of(path, fields, _MATRICES, dimensions**2)
    direction = np.eye(dimensions) if rows is None else rows.reshape(dimensions, dimensions).T
    return checked_grid(
        path,
        np.ones(dimensions)
        if spacing is None
        else numbers(path, spacing, fields[spacing], dimensions),
        np.zeros(dimensions) if origin is None else origin,
        direction,
    )


def _one_of(
    path: Path, fields: dict[str, str], names: tuple[str, ...], many: int
) -> np.ndarray | None:
    """Return the numbers of one of several fields that mean the same; None if there is none."""
    found = {name: numbers(path, name, fields[name], many) for name in names if name in fields}
    values = list(found.values())
    if any(not np.array_equal(value, values[0]) for value in values):
        both = " and another ".join(found)
        raise InputError(path, READABLE, reason=f"its header says one {both}")
    return values[0] if values else None
