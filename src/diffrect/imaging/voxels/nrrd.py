"""The headers of NRRD files, *.nrrd and *.nhdr, read as ITK reads them.

ITK itself never sees a file that may be hostile: it opens whatever a header names.
"""

import re
from collections.abc import Sequence
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
from diffrect.imaging.voxels.streams import ENDLESS

_MAGIC = re.compile(r"NRRD(000[1-5]|00\.01)")
_FIELDS = {
    *("content", "number", "type", "block size", "dimension", "space", "space dimension", "sizes"),
    *("spacings", "thicknesses", "axis mins", "axis maxs", "space directions", "centers", "kinds"),
    *("labels", "units", "min", "max", "old min", "old max", "endian", "encoding", "line skip"),
    *("byte skip", "sample units", "space units", "space origin", "measurement frame"),
    "data file",
}
# Every field of two words may be written as one; one of them has a second name.
_NAMES = {name.replace(" ", ""): name for name in _FIELDS} | {"centerings": "centers"}
_NAMES |= {name: name for name in _FIELDS}
_KINDS = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long", "signed long long int"),
        *("int64", "int64_t"),
    ),
    "u8": (
        *("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
        "unsigned longlong",
    ),
    "f4": ("float",),
    "f8": ("double",),
}
_STORED: dict[str, Stored] = {
    "raw": "raw",
    **dict.fromkeys(("txt", "text", "ascii"), "text"),
    **dict.fromkeys(("gz", "gzip"), "gzip"),
    **dict.fromkeys(("bz2", "bzip2"), "bzip2"),
}
# Dimensions of spaces, and which of their axes point away from ITK's left, posterior, superior.
_SPACES = {
    "rightanteriorsuperior": (3, (-1, -1, 1)),
    "leftanteriorsuperior": (3, (1, -1, 1)),
    "leftposteriorsuperior": (3, (1, 1, 1)),
    "scannerxyz": (3, (1, 1, 1)),
    "3drighthanded": (3, (1, 1, 1)),
    "3dlefthanded": (3, (1, 1, 1)),
}
_SHORT = {
    "ras": "rightanteriorsuperior",
    "las": "leftanteriorsuperior",
    "lps": "leftposteriorsuperior",
}
_GRID_AXES = ("domain", "space", "time", "none", "???")
_CHANNEL_AXES = {
    "list": 0,  # of any number; else how many channels there must be
    "point": 0,
    "vector": 0,
    "contravariant-vector": 0,
    "covariant-vector": 0,
    "normal": 0,
    "stub": 1,
    "scalar": 1,
    "2-vector": 2,
    "3-vector": 3,
    "3-gradient": 3,
    "3-normal": 3,
    "4-vector": 4,
    "quaternion": 4,
    "3-color": 3,
    "4-color": 4,
    **dict.fromkeys(("rgb-color", "rgbcolor", "rgb"), 3),
    **dict.fromkeys(("hsv-color", "hsvcolor", "hsv"), 3),
    "xyz-color": 3,
    **dict.fromkeys(("rgba-color", "rgbacolor", "rgba"), 4),
}
_LONGEST_VECTORS = 2**12
_VECTOR = re.compile(r"\s*(?:none|\(([^()]*)\))(?=\s|$)", re.I)


def read_header(path: Path) -> Header:
    """Read the header of a NRRD file.

    Raises:
        InputError: it is none, contradicts itself, or names voxels outside its folder.
    """
    fields, entries, listed, end = _read_fields(path)
    for name in ("type", "dimension", "sizes", "encoding"):
        if name not in fields:
            raise InputError(path, READABLE, reason=f"its header says no {name}")
    (dimensions,) = whole_numbers(path, "dimension", fields["dimension"], 1, 2, 6)
    sizes = whole_numbers(path, "sizes", fields["sizes"], dimensions)
    channels = _channels(path, fields, sizes)
    axes = [axis for axis in range(dimensions) if axis != channels]
    if not 2 <= len(axes) <= 5:
        raise refuse(path, "dimension", fields["dimension"])
    layout = Layout(
        files=_files(path, fields, listed, sizes),
        kind=_kind(path, fields),
        sizes=sizes,
        **_stored(path, fields, end),
    )
    return Header(layout, _grid(path, fields, dimensions, axes, sizes), channels, entries)


