"""Weak and strong views of a batch, made on the batch's device in one pass each.

The weak view changes geometry only; the strong view changes the weak view's intensities. All draws
are made with torch's CPU generator, which training seeds from (seed, rank, step).
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.config import ViewOptions
from diffrect.data.batch import Batch, RawBatch
from diffrect.imaging.resample import crop_centre


def make_batch(
    raw: RawBatch, size: int, options: ViewOptions, dtype: torch.dtype, strong_views: int = 1
) -> Batch:
    """The weak view and up to two strong ones, on the slices' device, in channels-last layout."""
    weak, label = weak_view(raw, size, options)
    shown = weak.to(dtype).contiguous(memory_format=torch.channels_last)
    plain = Batch(shown, shown, label)
    views = [_with_strong(plain, weak, options) for _ in range(strong_views)]
    if not views:
        return plain
    return views[0] if len(views) == 1 else replace(views[0], second=views[1])


def _with_strong(plain: Batch, weak: Tensor, options: ViewOptions) -> Batch:
    """The same rows with a strong view of their own, and with boxes pasted in where asked for."""
    strong = strong_view(weak, options).to(plain.weak.dtype)
    pasted = partner = None
    if options.cutmix_probability:
        pasted, partner = random_boxes(len(weak), plain.labelled, weak.shape[-1], options)
        pasted, partner = pasted.to(weak.device), partner.to(weak.device)
        strong = torch.where(pasted[:, None], strong[partner], strong)
    strong = strong.contiguous(memory_format=torch.channels_last)
    return replace(plain, strong=strong, pasted=pasted, partner=partner)


def weak_view(raw: RawBatch, size: int, options: ViewOptions) -> tuple[Tensor, Tensor]:
    """Resized slices (B, C, size, size), turned or rotated, and their labels (L, size, size)."""
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
    return weak, labels[:, 0].long()


def strong_view(weak: Tensor, options: ViewOptions) -> Tensor:
    """The weak view with changed intensities, before boxes of other rows are pasted in."""
    strong = change_intensities(weak, options)
    return eight_bit(strong) if options.eight_bit else strong


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
        middle = crop_centre(size, raw.shapes.flip(1), zooms)
        theta = torch.cat([geometry * scale[..., None], (2 * middle / padded - 1)[..., None]], 2)
        shape = [len(raw.images), 1, size, size]
        return F.affine_grid(theta.to(raw.images), shape, align_corners=True)
    theta = torch.cat([geometry * share[:, :, None], (share - 1)[:, :, None]], dim=2)
    theta = theta.to(raw.images)[:, None, None]  # (B, 1, 1, 2, 3)
    side = torch.linspace(-1, 1, size, device=theta.device) if size > 1 else theta.new_zeros(1)
    across = theta[..., 0] * side[:, None]  # (B, 1, size, 2): what a step along a row adds
    down = theta[..., 1] * side[:, None, None] + theta[..., 2]  # (B, size, 1, 2)
    return across + down


def change_intensities(images: Tensor, options: ViewOptions) -> Tensor:
    """Contrast, brightness and sharpness in random order per row, then blur; stays in [0, 1].

    Row by row, because that does only the work that was drawn for a row.
    """
    rows = len(images)
    order = torch.rand(3, rows).argsort(dim=0)  # (3, B): which of the three comes when
    factors = torch.empty(3, rows).uniform_(options.jitter_low, options.jitter_high)
    applied = torch.rand(3, rows) < options.jitter_probability
    sigma = torch.rand(rows) * options.blur_sigma
    blurred = torch.rand(rows) < 0.5
    changed = torch.empty_like(images)
    for row, image in enumerate(images):
        for kind in order[:, row].tolist():
            if applied[kind, row]:
                image = _CHANGES[kind](image, float(factors[kind, row])).clamp_(0, 1)
        if blurred[row]:
            image = gaussian_blur(image, float(sigma[row]))
        changed[row] = image
    return changed


def change_contrast(image: Tensor, factor: float) -> Tensor:
    """Away from (factor > 1) or towards the mean of each channel (C, H, W)."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    return (image - mean).mul_(factor).add_(mean)


def change_brightness(image: Tensor, factor: float) -> Tensor:
    """Away from or towards black."""
    return image * factor


def change_sharpness(image: Tensor, factor: float) -> Tensor:
    """Away from or towards the smoothed image."""
    return smooth(image).lerp_(image, factor)


_CHANGES = (change_contrast, change_brightness, change_sharpness)


def smooth(image: Tensor) -> Tensor:
    """(C, H, W) through the filter (1, 1, 1; 1, 5, 1; 1, 1, 1) / 13; edges are repeated."""
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    columns = padded[:, :-2] + padded[:, 1:-1]
    columns += padded[:, 2:]
    box = columns[:, :, :-2] + columns[:, :, 1:-1]
    box += columns[:, :, 2:]
    return box.add_(image, alpha=4).div_(13)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """(C, H, W) blurred by a Gaussian of `sigma` pixels, cut at three of them; edges repeated."""
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return image
    distance = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2)
    weights = (kernel / kernel.sum()).tolist()
    for dim, sides in ((2, (radius, radius, 0, 0)), (1, (0, 0, radius, radius))):
        padded = F.pad(image[None], sides, mode="replicate")[0]
        length = image.shape[dim]
        image = padded.narrow(dim, radius, length) * weights[radius]
        for i in range(radius):
            pair = padded.narrow(dim, i, length) + padded.narrow(dim, 2 * radius - i, length)
            image.add_(pair, alpha=weights[i])
    return image


def eight_bit(images: Tensor) -> Tensor:
    """[0, 1] cut to 256 levels."""
    return (images * 255).floor() / 255


def random_boxes(
    rows: int, labelled: int, size: int, options: ViewOptions
) -> tuple[Tensor, Tensor]:
    """CutMix into the unlabelled rows, from another row (Yun et al., ICCV 2019).

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
    first = labelled if options.cutmix_from == "unlabelled" else 0
    others = torch.randint(1, max(rows - first, 2), (rows,))
    return pasted, first + (torch.arange(rows) - first + others) % max(rows - first, 1)
