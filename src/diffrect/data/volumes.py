"""The training volumes as the network sees them: the context of single slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from diffrect.config import TrainConfig
from diffrect.data.packed import Packed, pack, stacked
from diffrect.data.record import SliceIndex
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.resample import Interpolation, to_network

IMAGE_BYTES = 2**30  # of images that stay in memory, of those that were read last


class Rows(Protocol):
    """Arrays of one shape that can be read by row; a tensor (N, ...) is one."""

    @property
    def shape(self) -> torch.Size:
        """Return (N, ...)."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Return the arrays of some rows, (*rows.shape, ...)."""


@dataclass(frozen=True)
class TrainingVolumes:
    """All slices of the training patients, of the labelled patients first, and case by case.

    Attributes:
        images: (N, C, size, size) float16 in [0, 1], without any change of geometry.
        labels: (N, size, size) uint8; `IGNORED` throughout an unlabelled patient's slices.
        labelled: (N,) bool, whether the slice is of a labelled case.
        case: (N,) int64, number of the slice's case; slices of a case follow one another. What is
            left of a case on either side of slices that validate counts as two.
        rows: the row of each slice.
    """

    images: Rows
    labels: Rows
    labelled: Tensor
    case: Tensor
    rows: dict[SliceIndex, int]

    def cases(self) -> list[Tensor]:
        """Return the rows of each case, (slices,) int64."""
        sizes: list[int] = self.case.bincount().tolist()
        return list(torch.arange(len(self.case)).split(sizes))

    def neighbours(self, reach: int) -> Tensor:
        """Return the rows around each slice, those before and after it by turns.

        Args:
            reach: slices to each side.

        Returns:
            (N, 1 + 2 reach) int64: the slice itself first; -1 outside of its case.
        """
        here = torch.arange(len(self.case))
        offsets = [0, *(sign * k for k in range(1, reach + 1) for sign in (-1, 1))]
        rows = torch.stack([here + offset for offset in offsets], dim=1)
        inside = (rows >= 0) & (rows < len(here))
        same = self.case[rows.clamp(0, len(here) - 1)] == self.case[:, None]
        return torch.where(inside & same, rows, -1)


class SliceImages:
    """Images of slices as the network sees them, read from the store when they are asked for.

    Those that were read last stay in memory, up to `IMAGE_BYTES`.

    Args:
        store: the prepared data set.
        slices: the slices.
        config: size of the network's input, and its pixels in millimetres if they are given.
        interpolation: how images are resized.
    """

    def __init__(
        self,
        store: Store,
        slices: Sequence[SliceIndex],
        config: TrainConfig,
        interpolation: Interpolation,
    ) -> None:
        self.store, self.slices, self.config = store, slices, config
        self.interpolation = interpolation
        self.shape = torch.Size((len(slices), store.channels, config.side, config.side))
        size = self.shape[1:].numel() * torch.float16.itemsize
        self._kept = lru_cache(maxsize=max(1, IMAGE_BYTES // size))(self._read)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return images (*rows.shape, C, size, size), float16 in [0, 1].

        Raises:
            InputError: a file of the store is damaged.
        """
        return stacked(rows, self._kept, self.shape[1:], torch.float16)

    def _read(self, row: int) -> Tensor:
        case, position = self.slices[row]
        image = torch.from_numpy(self.store.image(case, position))[None]
        zoom = self.store.zoom(case, self.config.spacing)
        return to_network(image, self.config.side, self.interpolation, zoom)[0].half()


def training_volumes(
    store: Store, split: Split, config: TrainConfig, interpolation: Interpolation
) -> TrainingVolumes:
    """Return the volumes; the labels are read now, and images when they are asked for.

    Args:
        store: the prepared data set.
        split: patients of each part; the labels of unlabelled patients are not read.
        config: size of the network's input, and its pixels in millimetres if they are given.
        interpolation: how images are resized; labels are always resized nearest-neighbour.

    Raises:
        InputError: a file of the store is damaged.
    """
    known, others = store.training_slices(split)
    slices, size = known + others, config.side
    labels: list[bytes] = []
    for name, positions in _positions(known).items():
        codes = torch.from_numpy(store.label(name)[positions].astype(np.float32))[:, None]
        zoom = store.zoom(name, config.spacing)
        labels += pack(to_network(codes, size, "nearest", zoom)[:, 0].byte())
    labels += pack(torch.full((1, size, size), IGNORED, dtype=torch.uint8)) * len(others)
    return TrainingVolumes(
        SliceImages(store, slices, config, interpolation),
        Packed(labels, (size, size), torch.uint8),
        torch.arange(len(slices)) < len(known),
        torch.tensor(_pieces(slices)),
        {index: row for row, index in enumerate(slices)},
    )


def _positions(slices: Sequence[SliceIndex]) -> dict[str, list[int]]:
    """Return the positions of each case's slices."""
    found: dict[str, list[int]] = {}
    for index in slices:
        found.setdefault(index.case, []).append(index.position)
    return found


def _pieces(slices: Sequence[SliceIndex]) -> list[int]:
    """Return for each slice the number of its piece: slices of a case that follow one another."""
    numbers: list[int] = []
    before: SliceIndex | None = None
    for index in slices:
        follows = before is not None and index == (before.case, before.position + 1)
        numbers.append((numbers[-1] + (not follows)) if numbers else 0)
        before = index
    return numbers