def _read_fields(path: Path) -> tuple[dict[str, str], dict[str, str], list[str], int]:
    """Return the fields, the key/value pairs, a list of files, and where the header ends."""
    fields: dict[str, str] = {}
    entries: dict[str, str] = {}
    listed: list[str] = []
    end = 0
    for number, line in enumerate(read_lines(path)):
        end = line.end
        if number == 0:
            if not _MAGIC.fullmatch(line.text):
                raise InputError(path, READABLE, found="no header of NRRD")
        elif not line.text:
            return fields, entries, listed, end
        elif fields.get("data file", "").startswith("LIST"):
            listed.append(line.text.strip())
        elif not line.text.startswith("#"):
            _read_line(path, line.text, fields, entries)
    if "data file" not in fields:
        raise InputError(path, READABLE, found="no end of its header")
    return fields, entries, listed, end


def _read_line(path: Path, text: str, fields: dict[str, str], entries: dict[str, str]) -> None:
    """Add what a line says to the fields or to the key/value pairs."""
    name, mark, value = text.partition(": ")
    field = _NAMES.get(name.lower()) if mark else None
    if field is None:
        key, mark, value = text.partition(":=")
        if not mark:
            raise InputError(path, READABLE, found="a line of its header that is no field")
        entries[_unescaped(key)] = _unescaped(value)
    elif field in fields:
        raise InputError(path, READABLE, reason=f"its header says {field} twice")
    else:
        fields[field] = value.strip(" \t")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", text)


def _channels(path: Path, fields: dict[str, str], sizes: Sequence[int]) -> int | None:
    """Return the axis of the channels; None if there is none."""
    if "kinds" not in fields:
        return None
    kinds = fields["kinds"].lower().split()
    if len(kinds) != len(sizes):
        raise refuse(path, "kinds", fields["kinds"])
    found = [axis for axis, kind in enumerate(kinds) if kind not in _GRID_AXES]
    for axis in found:
        wanted = _CHANNEL_AXES.get(kinds[axis])
        if wanted is None or wanted not in (0, sizes[axis]) or len(found) > 1:
            raise refuse(path, "kinds", fields["kinds"])
    return found[0] if found else None


def _files(
    path: Path, fields: dict[str, str], listed: list[str], sizes: Sequence[int]
) -> tuple[Path, ...]:
    """Return the files of the voxels."""
    name = fields.get("data file")
    if name is None:
        return (path,)
    if not name.startswith("LIST"):
        return (voxel_file(path, name),)
    if name != "LIST":
        raise refuse(path, "data file", name)
    return voxel_files(path, listed, sizes[-1])


def _kind(path: Path, fields: dict[str, str]) -> np.dtype:
    given = fields["type"].lower()
    kind = next((kind for kind, names in _KINDS.items() if given in names), None)
    if kind is None:
        raise refuse(path, "type", fields["type"])
    order = fields.get("endian", "").lower()
    text = _STORED.get(fields["encoding"].lower()) == "text"
    if order not in ("little", "big") and (order or not (kind.endswith("1") or text)):
        raise refuse(path, "endian", order)
    return np.dtype(f"{'>' if order == 'big' and not text else '<'}{kind}")


def _stored(path: Path, fields: dict[str, str], end: int) -> dict[str, Any]:
    """Return how the voxels are stored, and where in their file they begin."""
    stored = _STORED.get(fields["encoding"].lower())
    if stored is None:
        raise refuse(path, "encoding", fields["encoding"])
    (lines,) = whole_numbers(path, "line skip", fields.get("line skip", "0"), 1, 0)
    given = fields.get("byte skip", "0")
    most = 2**40 if stored == "raw" else ENDLESS  # all that is skipped is decompressed
    (skip,) = whole_numbers(path, "byte skip", given, 1, AT_END, most)
    if (skip == AT_END and stored != "raw") or (skip and stored == "text"):
        raise refuse(path, "byte skip", given)
    if skip == AT_END:
        return {"stored": stored, "start": AT_END}
    start = 0 if "data file" in fields else end
    return {"stored": stored, "start": start, "lines": lines, "skip": skip}


