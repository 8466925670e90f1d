"""Slices of any shape -> square inputs of the network -> labels on the slices' own grid.

Grids share their corner pixels (aligned corners), as scipy.ndimage.zoom does for the reference.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["linear", "nearest"]


def resize(images: Tensor, shape: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Images (B, C, H, W) -> (B, C, *shape); `nearest` works for any dtype."""
    if tuple(images.shape[-2:]) == shape:
        return images
    if interpolation == "linear":
        return F.interpolate(images, shape, mode="bilinear", align_corners=True)
    rows, columns = (
        _nearest(source, target, images.device)
        for source, target in zip(images.shape[-2:], shape, strict=True)
    )
    return images[..., rows[:, None], columns]


def labels_from_logits(
    logits: Tensor, shape: tuple[int, int], interpolation: Interpolation
) -> Tensor:
    """Logits (B, classes, h, w) -> uint8 class maps (B, *shape).

    `linear` interpolates the probabilities and then decides; `nearest` decides first, as the
    reference.
    """
    if interpolation == "nearest":
        return resize(logits.argmax(dim=1, keepdim=True).to(torch.uint8), shape, "nearest")[:, 0]
    probabilities = logits.float().softmax(dim=1)
    return resize(probabilities, shape, "linear").argmax(dim=1).to(torch.uint8)


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """Source index of each target pixel, corners aligned, halves rounded up."""
    scale = (source - 1) / (target - 1) if target > 1 else 0.0
    positions = torch.arange(target, dtype=torch.float64) * scale
    return (positions + 0.5).floor().long().to(device)
