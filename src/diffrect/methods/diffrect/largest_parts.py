"""What is one connected part in truth, and the reduction of pseudo-labels to it.

A class may be one part, and so may the foreground: where organs touch, a part of one class far from
all others is an error, however large it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from diffrect.imaging.components import (
    foreground_share,
    keep_fullest_part,
    keep_largest_components,
    largest_shares,
)

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
        joined_share: the smallest share that the largest part of the foreground holds in a labelled
            volume; None if nothing says.
        joined: whether only one connected part of the foreground is kept.
    """

    def __init__(
        self,
        wanted: LargestPart,
        classes: int,
        labelled: Iterable[Tensor],
        least: float = 1.0,
        joined: LargestPart = False,
    ) -> None:
        """Decide it.

        Args:
            wanted: True reduces all classes, False none, "auto" those that are one part.
            classes: number of classes, background included.
            labelled: class maps (Z, H, W) uint8 of the labelled volumes; read only for "auto".
            least: parts of this share of the largest part's size are not removed.
            joined: True keeps only the part of the foreground that holds most of the classes,
                "auto" if the foreground of several classes is one part.
        """
        self.wanted, self.least = wanted, least
        self.shares: dict[int, float] = {}
        joined_shares: list[float] = []
        for volume in labelled if "auto" in (wanted, joined) else ():
            codes = volume.numpy()
            for code, share in largest_shares(codes).items() if wanted == "auto" else ():
                self.shares[code] = min(self.shares.get(code, 1.0), share)
            whole = foreground_share(codes)
            joined_shares += [] if whole is None else [whole]
        every = range(1, classes) if wanted is True else ()
        one_part = {code for code, share in self.shares.items() if share >= ONE_PART}
        self.reduced = one_part | set(every)
        self.joined_share = min(joined_shares, default=None)
        is_one = self.joined_share is not None and self.joined_share >= ONE_PART and classes > 2
        self.joined = is_one if joined == "auto" else joined

    @property
    def removes(self) -> bool:
        """Whether anything is ever removed."""
        return bool(self.reduced) or self.joined

    def reduce(self, volume: Tensor) -> Tensor:
        """Return class maps (Z, H, W) of a volume, the smaller parts turned into background."""
        if not self.removes:
            return volume
        cleaned = volume.numpy().copy()
        if self.joined:
            keep_fullest_part(cleaned)
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
        if self.joined:
            share = "" if self.joined_share is None else f" ({100 * self.joined_share:.1f} %)"
            said.append(f"keep only one connected part of them all{share}")
        reason = f"; per cent of a class that are one part, {ONE_PART:.0%} at least to be reduced"
        return f"corrected pseudo-labels {' and '.join(said)}{reason if self.shares else ''}"


def _named(code: int, classes: Sequence[str], shares: Mapping[int, float]) -> str:
    if not shares:
        return classes[code]
    share = f"{100 * shares[code]:.1f} %" if code in shares else "not in the labels"
    return f"{classes[code]} ({share})"
