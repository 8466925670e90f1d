"""Slices of any shape -> square inputs of the network -> labels on the slices' own grid.

Resized slices share their corner pixels with the square (aligned corners), as scipy.ndimage.zoom
does for the reference. With a `zoom`, the two grids share their middle pixels and the size of a
millimetre instead: parts of the slice outside the square are not seen, and labelled as background.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.imaging.slicing import Zoom

Interpolation = Literal["linear", "nearest"]


def to_network(images: Tensor, size: int, interpolation: Interpolation, zoom: Zoom) -> Tensor:
    """Return what the network sees, (B, C, size, size).

    Args:
        images: slices (B, C, H, W).
        size: side of the network's input, pixels.
        interpolation: how values between pixels are found.
        zoom: network pixels per pixel of the slice, see `zoom_of`.
    """
    if zoom is None:
        return resize(images, (size, size), interpolation)
    shape = images.shape[-2:]
    places = [_places(size, n, 1 / z) for n, z in zip(shape, zoom, strict=True)]
    return _sample(images, places, interpolation)


def crop_centre(size: int, shape: Tensor, zoom: Tensor) -> Tensor:
    """Return where the centre of the network's input lies in slices that are zoomed.

    Args:
        size: side of the network's input, pixels.
        shape: int64, extents of the slices along any axes, pixels.
        zoom: network pixels per pixel of the slice along the same axes.

    Returns:
        Positions in pixels of the slices, of the shape of `shape`; pixel 0 has its middle at 0.
    """
    return _place(torch.tensor((size - 1) / 2), size, shape, 1 / zoom)


def resize(images: Tensor, shape: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Resize images (B, C, H, W) to (B, C, *shape); `nearest` works for any dtype."""
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
    logits: Tensor, shape: tuple[int, int], interpolation: Interpolation, zoom: Zoom = None
) -> Tensor:
    """Return uint8 class maps (B, *shape) on the slices' own grid.

    Args:
        logits: (B, classes, h, w) of the network.
        shape: height and width of the slices.
        interpolation: `linear` interpolates the probabilities and then decides; `nearest` decides
            first, as the reference does.
        zoom: how the slices became inputs, see `zoom_of`.
    """
    if interpolation == "linear":
        return _winner(probabilities_from_logits(logits, shape, interpolation, zoom))[:, 0]
    labels = _winner(logits)
    if zoom is None:
        return resize(labels, shape, "nearest")[:, 0]
    return _sample(labels.float(), _back(labels, shape, zoom), "nearest")[:, 0].byte()


def _winner(scores: Tensor) -> Tensor:
    """Return the class of the largest score, the first of equal ones, as (B, 1, H, W) uint8.

    On a CPU, `max` takes an eighth of the time of `argmax`.
    """
    return scores.max(dim=1, keepdim=True).indices.byte()


def probabilities_from_logits(
    logits: Tensor, shape: tuple[int, int], interpolation: Interpolation, zoom: Zoom = None
) -> Tensor:
    """Return float32 probabilities (B, classes, *shape) on the slices' own grid.

    Args:
        logits: (B, classes, h, w) of the network.
        shape: height and width of the slices.
        interpolation: how the probabilities are interpolated.
        zoom: how the slices became inputs, see `zoom_of`.
    """
    probabilities = logits.float().softmax(dim=1)
    if zoom is None:
        return resize(probabilities, shape, interpolation)
    rows, columns = places = _back(logits, shape, zoom)
    found = _sample(probabilities, places, interpolation, padding="border")
    seen = _inside(rows, logits.shape[-2])[:, None] & _inside(columns, logits.shape[-1])
    background = torch.zeros_like(found[:1])
    background[:, 0] = 1
    return torch.where(seen.to(found.device), found, background)


def _places(target: int, source: int, step: float) -> Tensor:
    """Return where the pixels of a line of `target` lie on one of `source`, see `_place`."""
    return _place(torch.arange(target, dtype=torch.float64), target, source, step)


def _place(position: Tensor, target: int, source: int | Tensor, step: float | Tensor) -> Tensor:
    """Return where a position on one line of pixels lies on another, middle pixel on middle pixel.

    The middle of an even number is the later one, so that pixels of equal size lie on each other.

    Args:
        position: positions on the first line.
        target: number of pixels of the first line.
        source: number of pixels of the other line.
        step: pixels of the other line per pixel of the first.
    """
    return (position - target // 2) * step + source // 2


def _back(seen: Tensor, shape: tuple[int, int], zoom: tuple[float, float]) -> list[Tensor]:
    """Return where the rows and columns of a slice lie in what the network has seen."""
    sizes = seen.shape[-2:]
    return [_places(n, size, z) for n, size, z in zip(shape, sizes, zoom, strict=True)]


def _inside(places: Tensor, size: int) -> Tensor:
    return (places >= -0.5 - 1e-6) & (places <= size - 0.5 + 1e-6)


def _sample(
    images: Tensor,
    places: list[Tensor],
    interpolation: Interpolation,
    padding: Literal["zeros", "border"] = "zeros",
) -> Tensor:
    """Sample images at rows and columns that need not be whole numbers.

    Args:
        images: (B, C, H, W).
        places: the rows and the columns.
        interpolation: how values between pixels are found.
        padding: outside the images, zeros or the values of the border.
    """
    for dim, at in zip((-2, -1), places, strict=True):
        images = _sample_line(images, dim, at.to(images.device), interpolation, padding)
    return images


def _sample_line(
    images: Tensor, dim: int, places: Tensor, interpolation: Interpolation, padding: str
) -> Tensor:
    """Sample images along one dimension.

    Args:
        images: (B, C, H, W).
        dim: -2 for rows, -1 for columns.
        places: positions in pixels.
        interpolation: how values between pixels are found.
        padding: outside the images, zeros or the values of the border.
    """
    last = images.shape[dim] - 1
    shape = (-1, 1) if dim == -2 else (-1,)

    def at(index: Tensor) -> Tensor:
        found = images.index_select(dim, index.clamp(0, last).long())
        if padding == "border":
            return found
        inside = (index >= 0) & (index <= last)
        return found * inside.to(found.dtype).reshape(shape)

    # A place that is a whole number but for rounding is exactly that pixel.
    whole = places.round()
    places = torch.where((places - whole).abs() < 1e-6, whole, places)
    if interpolation == "nearest":
        return at((places + 0.5).floor())
    low = places.floor()
    share = (places - low).to(images.dtype).reshape(shape)
    return torch.lerp(at(low), at(low + 1), share)


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """Return the source index of each target pixel, corners aligned, halves rounded up."""
    scale = (source - 1) / (target - 1) if target > 1 else 0.0
    positions = torch.arange(target, dtype=torch.float64) * scale
    return (positions + 0.5).floor().long().to(device)
