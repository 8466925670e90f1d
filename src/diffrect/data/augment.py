"""Weak and strong views of a batch, made on the batch's device in one pass each.

The weak view changes geometry only; the strong view changes the weak view's intensities. All draws
are made with torch's CPU generator, which training seeds from (seed, rank, step).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.config import ViewOptions


@dataclass(frozen=True)
class RawBatch:
    """Slices as the store holds them, zero-padded to a common shape; labelled rows first.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        labels: (L, H, W) uint8 of the first L rows.
        shapes: (B, 2) int64, height and width of each slice before padding.
        cases: case id of each row.
        zooms: (B, 2) float32, network pixels per pixel of the slice in height and width; None where
            slices are resized to fit.
    """

    images: Tensor
    labels: Tensor
    shapes: Tensor
    cases: tuple[str, ...] = ()
    zooms: Tensor | None = None

    def to(self, device: torch.device) -> "RawBatch":
        """The same on another device; the shapes stay on the CPU."""
        return RawBatch(
            self.images.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.shapes,
            self.cases,
            self.zooms,
        )


def make_views(raw: RawBatch, size: int, options: ViewOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Weak view (B, C, size, size), strong view (same), labels (L, size, size) int64."""
    shapes = torch.full_like(raw.shapes, size) if raw.zooms is not None else raw.shapes
    grid = sampling_grid(raw, random_geometry(shapes, options), size)
    mode = "bilinear" if options.interpolation == "linear" else "nearest"
    weak = F.grid_sample(raw.images, grid, mode=mode, align_corners=True)
    labelled = len(raw.labels)
    labels = F.grid_sample(
        raw.labels[:, None].float(), grid[:labelled], mode="nearest", align_corners=True
    )
    if options.eight_bit:
        weak = eight_bit(weak)
    strong = change_intensities(weak, options)
    if options.eight_bit:
        strong = eight_bit(strong)
    return weak, strong, labels[:, 0].long()


def random_geometry(shapes: Tensor, options: ViewOptions) -> Tensor:
    """Per row a matrix (B, 2, 2), (x, y) order, from output to input in coordinates of [-1, 1].

    With `turn_probability` a random multiple of 90 degrees and a flip along a random axis, else a
    rotation by up to `rotation_degrees`, rigid on the slice's own pixels.
    """
    rows = len(shapes)
    quarter = torch.rand(rows) < options.turn_probability
    turns = torch.randint(4, (rows,)) * (math.pi / 2)
    flip = torch.randint(2, (rows,))
    angle = (torch.rand(rows) * 2 - 1) * math.radians(options.rotation_degrees)

    turned = rotation(turns)
    turned = turned.round()  # exact quarter turns
    turned[torch.arange(rows), flip] *= -1
    # a rotation of the slice's own pixels, seen in coordinates that both run from -1 to 1
    half = (shapes.flip(1).float() - 1).clamp(min=1) / 2  # (width, height)
    rotated = rotation(angle) * half[:, None, :] / half[:, :, None]
    return torch.where(quarter[:, None, None], turned, rotated)


