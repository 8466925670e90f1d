"""The facts that a store keeps about each of its cases, and the names of its files and folders.

`diffrect.data.store` says what the files hold.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from diffrect.json_files import read_json

STORE_FILE = "store.json"
PROGRESS_FILE = "prepare.json"
CASES_FOLDER = "cases"
CASE_FILE = "case.json"
IMAGE_FILE = "image.b2nd"
LABEL_FILE = "label.b2nd"

_LARGEST_SIDE = 2**16


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
    def from_dict(cls, entry: dict[str, Any]) -> "CaseRecord":
        """Return the record that an entry of `store.json`, or a `case.json`, describes.

        Raises:
            KeyError, TypeError, ValueError: the entry describes no case.
        """
        spacing = entry["spacing"]
        height, width = entry["shape"]
        # Lists as long as a damaged or hostile file says would fill the memory.
        sizes = (entry["slices"], height, width)
        if not all(type(size) is int and 0 < size <= _LARGEST_SIDE for size in sizes):
            raise ValueError(f"{sizes} are not numbers of slices, rows and columns")
        if not (isinstance(entry["patient"], str) and isinstance(entry["labelled"], bool)):
            raise ValueError(f"{entry['id']!r} has no patient or does not say if it is labelled")
        if spacing is not None and not _are_sizes(spacing):
            raise ValueError(f"{spacing!r} is no spacing")
        axis, remarks = entry.get("axis", 2), entry.get("remarks", ())
        if axis not in (0, 1, 2) or not all(isinstance(remark, str) for remark in remarks):
            raise ValueError(f"axis {axis!r}, remarks {remarks!r}")
        orientation = entry.get("orientation")
        if not (orientation is None or isinstance(orientation, str)):
            raise ValueError(f"orientation {orientation!r}")
        return cls(
            id=entry["id"],
            patient=entry["patient"],
            labelled=entry["labelled"],
            slices=entry["slices"],
            shape=(height, width),
            spacing=None if spacing is None else (spacing[0], spacing[1], spacing[2]),
            axis=axis,
            orientation=orientation,
            remarks=tuple(remarks),
        )


def _are_sizes(spacing: Any) -> bool:
    """Return whether a value of a JSON file is three lengths above 0."""
    return (
        isinstance(spacing, list)
        and len(spacing) == 3
        and all(type(size) in (int, float) and 0 < size < math.inf for size in spacing)
    )


def read_record(store: Path, case_id: str) -> CaseRecord:
    """Return the record of a case whose folder is complete, without a `store.json`."""
    return CaseRecord.from_dict(read_json(store / CASES_FOLDER / case_id / CASE_FILE))


class SliceIndex(NamedTuple):
    """One slice of a case."""

    case: str
    position: int


def can_name_folder(case_id: Any) -> bool:
    """Return whether a case's id can be the name of a folder, inside `cases` and nowhere else."""
    if not isinstance(case_id, str) or not case_id or case_id.startswith("."):
        return False  # a leading dot marks what is not finished
    return case_id.isprintable() and not set(case_id) & set('/\\:*?"')
