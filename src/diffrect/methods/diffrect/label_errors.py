"""Label errors to learn from, as large as those that pseudo-labels of other patients have.

A teacher labels the few labelled patients' slices almost perfectly, so a rectifier trained on these
labels never meets the errors that it is for. Here labels become worse: the teacher sees changed
images, and labels are blurred, their classes grow, shrink, tear and change places over smooth
fields, and boxes of other rows are pasted in.

All draws are made with torch's CPU generator, whatever the device of the maps.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.data.view_options import ViewOptions
from diffrect.data.views import change_intensities, gaussian_blur


@dataclass(frozen=True)
class ErrorOptions:
    """How far examples differ from what they are made of; the values that were measured."""

    rotation_degrees: float = 25.0
    """Largest rotation, in degrees either way."""
    zoom: float = 0.3
    """Largest change of the size, as a natural logarithm."""
    shift: float = 0.12
    """Largest shift, as a share of half the slice."""
    elastic: float = 0.06
    """Largest standard deviation of a smooth displacement, as a share of half the slice."""
    gamma: float = 0.6
    """Largest exponent of the intensities, as a natural logarithm."""
    bias: float = 0.25
    """Largest standard deviation of a smooth brightness, as a natural logarithm."""
    noise: float = 0.06
    """Largest standard deviation of the noise of intensities in [0, 1]."""
    blur: float = 3.0
    """Largest standard deviation of a label's blur, in pixels."""
    field: float = 4.0
    """Largest standard deviation of the smooth fields that are added to log-probabilities."""
    paste: float = 0.3
    """Share of the rows that get a box of another row's labels."""


def random_grid(rows: int, size: int, options: ErrorOptions) -> Tensor:
    """Draw where the pixels of an example look in its slice.

    Args:
        rows: number of examples.
        size: height and width of the slices, pixels.
        options: how far they move.

    Returns:
        (rows, size, size, 2) in (x, y) order, coordinates of [-1, 1], for `grid_sample`.
    """
    angle = _around_zero(rows) * math.radians(options.rotation_degrees)
    scale = (_around_zero(rows) * options.zoom).exp()
    shift = _around_zero(rows, 2) * options.shift
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(rows, 2, 3)
    grid = F.affine_grid(theta, [rows, 1, size, size], align_corners=True)
    amount = options.elastic * torch.rand(rows, 1, 1, 1)
    return grid + (smooth_noise(rows, 2, 6, size) * amount).permute(0, 2, 3, 1)


def warp(maps: Tensor, grid: Tensor) -> Tensor:
    """Return maps (B, ..., H, W) seen through a grid per row, zero beyond their edges."""
    flat = maps.flatten(1, -3)
    return F.grid_sample(flat, grid.to(flat), align_corners=True).view(maps.shape)


def warp_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Return shares of classes (B, ..., classes, H, W) seen through a grid per row.

    Beyond the edges is background.
    """
    warped = warp(labels, grid)
    warped.select(-3, 0).add_(1 - warped.sum(dim=-3))
    return warped


def change_heavily(images: Tensor, views: ViewOptions, options: ErrorOptions) -> Tensor:
    """Return images with the strong view's changes, then gamma, a bias field and noise.

    Args:
        images: (B, C, H, W) in [0, 1].
        views: the strong view's changes of intensity.
        options: the others.

    Returns:
        Images of the same shape, in [0, 1].
    """
    rows = len(images)
    changed = change_intensities(images, views).clamp(0, 1)
    changed = changed ** (_around_zero(rows, 1, 1, 1) * options.gamma).exp().to(changed)
    amount = options.bias * torch.rand(rows, 1, 1, 1)
    changed = changed * (smooth_noise(rows, 1, 4, images.shape[-1]) * amount).exp().to(changed)
    noise = torch.randn(images.shape) * options.noise * torch.rand(rows, 1, 1, 1)
    return (changed + noise.to(changed)).clamp_(0, 1)


def spoil(labels: Tensor, options: ErrorOptions) -> Tensor:
    """Return labels with errors, which are much alike in the labels of one row.

    Args:
        labels: shares of classes (B, count, classes, H, W).
        options: how large the errors are.
    """
    rows, count, classes, _, size = labels.shape
    spoilt = torch.empty_like(labels)
    for row, label in enumerate(labels):
        sigma = float(torch.rand(())) * options.blur
        if sigma > 0.3:
            label = gaussian_blur(label.flatten(0, 1), sigma).view_as(label)
        cells, amount = int(torch.randint(3, 9, ())), float(torch.rand(())) * options.field
        common = smooth_noise(1, classes, cells, size)
        own = smooth_noise(count, classes, cells, size)
        offset = torch.randn(1, classes, 1, 1) * 0.4
        offset[:, 0] = 0
        field = (0.8 * common + 0.6 * own + offset) * amount
        spoilt[row] = ((label + 1e-3).log() + field.to(label)).softmax(dim=1)
    for row in range(rows):
        if torch.rand(()) < options.paste:
            _paste_box(spoilt[row], labels[int(torch.randint(rows, ()))])
    return spoilt


def smooth_noise(rows: int, channels: int, cells: int, size: int) -> Tensor:
    """Draw smooth noise from a grid of standard normal numbers.

    Args:
        rows: number of rows.
        channels: number of channels.
        cells: numbers along each axis of the grid.
        size: height and width of the result, pixels.

    Returns:
        (rows, channels, size, size) on the CPU.
    """
    coarse = torch.randn(rows, channels, cells, cells)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)


def _paste_box(labels: Tensor, others: Tensor) -> None:
    """Put a box of `others` (count, classes, H, W) into all of `labels` or the first, in place."""
    size = labels.shape[-1]
    height, width = (round(size * float(share)) for share in torch.empty(2).uniform_(0.12, 0.45))
    top, from_top = (int(y) for y in torch.randint(size - height, (2,)))
    left, from_left = (int(x) for x in torch.randint(size - width, (2,)))
    last = 1 if torch.rand(()) < 0.5 else len(labels)
    labels[:last, :, top : top + height, left : left + width] = others[
        :last, :, from_top : from_top + height, from_left : from_left + width
    ]


def _around_zero(*shape: int) -> Tensor:
    return torch.rand(shape) * 2 - 1
