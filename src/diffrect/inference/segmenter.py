"""A network over slices, a few at a time: the only loop of its kind.

Validation, evaluation, prediction, the estimate of a comparison and the demo all go through it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from diffrect.imaging.resample import Interpolation, labels_from_logits, to_network
from diffrect.imaging.slicing import Zoom, zoom_of
from diffrect.networks.folding import slices_at_once


class Slices(Protocol):
    """Slices (Z, C, H, W) of float32, normalised as the network was trained; an array is one."""

    def __len__(self) -> int:
        """Return the number of slices, Z."""

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Return some of the slices."""


@dataclass(frozen=True)
class Segmenter:
    """A network that labels slices of any shape.

    Attributes:
        network: images (B, C, size, size) -> logits (B, classes, size, size), in eval mode.
        size: side of the network's input in pixels.
        interpolation: how slices become the network's input and its output becomes labels, see
            `ViewOptions.interpolation`.
        spacing: mm per pixel of the network's input, to which slices are resampled; None resizes
            whole slices.
        device: where the network is.
        half: whether the network computes in half precision inside.
    """

    network: nn.Module
    size: int
    interpolation: Interpolation
    spacing: float | None
    device: torch.device
    half: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the network's input; float32 for an exported one, without parameters."""
        return next((p.dtype for p in self.network.parameters()), torch.float32)

    @property
    def at_once(self) -> int:
        """Slices per forward pass for the least time per slice."""
        return slices_at_once(self.size, self.device, half=self.half)

    def zoom(self, spacing: tuple[float, float, float] | None, name: str) -> Zoom:
        """Return how slices of a volume become the network's input.

        Args:
            spacing: millimetres between slices, rows and columns; None if unknown.
            name: what the spacing belongs to, for the message.

        Raises:
            InputError: the network wants resampled slices, and the spacing is unknown.
        """
        return zoom_of(spacing, self.spacing, name)

    def inputs(self, slices: np.ndarray, zoom: Zoom = None) -> Tensor:
        """Return slices (B, C, H, W) as the network sees them, (B, C, size, size)."""
        images = torch.from_numpy(slices).to(self.device, self.dtype)
        return to_network(images, self.size, self.interpolation, zoom)

    def logits(
        self, slices: Slices, zoom: Zoom = None, batch: int | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Run the network over slices, a few at a time.

        Args:
            slices: float32 (Z, C, H, W), intensities as the network was trained on.
            zoom: see `zoom`; None resizes.
            batch: slices per forward pass; None takes the number that is quickest.

        Yields:
            Which slices these are, and their logits (B, classes, size, size) on the device.
        """
        batch = batch or self.at_once
        for start in range(0, len(slices), batch):
            part = slice(start, start + batch)
            with torch.inference_mode():
                logits = self.network(self.inputs(slices[part], zoom))
            yield part, logits

    def labels(self, slices: np.ndarray, zoom: Zoom = None, batch: int | None = None) -> np.ndarray:
        """Return uint8 class maps (Z, H, W) of slices (Z, C, H, W), on the slices' own grid.

        Args:
            slices: see `logits`, as `zoom` and `batch`.
            zoom: see `logits`.
            batch: see `logits`.
        """
        rows, columns = slices.shape[-2:]
        parts = [
            labels_from_logits(logits, (rows, columns), self.interpolation, zoom).cpu().numpy()
            for _, logits in self.logits(slices, zoom, batch)
        ]
        return np.concatenate(parts)
