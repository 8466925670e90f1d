"""The training volumes as the network sees them, in memory: the context of single slices."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffrect.config import TrainConfig
from diffrect.data.record import SliceIndex
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.imaging.resample import Interpolation, to_network
from diffrect.labels import IGNORED


@dataclass(frozen=True)
class TrainingVolumes:
    """All slices of the training patients, of the labelled patients first, and case by case.

    Attributes:
        images: (N, C, size, size) float16 in [0, 1], without any change of geometry.
        labels: (N, size, size) uint8; `IGNORED` throughout an unlabelled patient's slices.
        labelled: (N,) bool, whether the slice is of a labelled patient.
        case: (N,) int64, number of the slice's case; slices of a case follow one another.
        rows: the row of each slice.
    """

    images: Tensor
    labels: Tensor
    labelled: Tensor
    case: Tensor
    rows: dict[SliceIndex, int]

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


def training_volumes(
    store: Store, split: Split, config: TrainConfig, interpolation: Interpolation
) -> TrainingVolumes:
    """Read the volumes; a thousand slices of 128 x 128 pixels take 50 MB.

    Args:
        store: the prepared data set.
        split: patients of each part; the labels of unlabelled patients are not read.
        config: size of the network's input, and its pixels in millimetres if they are given.
        interpolation: how images are resized; labels are always resized nearest-neighbour.

    Raises:
        InputError: a file of the store is damaged.
    """
    known, others = store.training_slices(split)
    slices = known + others
    images, labels, cases = [], [], []
    size = config.side
    labelled = {s.case for s in known}
    for number, name in enumerate(dict.fromkeys(s.case for s in slices)):
        zoom = store.zoom(name, config.spacing)
        image = to_network(torch.from_numpy(store.image(name)), size, interpolation, zoom)
        label = torch.full((len(image), size, size), IGNORED, dtype=torch.uint8)
        if name in labelled:
            codes = torch.from_numpy(store.label(name).astype(np.float32))[:, None]
            label = to_network(codes, size, "nearest", zoom)[:, 0].byte()
        images.append(image.half())
        labels.append(label)
        cases.append(torch.full((len(image),), number))
    return TrainingVolumes(
        torch.cat(images),
        torch.cat(labels),
        torch.arange(len(slices)) < len(known),
        torch.cat(cases),
        {index: row for row, index in enumerate(slices)},
    )
