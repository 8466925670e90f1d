"""Pseudo-labels of whole volumes: the teacher's, and how they were corrected.

Every so often the teacher labels all training slices. From these labels come the context of a slice
(its neighbours' labels, and the mean label of its volume, which says where in it the organ lies),
the coarse labels of earlier teachers, and the targets of unlabelled slices: the teacher's label
reduced to the largest connected part of each class that is one part, see `largest_parts.py`.

Of several processes each labels its share of the slices, and all have the same labels afterwards.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.data.batch import Batch
from diffrect.data.packed import Packed, pack
from diffrect.data.volumes import TrainingVolumes
from diffrect.distributed.ranks import joined
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.diffrect.label_errors import warp_labels
from diffrect.methods.diffrect.largest_parts import LargestPart, LargestParts

AT_ONCE = 16  # slices in one pass through a network, at most
PIECE = 2**26  # shares of classes in memory at a time, at most; more is done piece by piece


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
    holds is on the CPU, and compressed.

    Args:
        classes: number of classes, background included.
        reach: neighbours on either side in the context of a slice.
        largest_part: whether classes are reduced to their largest part, see `LargestParts`.
        least_part: share of the largest part's size from which on other parts stay.
        joined: whether one connected part of the foreground is kept, see `LargestParts`.
        kept: how many earlier sets of labels are kept as examples of coarse labels.

    Attributes:
        history: class maps (N, H, W) uint8 of all slices, the present teacher's last.
        means: for each of these the mean (classes, H, W) float16 of each volume's labels.
        targets: class maps (N, H, W) uint8: the truth of labelled slices, and the teacher's
            reduced labels elsewhere.
        corrected: the corrected class maps; None before `correct`.
        notes: numbers to report.
    """

    def __init__(
        self,
        classes: int,
        reach: int,
        largest_part: LargestPart = True,
        least_part: float = 1.0,
        joined: LargestPart = False,
        kept: int = 2,
    ) -> None:
        super().__init__()
        self.classes, self.reach, self.kept = classes, reach, kept
        self.largest_part, self.least_part, self.joined = largest_part, least_part, joined
        self.volumes: TrainingVolumes | None = None
        self.history: list[Packed] = []
        self.means: list[Packed] = []
        self.targets: Packed | None = None
        self.corrected: Packed | None = None
        self.notes: dict[str, float] = {}

    def attach(self, volumes: TrainingVolumes) -> None:
        """Take the slices that there are."""
        self.volumes = volumes
        self.neighbours = volumes.neighbours(self.reach)
        known = (volumes.labels[rows] for rows in volumes.cases() if volumes.labelled[rows[0]])
        self.parts = LargestParts(
            self.largest_part, self.classes, known, self.least_part, self.joined
        )

    @property
    def slices(self) -> TrainingVolumes:
        """The slices that `attach` was given."""
        assert self.volumes is not None
        return self.volumes

    @property
    def at_once(self) -> int:
        """How many rows' labels and context are in memory at a time."""
        size = self.slices.labels.shape[1:].numel()
        return max(1, PIECE // ((2 + 2 * self.reach) * self.classes * size))

    def get_extra_state(self) -> dict[str, Any]:
        """Return the labels for a checkpoint."""
        return {
            "history": [codes.state() for codes in self.history],
            "corrected": None if self.corrected is None else self.corrected.state(),
            "notes": self.notes,
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the labels of a checkpoint back; without slices there is no use for them."""
        if self.volumes is not None:
            self.history, self.means = [], []
            for codes in state["history"]:
                self.remember(Packed.from_state(codes, torch.uint8))
            corrected = state["corrected"]
            self.corrected = (
                None if corrected is None else Packed.from_state(corrected, torch.uint8)
            )
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
            self.packed(self.labelled_by(network, like, rows, lambda _, own: own.argmax(1)))
        )
        self.corrected = None

    @torch.no_grad()
    def labelled_by(
        self,
        network: Callable[[Tensor], Tensor],
        like: Tensor,
        rows: Tensor,
        decide: Callable[[Tensor, Tensor], Tensor],
    ) -> list[bytes]:
        """Return packed class maps of slices, of which each process makes its share.

        Args:
            network: images (B, C, H, W) -> logits (B, classes, H, W).
            like: tensor of the device and type of the network.
            rows: the slices.
            decide: rows (B,) and the network's probabilities of them (B, classes, H, W) -> class
                maps (B, H, W).
        """

        def make(part: Tensor) -> list[bytes]:
            return pack(decide(part, self.shares(part, network, like)).byte().cpu())

        return _shared_out(rows.split(min(AT_ONCE, self.at_once)), make)

    @torch.no_grad()
    def shares(self, rows: Tensor, network: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
        """Return a network's probabilities of some slices, (B, classes, H, W) float16 on the CPU.

        Args:
            rows: the slices (B,).
            network: images (B, C, H, W) -> logits (B, classes, H, W).
            like: tensor of the device and type of the network.
        """
        logits = network(channels_last(self.slices.images[rows].to(like)))
        return logits.float().softmax(dim=1).half().cpu()

    def remember(self, codes: Packed) -> None:
        """Take labels of all slices (N, H, W) as the present teacher's."""
        cases = self.slices.cases()
        means = _shared_out(cases, lambda rows: pack(self.mean(codes[rows])[None]))
        targets = _shared_out(cases, lambda rows: pack(self.target(rows, codes[rows])))
        shape = (self.classes, *codes.shape[1:])
        self.history = [*self.history[-self.kept :], codes]
        self.means = [*self.means[-self.kept :], Packed(means, shape, torch.float16)]
        self.targets = self.packed(targets)

    def mean(self, volume: Tensor) -> Tensor:
        """Return the mean label (classes, H, W) float16 of class maps (Z, H, W)."""
        mean = torch.zeros(self.classes, *volume.shape[1:], dtype=torch.float16)
        for code in volume.flatten().bincount().nonzero()[:, 0].tolist():
            mean[code] = (volume == code).float().mean(dim=0).half()
        return mean

    def target(self, rows: Tensor, volume: Tensor) -> Tensor:
        """Return a volume's targets (Z, H, W), given the teacher's label of it."""
        known = self.slices.labels[rows]
        return torch.where(known == IGNORED, self.parts.reduce(volume), known)

    def reduced(self, codes: Packed) -> Packed:
        """Return class maps (N, H, W) of all slices, reduced in the unlabelled volumes."""

        def make(rows: Tensor) -> list[bytes]:
            return pack(self.parts.reduce(codes[rows]))

        cases = [rows for rows in self.slices.cases() if not self.slices.labelled[rows[0]]]
        if not cases or not self.parts.removes:
            return codes
        return codes.replaced(torch.cat(cases), _shared_out(cases, make))

    def correct(self, better: Packed) -> None:
        """Take class maps of all slices (N, H, W) as the corrected labels.

        The labels of the labelled patients' slices are not used.
        """
        self.notes = {"rectifier_changed": self.compared(better)[0]}
        self.corrected = better

    def compared(self, codes: Packed) -> tuple[float, float]:
        """Return how far class maps (N, H, W) are from the present teacher's, on unlabelled slices.

        Returns:
            The share of foreground pixels (of either) that differ, and the mean Dice, in [0, 1], of
            the classes that there are.
        """
        pairs = torch.zeros(self.classes**2, dtype=torch.int64)
        for rows in (~self.slices.labelled).nonzero()[:, 0].split(AT_ONCE):
            both = self.history[-1][rows].long() * self.classes + codes[rows]
            pairs += both.flatten().bincount(minlength=len(pairs))
        table = pairs.view(self.classes, self.classes)  # from the teacher's class to the other
        foreground = (table.sum() - table[0, 0]).clamp(min=1)
        sizes = (table.sum(dim=0) + table.sum(dim=1))[1:]
        dice = 2 * table.diagonal()[1:] / sizes
        changed = float((table.sum() - table.trace()) / foreground)
        return changed, float(dice[sizes > 0].mean()) if sizes.any() else 1.0

    def noted(self, name: str, rows: Packed) -> dict[str, float]:
        """Return what `compared` finds as notes."""
        changed, agreement = self.compared(rows)
        return {f"{name}_changed": changed, f"{name}_agreement": agreement}

    def packed(self, rows: Sequence[bytes]) -> Packed:
        """Return packed class maps as those of all slices."""
        return Packed(rows, self.slices.labels.shape[1:], torch.uint8)

    # ---- used in every iteration --------------------------------------------------------------

    def shown(self, batch: Batch, fresh: Tensor) -> Tensor:
        """Return the corrected labels (U, H, W) of a batch's unlabelled rows, as its views show.

        A fresh label is corrected where it says what the volume's label said before its
        correction; elsewhere the teacher has changed its mind and is believed.

        Args:
            batch: the batch, whose `slices` and `geometry` are known.
            fresh: class maps (U, H, W), the teacher's of the unlabelled rows now.
        """
        assert batch.geometry is not None
        rows = torch.tensor([self.slices.rows[index] for index in batch.slices[batch.labelled :]])
        geometry = batch.geometry[batch.labelled :].float()
        pieces = (x.split(self.at_once) for x in (rows, geometry, fresh))
        return torch.cat([self._shown(*piece) for piece in zip(*pieces, strict=True)])

    def _shown(self, rows: Tensor, geometry: Tensor, fresh: Tensor) -> Tensor:
        """Return `shown` of some rows (B,), seen through `geometry` (B, 2, 2)."""
        assert self.corrected is not None
        codes = torch.stack([self.history[-1][rows], self.corrected[rows]], dim=1)
        theta = F.pad(geometry, (0, 1)).to(fresh.device)
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


def _shared_out(parts: Sequence[Tensor], make: Callable[[Tensor], list[bytes]]) -> list[bytes]:
    """Return what is made of all parts, in their order; each process makes its share of them."""
    ranks = joined()
    made = ranks.gather([make(part) for part in ranks.share(parts)])
    return [row for rows in made for row in rows]
