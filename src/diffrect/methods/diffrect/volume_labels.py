"""Pseudo-labels of whole volumes: the teacher's, and how they were corrected.

Every so often the teacher labels all training slices. From these labels come the context of a slice
(its neighbours' labels, and the mean label of its volume, which says where in it the organ lies),
the coarse labels of earlier teachers, and the targets of unlabelled slices: the teacher's label
reduced to the largest connected part of each class in the volume.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.data.batch import Batch
from diffrect.data.volumes import TrainingVolumes
from diffrect.imaging.components import keep_largest_components
from diffrect.labels import IGNORED
from diffrect.methods.diffrect.label_errors import warp_labels

AT_ONCE = 16  # slices in one pass through a network


class Surroundings(NamedTuple):
    """The context of slices, on the CPU."""

    images: Tensor
    """(B, slices, C, H, W) float32, the slice's own first; zeros outside of the volume."""
    labels: Tensor
    """(B, slices, classes, H, W) float32: the neighbours' labels, then the volume's mean."""


class VolumeLabels(nn.Module):
    """The labels of all training slices, by the teacher and corrected.

    It is a module without parameters, so that checkpoints hold the labels, which cannot be made
    again when a training is resumed. It knows no slices until `attach` names them. Everything it
    holds is on the CPU.

    Args:
        classes: number of classes, background included.
        reach: neighbours on either side in the context of a slice.
        kept: how many earlier sets of labels are kept as examples of coarse labels.

    Attributes:
        history: class maps (N, H, W) uint8 of all slices, the present teacher's last.
        targets: class maps (N, H, W) uint8: the truth of labelled slices, and the teacher's
            largest parts elsewhere.
        corrected: the corrected class maps; None before `correct`.
        notes: numbers to report.
    """

    def __init__(self, classes: int, reach: int, kept: int = 2) -> None:
        super().__init__()
        self.classes, self.reach, self.kept = classes, reach, kept
        self.volumes: TrainingVolumes | None = None
        self.history: list[Tensor] = []
        self.means: list[Tensor] = []
        self.targets = torch.empty(0, dtype=torch.uint8)
        self.corrected: Tensor | None = None
        self.notes: dict[str, float] = {}

    def attach(self, volumes: TrainingVolumes) -> None:
        """Take the slices that there are."""
        self.volumes = volumes
        self.neighbours = volumes.neighbours(self.reach)

    @property
    def slices(self) -> TrainingVolumes:
        """The slices that `attach` was given."""
        assert self.volumes is not None
        return self.volumes

    def get_extra_state(self) -> dict[str, Any]:
        """Return the labels for a checkpoint."""
        return {"history": self.history, "corrected": self.corrected, "notes": self.notes}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the labels of a checkpoint back; without slices there is no use for them."""
        if self.volumes is not None:
            self.history, self.means = [], []
            for codes in state["history"]:
                self.remember(codes.cpu())
            corrected = state["corrected"]
            self.corrected = None if corrected is None else corrected.cpu()
            self.notes = state["notes"]

    # ---- made now and then --------------------------------------------------------------------

    def label_all(self, network: Callable[[Tensor], Tensor], like: Tensor) -> None:
        """Label all slices anew; they count as not corrected yet.

        Args:
            network: images (B, C, H, W) -> logits (B, classes, H, W).
            like: tensor of the device and type of the network.
        """
        rows = torch.arange(len(self.slices.case))
        self.remember(
            torch.cat([shares.argmax(1).byte() for _, shares in self.shares(rows, network, like)])
        )
        self.corrected = None

    @torch.no_grad()
    def shares(
        self, rows: Tensor, network: Callable[[Tensor], Tensor], like: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a network's probabilities of slices, a few at a time.

        Args:
            rows: the slices.
            network: images (B, C, H, W) -> logits (B, classes, H, W).
            like: tensor of the device and type of the network.

        Yields:
            Rows (B,) and their probabilities (B, classes, H, W), float16 on the CPU.
        """
        for part in rows.split(AT_ONCE):
            logits = network(channels_last(self.slices.images[part].to(like)))
            yield part, logits.float().softmax(dim=1).half().cpu()

    def remember(self, codes: Tensor) -> None:
        """Take labels of all slices (N, H, W) as the present teacher's."""
        case, known = self.slices.case, self.slices.labels
        means = [
            self.one_hot(codes[case == number]).mean(dim=0) for number in range(int(case[-1]) + 1)
        ]
        self.history = [*self.history[-self.kept :], codes]
        self.means = [*self.means[-self.kept :], torch.stack(means).half()]
        self.targets = torch.where(known == IGNORED, self.largest_parts(codes), known)

    def largest_parts(self, codes: Tensor) -> Tensor:
        """Return class maps (N, H, W) of all slices, only the largest part of a class per volume.

        Parts are connected in three dimensions; the others become background.
        """
        cleaned: np.ndarray = codes.numpy().copy()
        stops = np.cumsum(np.bincount(self.slices.case.numpy()))
        for volume in np.split(cleaned, stops[:-1]):
            keep_largest_components(volume)
        return torch.from_numpy(cleaned)

    def correct(self, better: Tensor) -> None:
        """Take class maps of all slices (N, H, W) as the corrected labels.

        The labels of the labelled patients' slices are not used.
        """
        others = ~self.slices.labelled
        before, after = self.history[-1][others], better[others]
        foreground = ((before > 0) | (after > 0)).sum().clamp(min=1)
        self.notes = {"rectifier_changed": float((before != after).sum() / foreground)}
        self.corrected = better

    # ---- used in every iteration --------------------------------------------------------------

    def shown(self, batch: Batch, fresh: Tensor) -> Tensor:
        """Return the corrected labels (U, H, W) of a batch's unlabelled rows, as its views show.

        A fresh label is corrected where it says what the volume's label said before its
        correction; elsewhere the teacher has changed its mind and is believed.

        Args:
            batch: the batch, whose `slices` and `geometry` are known.
            fresh: class maps (U, H, W), the teacher's of the unlabelled rows now.
        """
        assert self.corrected is not None
        assert batch.geometry is not None
        rows = [self.slices.rows[index] for index in batch.slices[batch.labelled :]]
        codes = torch.stack([self.history[-1][rows], self.corrected[rows]], dim=1)
        theta = F.pad(batch.geometry[batch.labelled :].float(), (0, 1)).to(fresh.device)
        grid = F.affine_grid(theta, list(codes.shape), align_corners=True)
        warped = warp_labels(self.one_hot(codes.to(fresh.device)), grid)
        before, after = warped.argmax(dim=2).unbind(1)
        return torch.where(fresh == before, after, fresh)

    def context(self, rows: Tensor, which: int = -1) -> Surroundings:
        """Return images and labels around slices.

        Args:
            rows: the slices (B,).
            which: index of the labels in `history`.
        """
        around = self.neighbours[rows]
        images = self.slices.images[around.clamp(min=0)].float()
        images[around < 0] = 0
        near = around[:, 1:]
        codes = self.history[which][near.clamp(min=0)]
        codes[near < 0] = 0
        mean = self.means[which][self.slices.case[rows]].float()
        return Surroundings(images, torch.cat([self.one_hot(codes), mean[:, None]], dim=1))

    def one_hot(self, codes: Tensor) -> Tensor:
        """Return class maps (..., H, W) as float32 (..., classes, H, W)."""
        return torch.stack([codes == code for code in range(self.classes)], dim=-3).float()


def channels_last(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) in the memory layout in which convolutions run fastest."""
    return images.contiguous(memory_format=torch.channels_last)
