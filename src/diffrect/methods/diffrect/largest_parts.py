"""Which classes are one connected part in truth, and the reduction of pseudo-labels to it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from diffrect.imaging.components import keep_largest_components, largest_shares

LargestPart = bool | Literal["auto"]

ONE_PART = 0.95
"""A class is one part if its largest part holds this share of its voxels in every labelled volume.
Specks of annotation that have come loose are below a twentieth; lungs, lesions or teeth are not."""


class LargestParts:
    """The classes of which the smaller connected parts of each volume are removed.

    Attributes:
        shares: by class code, the smallest share that the largest part of the class holds in a
            labelled volume; classes that the labels do not show are not there.
        reduced: codes of the classes that are reduced.
    """

    def __init__(
        self, wanted: LargestPart, classes: int, labelled: Iterable[Tensor], least: float = 1.0
    ) -> None:
        """Decide it.

        Args:
            wanted: True reduces all classes, False none, "auto" those that are one part.
            classes: number of classes, background included.
            labelled: class maps (Z, H, W) uint8 of the labelled volumes; read only for "auto".
            least: parts of this share of the largest part's size are not removed.
        """
        self.wanted, self.least = wanted, least
        self.shares: dict[int, float] = {}
        for volume in labelled if wanted == "auto" else ():
            for code, share in largest_shares(volume.numpy()).items():
                self.shares[code] = min(self.shares.get(code, 1.0), share)
        every = range(1, classes) if wanted is True else ()
        one_part = {code for code, share in self.shares.items() if share >= ONE_PART}
        self.reduced = one_part | set(every)

    def reduce(self, volume: Tensor) -> Tensor:
        """Return class maps (Z, H, W) of a volume, the smaller parts turned into background."""
        if not self.reduced:
            return volume
        cleaned = volume.numpy().copy()
        keep_largest_components(cleaned, self.reduced, self.least)
        return torch.from_numpy(cleaned)

    def explained(self, classes: Sequence[str]) -> str:
        """Return in one line what was decided for each class, and why.

        Args:
            classes: their names, background first.
        """
        codes = range(1, len(classes))
        kept = [_named(code, classes, self.shares) for code in codes if code in self.reduced]
        others = [_named(code, classes, self.shares) for code in codes if code not in self.reduced]
        said = []
        if kept:
            largest = "largest connected part" + "s" * (self.least < 1)
            said.append(f"keep only the {largest} of {', '.join(kept)}")
        if others:
            said.append(f"keep all parts of {', '.join(others)}")
        reason = f"; per cent of a class that are one part, {ONE_PART:.0%} at least to be reduced"
        return f"corrected pseudo-labels {' and '.join(said)}{reason if self.shares else ''}"


def _named(code: int, classes: Sequence[str], shares: Mapping[int, float]) -> str:
    if not shares:
        return classes[code]
    share = f"{100 * shares[code]:.1f} %" if code in shares else "not in the labels"
    return f"{classes[code]} ({share})"