def _grid(
    path: Path, fields: dict[str, str], dimensions: int, axes: list[int], sizes: Sequence[int]
) -> Grid:
    """Return where the axes other than that of the channels lie."""
    if "space" in fields or "space dimension" in fields:
        return _grid_in_space(path, fields, dimensions, axes)

    def known(name: str) -> np.ndarray:
        """Return a number per axis; NaN where it is not known."""
        if name not in fields:
            return np.full(len(axes), np.nan)
        return numbers(path, name, fields[name], dimensions, missing=True)[axes]

    if "space directions" in fields or "space origin" in fields:
        raise InputError(path, READABLE, reason="its header says no space")
    spacing, low, high = known("spacings"), known("axis mins"), known("axis maxs")
    centers = fields.get("centers", "cell " * dimensions).lower().split()
    if len(centers) != dimensions:
        raise refuse(path, "centers", fields["centers"])
    nodes = np.array([centers[axis] == "node" for axis in axes])
    extents = np.array(sizes)[axes]
    with np.errstate(all="ignore"):
        steps = np.where(np.isnan(spacing), (high - low) / (extents - nodes), spacing)
    origin = low + np.where(nodes, 0, steps / 2)
    if not np.isfinite(origin).all():
        origin = np.zeros(len(axes))
    return checked_grid(path, np.where(np.isnan(spacing), 1.0, spacing), origin, np.eye(len(axes)))


def _grid_in_space(path: Path, fields: dict[str, str], dimensions: int, axes: list[int]) -> Grid:
    """Return where the axes lie in a space that the header names."""
    space, signs = _space(path, fields)
    if space != len(axes):
        raise refuse(path, "a space of", f"{space} dimensions for {len(axes)} axes")
    if (
        "spacings" in fields
        and not np.isnan(
            numbers(path, "spacings", fields["spacings"], dimensions, missing=True)[axes]
        ).all()
    ):
        raise InputError(path, READABLE, reason="its header says a space, and spacings beside it")
    text = fields.get("space directions", "none " * dimensions)
    vectors = _vectors(path, "space directions", text, dimensions, space)
    spacing, direction = np.ones(space), np.eye(space)
    for column, axis in enumerate(axes):
        vector = vectors[axis]
        if vector is not None:
            length = float(np.linalg.norm(vector))
            if not 0 < length < np.inf:
                raise refuse(path, "space directions", text)
            spacing[column], direction[:, column] = length, vector / length * signs
    given = fields.get("space origin", "none")
    (origin,) = _vectors(path, "space origin", given, 1, space)
    return checked_grid(
        path, spacing, np.zeros(space) if origin is None else origin * signs, direction
    )


def _space(path: Path, fields: dict[str, str]) -> tuple[int, np.ndarray]:
    """Return the dimensions of the space, and which of its axes point away from those of ITK."""
    if "space" not in fields:
        given = fields["space dimension"]
        (space,) = whole_numbers(path, "space dimension", given, 1, 1, 5)
        return space, np.ones(space)
    name = re.sub("[- ]", "", fields["space"].lower())
    if (name not in _SPACES and name not in _SHORT) or "space dimension" in fields:
        raise refuse(path, "space", fields["space"])
    space, signs = _SPACES[_SHORT.get(name, name)]
    return space, np.array(signs, float)


def _vectors(path: Path, name: str, text: str, many: int, space: int) -> list[np.ndarray | None]:
    """Return the vectors of a field, None for each that is "none"."""
    found = list(_VECTOR.finditer(text)) if len(text) <= _LONGEST_VECTORS else []
    if len(found) != many or "".join(match[0] for match in found) != text.rstrip():
        raise refuse(path, name, text)
    return [
        None if match[1] is None else numbers(path, name, match[1].replace(",", " "), space)
        for match in found
    ]
