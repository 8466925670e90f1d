"""What a store says of each of its cases."""

from dataclasses import dataclass
from typing import Any

_LARGEST_SIDE = 2**16


@dataclass(frozen=True)
class CaseRecord:
    """What is known of a case without reading its arrays.

    Attributes:
        id: names its folder under cases/.
        patient: whose scan it is.
        labelled: whether it has a label map.
        slices: their number, Z.
        shape: (H, W) of each.
        spacing: millimetres along Z, H, W; None where the source does not record it.
        axis: the file's axis along which it was cut.
        orientation: where slices, rows and columns increase, such as "SAR" (superior, anterior,
            right); None where the source does not record it.
        remarks: what is unusual about its files, a line each.
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
        """The record written as JSON.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        spacing = entry["spacing"]
        height, width = entry["shape"]
        # lists as long as a damaged or hostile file says would fill the memory
        sizes = (entry["slices"], height, width)
        if not all(type(size) is int and 0 < size <= _LARGEST_SIDE for size in sizes):
            raise ValueError(f"{sizes} are no slices, rows and columns")
        if not (isinstance(entry["patient"], str) and isinstance(entry["labelled"], bool)):
            raise ValueError(f"{entry['id']!r} has no patient or does not say if it is labelled")
        return cls(
            id=entry["id"],
            patient=entry["patient"],
            labelled=entry["labelled"],
            slices=entry["slices"],
            shape=(height, width),
            spacing=None if spacing is None else (spacing[0], spacing[1], spacing[2]),
            axis=entry.get("axis", 2),
            orientation=entry.get("orientation"),
            remarks=tuple(entry.get("remarks", ())),
        )
