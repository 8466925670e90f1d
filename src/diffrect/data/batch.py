"""The data of one training iteration: slices as the store holds them, then views of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrect.console import summary
from diffrect.data.record import SliceIndex
from diffrect.imaging.label_codes import IGNORED


@dataclass(frozen=True)
class RawBatch:
    """Slices as the store holds them, zero-padded to a common shape; labelled rows come first.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        labels: (L, H, W) uint8 of the first L rows; `IGNORED` where nobody has annotated.
        shapes: (B, 2) int64, height and width of each slice before padding.
        cases: case id of each row.
        zooms: (B, 2) float32, network pixels per pixel of the slice in height and width; None where
            slices are resized to fit.
        positions: number of each row's slice in its case.
    """

    images: Tensor
    labels: Tensor
    shapes: Tensor
    cases: tuple[str, ...] = ()
    zooms: Tensor | None = None
    positions: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """Return the numbers of rows and their size in one line."""
        return summary(self, _rows(self.images, len(self.labels)))

    def to(self, device: torch.device) -> "RawBatch":
        """Return the batch with images and labels on another device; the rest stays on the CPU."""
        return RawBatch(
            self.images.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.shapes,
            self.cases,
            self.zooms,
            self.positions,
        )


@dataclass(frozen=True)
class Batch:
    """The views of a batch that a method reads, on its device; labelled rows come first.

    Attributes:
        weak: (B, channels, H, W) in [0, 1], geometry changed only.
        strong: the same rows and geometry with changed intensities.
        label: (L, H, W) int64 class maps of the L labelled rows; pixels that are `IGNORED` count
            nowhere.
        pasted: (B, H, W) bool, where the strong view shows a box of row `partner` instead (CutMix).
        partner: (B,) int64.
        second: the same rows with another, independent strong view, see `Method.strong_views`.
        slices: which slice of which case each row shows; empty where nobody has said.
        geometry: (B, 2, 2) in (x, y) order, from coordinates of the views to coordinates of the
            whole slice as the network sees it without any change, both in [-1, 1]; None where
            nobody has said. It is on the CPU.
    """

    weak: Tensor
    strong: Tensor
    label: Tensor
    pasted: Tensor | None = None
    partner: Tensor | None = None
    second: "Batch | None" = None
    slices: tuple[SliceIndex, ...] = ()
    geometry: Tensor | None = None

    def __repr__(self) -> str:
        """Return the numbers of rows and their size in one line."""
        return summary(self, _rows(self.weak, self.labelled))

    @property
    def labelled(self) -> int:
        """L, the number of labelled rows."""
        return len(self.label)

    def with_labels(self, maps: Tensor) -> Tensor:
        """Return class maps (B, H, W) with the true labels in the labelled rows."""
        return torch.cat([self.label, maps[self.labelled :]])

    def completed(self, maps: Tensor) -> Tensor:
        """Return `with_labels`, with the given maps also where the true labels are `IGNORED`.

        Networks that look at class maps know no such code.
        """
        labels = self.with_labels(maps)
        return torch.where(labels == IGNORED, maps, labels)

    def as_strong(self, maps: Tensor, in_boxes: Tensor | None = None) -> Tensor:
        """Return maps of the weak view as the strong view shows them, boxes pasted in.

        Args:
            maps: (B, H, W) or (B, ?, H, W).
            in_boxes: maps that the boxes show, of the same shape; None = the same maps.
        """
        if self.pasted is None or self.partner is None:
            return maps
        pasted = self.pasted if maps.ndim == 3 else self.pasted[:, None]
        pasting = maps if in_boxes is None else in_boxes
        return torch.where(pasted, pasting[self.partner], maps)


def _rows(images: Tensor, labelled: int) -> str:
    size = " x ".join(map(str, images.shape[1:]))
    return f"{labelled} labelled and {len(images) - labelled} unlabelled rows of {size}"
