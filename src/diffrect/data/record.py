"""The facts that a store keeps about each of its cases, and the names of its files and folders.

`diffrect.data.store` says what the files hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.imaging.slicing import FILE_AXES, Slicing, slicing_along
from diffrect.imaging.volume import Spacing, Volume
from diffrect.json_files import read_json

STORE_FILE = "store.json"
PROGRESS_FILE = "prepare.json"
CASES_FOLDER = "cases"
CASE_FILE = "case.json"
IMAGE_FILE = "image.b2nd"
LABEL_FILE = "label.b2nd"

_LARGEST_SIDE = 2**16
_SPACINGS = (1e-9, 1e9)  # mm
_LONGEST_NAME = 255  # bytes, as most file systems take


@dataclass(frozen=True)
class CaseRecord:
    """The facts of a case that are known without reading its arrays.

    Attributes:
        id: names its folder under cases/.
        patient: whose scan it is.
        labelled: whether it has a label map.
        slices: number of slices, Z.
        shape: (H, W) of each slice.
        spacing: millimetres along Z, H, W; None where the source does not record it.
        axis: axis of the source's file along which it was cut.
        orientation: where slices, rows and columns increase, such as "SAR" (superior, anterior,
            right); None where the source does not record it.
        remarks: what is unusual about its files, one line per remark.
    """

    id: str
    patient: str
    labelled: bool
    slices: int
    shape: tuple[int, int]
    spacing: tuple[float, float, float] | None
    axis: int = 2
    orientation: str | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], where: object = "case") -> "CaseRecord":
        """Return the record that an entry of `store.json`, or a `case.json`, describes.

        Args:
            entry: its fields by name.
            where: what messages call the place that they come from, such as the file.

        Raises:
            InputError: the entry describes no case.
        """
        return _record(Fields(entry, where))


def _record(fields: Fields) -> CaseRecord:
    if not can_name_folder(fields.get("id")):
        raise fields.refuse("id", "a name of a case")
    # Lists as long as a damaged or hostile file says would fill the memory.
    height, width = fields.numbers("shape", 2, 1, _LARGEST_SIDE)
    if not (type(height) is int and type(width) is int):
        raise fields.refuse("shape", "whole numbers of rows and columns")
    spacing = None
    if fields.get("spacing") is not None:
        slices, rows, columns = fields.numbers("spacing", 3, *_SPACINGS)
        spacing = (slices, rows, columns)
    orientation = None
    if fields.get("orientation", None) is not None:
        orientation = fields.text("orientation", longest=8)
    return CaseRecord(
        id=fields.text("id"),
        patient=fields.text("patient"),
        labelled=fields.flag("labelled"),
        slices=fields.whole("slices", 1, _LARGEST_SIDE),
        shape=(height, width),
        spacing=spacing,
        axis=fields.whole("axis", 0, 2, default=2),
        orientation=orientation,
        remarks=fields.texts("remarks", ()),
    )


def case_records(settings: Mapping[str, Any], file: Path) -> dict[str, CaseRecord]:
    """Return the records of the cases that a store.json lists, by id.

    Raises:
        InputError: an entry describes no case, or two have one id.
    """
    records = [_record(fields) for fields in Fields(settings, file).each("cases")]
    by_id = {record.id: record for record in records}
    if len(by_id) < len(records):
        raise InputError(
            file, "each case once under 'cases'", got=f"{len(records)} for {len(by_id)}"
        )
    return by_id


@dataclass(frozen=True)
class Grid:
    """The grid of the scan that a case was made from.

    Attributes:
        slicing: how it was cut into slices.
        slice_spacing: millimetres between slices, rows and columns; None where the source does not
            record it.
        affine: (4, 4) float64, from voxels to millimetres, RAS+.
    """

    slicing: Slicing
    slice_spacing: Spacing | None
    affine: np.ndarray = field(repr=False)

    @property
    def spacing(self) -> Spacing | None:
        """Millimetres along X, Y and Z; None if unknown."""
        if self.slice_spacing is None:
            return None
        x, y, z = (self.slice_spacing[self.slicing.axes.index(axis)] for axis in range(3))
        return x, y, z

    def volume(self, slices: np.ndarray) -> Volume:
        """Return slices (Z, H, W), as those of the case lie, as a volume on the grid."""
        return Volume(self.slicing.volume(slices), self.spacing, self.affine)


def read_slicing(store: Path, case_id: str, policy: str) -> Slicing:
    """Return how the scan of a case was cut into slices.

    Args:
        store: folder of the store.
        case_id: the case.
        policy: how the store's volumes were cut, see `choose_slicing`; it tells of early stores,
            which do not say it case by case.

    Raises:
        InputError: `case.json` is damaged, or does not say it and the policy does not either.
    """
    file = store / CASES_FOLDER / case_id / CASE_FILE
    fields = Fields(read_json(file), file)
    if "slicing" not in fields.values and policy in FILE_AXES:
        return slicing_along(int(policy))
    found = fields.fields("slicing")
    first, second, third = found.numbers("axes", 3, 0, 2)
    axes = (int(first), int(second), int(third))
    flips = found.get("flips")
    if set(axes) != {0, 1, 2}:
        raise found.refuse("axes", "the axes 0, 1 and 2 in some order")
    if not isinstance(flips, list) or [type(flip) for flip in flips] != [bool] * 3:
        raise found.refuse("flips", "three times true or false")
    return Slicing(axes, (flips[0], flips[1], flips[2]))


def read_record(store: Path, case_id: str) -> CaseRecord:
    """Return the record of a case whose folder is complete, without a `store.json`."""
    file = store / CASES_FOLDER / case_id / CASE_FILE
    return CaseRecord.from_dict(read_json(file), file)


class SliceIndex(NamedTuple):
    """One slice of a case."""

    case: str
    position: int


def can_name_folder(case_id: Any) -> bool:
    """Return whether a case's id can be the name of a folder, inside `cases` and nowhere else."""
    if not isinstance(case_id, str) or not case_id or case_id.startswith("."):
        return False  # a leading dot marks what is not finished
    if len(case_id.encode("utf-8", "replace")) > _LONGEST_NAME:
        return False
    return case_id.isprintable() and not set(case_id) & set('/\\:*?"')