def rotation(angle: Tensor) -> Tensor:
    """Rotation matrices (B, 2, 2) for angles (B,) in radians."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def sampling_grid(raw: RawBatch, geometry: Tensor, size: int) -> Tensor:
    """Where each output pixel looks in the padded slices: (B, size, size, 2) for grid_sample.

    Resizing, geometry and the removal of the padding are one affine map, so pixels are
    interpolated once.

    Resized, `geometry` maps to the slice's own coordinates. With zooms it maps the square of
    `size` pixels to itself, rigid in millimetres, and the slice's middle lies under its own.
    """
    # pixel = (u + 1) / 2 (extent - 1);  padded coordinate = 2 pixel / (padded - 1) - 1
    extent = (raw.shapes.flip(1).float() - 1).clamp(min=0)  # (B, 2): width, height
    padded = torch.tensor([raw.images.shape[-1] - 1, raw.images.shape[-2] - 1]).clamp(min=1)
    share = extent / padded
    if raw.zooms is not None:
        zooms = raw.zooms.flip(1)
        scale = (size - 1) / (zooms * padded)
        middle = ((size - 1) / 2 - size // 2) / zooms + raw.shapes.flip(1) // 2  # see `_places`
        theta = torch.cat([geometry * scale[..., None], (2 * middle / padded - 1)[..., None]], 2)
        shape = [len(raw.images), 1, size, size]
        return F.affine_grid(theta.to(raw.images), shape, align_corners=True)
    theta = torch.cat([geometry * share[:, :, None], (share - 1)[:, :, None]], dim=2)
    shape = [len(raw.images), 1, size, size]
    return F.affine_grid(theta.to(raw.images), shape, align_corners=True)


def change_intensities(images: Tensor, options: ViewOptions) -> Tensor:
    """Contrast, brightness and sharpness in random order per row, then blur; stays in [0, 1]."""
    rows, device = len(images), images.device
    # (3, B): which of the three comes first, second, third in each row
    order = torch.rand(3, rows).argsort(dim=0).to(device)
    factors = torch.empty(3, rows).uniform_(options.jitter_low, options.jitter_high)
    applied = torch.rand(3, rows) < options.jitter_probability
    factors = torch.where(applied, factors, 1.0).to(device)
    sigma = torch.rand(rows) * options.blur_sigma
    sigma = torch.where(torch.rand(rows) < 0.5, sigma, 0.0).to(device)
    for kind in order:
        factor = factors.gather(0, kind[None])[0][:, None, None, None]
        anchor = torch.stack(
            [
                images.mean(dim=(2, 3), keepdim=True).expand_as(images),  # contrast
                torch.zeros_like(images),  # brightness
                smooth(images),  # sharpness
            ]
        )
        anchor = anchor[kind, torch.arange(rows, device=device)]
        images = torch.lerp(anchor, images, factor).clamp(0, 1)
    return gaussian_blur(images, sigma, options.blur_sigma)


def smooth(images: Tensor) -> Tensor:
    """The 3 x 3 filter (1, 1, 1; 1, 5, 1; 1, 1, 1) / 13 that sharpness moves away from."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return (F.avg_pool2d(padded, 3, stride=1) * 9 + 4 * images) / 13


def gaussian_blur(images: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Separable Gaussian blur with a standard deviation per row (B,), in pixels; 0 = unchanged."""
    radius = math.ceil(3 * largest)
    if radius == 0:
        return images
    rows, channels, height, width = images.shape
    distance = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = images.reshape(1, rows * channels, height, width)
    flat = F.pad(flat, (radius, radius, 0, 0), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=rows * channels)
    flat = F.pad(flat, (0, 0, radius, radius), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=rows * channels)
    return flat.reshape(rows, channels, height, width)


def eight_bit(images: Tensor) -> Tensor:
    """[0, 1] cut to 256 levels."""
    return (images * 255).floor() / 255


def random_boxes(
    rows: int, labelled: int, size: int, options: ViewOptions
) -> tuple[Tensor, Tensor]:
    """CutMix into the unlabelled rows, from any other row (Yun et al., ICCV 2019).

    Returns:
        Where each row shows its partner, (B, size, size) bool, and the partner's row (B,). Labelled
        rows show nobody else, so their labels stay as they are.
    """
    area = torch.empty(rows).uniform_(0.02, options.cutmix_area)
    aspect = torch.empty(rows).uniform_(math.log(0.3), math.log(1 / 0.3)).exp()
    height = (area * aspect).sqrt().clamp(max=1) * size
    width = (area / aspect).sqrt().clamp(max=1) * size
    top, left = torch.rand(rows) * (size - height), torch.rand(rows) * (size - width)
    here = torch.rand(rows) < options.cutmix_probability
    here[:labelled] = False
    pixels = torch.arange(size) + 0.5
    inside_y = (pixels >= top[:, None]) & (pixels < (top + height)[:, None])
    inside_x = (pixels >= left[:, None]) & (pixels < (left + width)[:, None])
    pasted = inside_y[:, :, None] & inside_x[:, None, :] & here[:, None, None]
    others = torch.randint(1, max(rows, 2), (rows,))
    return pasted, (torch.arange(rows) + others) % rows
