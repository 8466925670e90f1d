"""Make the weak and strong views of a batch, on the batch's device and in one pass each.

The weak view changes geometry only; the strong view changes the weak view's intensities. All draws
are made with torch's CPU generator, which training seeds from (seed, rank, step).
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from diffrect.data.batch import Batch, RawBatch
from diffrect.data.record import SliceIndex
from diffrect.data.view_options import ViewOptions
from diffrect.imaging.resample import Interpolation, crop_centre, to_network
from diffrect.plugins.views import own_strong_view, own_weak_view


def make_batch(
    raw: RawBatch, size: int, options: ViewOptions, dtype: torch.dtype, strong_views: int = 1
) -> Batch:
    """Return the weak view and up to two strong ones, on the slices' device, channels last.

    Args:
        raw: the slices.
        size: height and width of the views, pixels.
        options: how views are made.
        dtype: number type of the views.
        strong_views: how many strong views the method reads, 0 to 2; with 0, `Batch.strong` is the
            weak view.
    """
    geometry = draw_geometry(raw, size, options)
    weak, label = weak_view(raw, geometry, size, options)
    if options.weak_view is not None:
        weak, label = own_weak_view(options.weak_view, weak, label)
    shown = weak.to(dtype).contiguous(memory_format=torch.channels_last)
    slices = tuple(map(SliceIndex, raw.cases, raw.positions))
    plain = Batch(shown, shown, label, slices=slices, geometry=geometry)
    views = [_with_strong(plain, weak, options) for _ in range(strong_views)]
    if not views:
        return plain
    return views[0] if len(views) == 1 else replace(views[0], second=views[1])


def _with_strong(plain: Batch, weak: Tensor, options: ViewOptions) -> Batch:
    """Return the rows with a new strong view, with boxes pasted in if the options ask for them."""
    strong = strong_view(weak, options).to(plain.weak.dtype)
    pasted = partner = None
    if options.cutmix_probability:
        pasted, partner = random_boxes(len(weak), plain.labelled, weak.shape[-1], options)
        pasted, partner = pasted.to(weak.device), partner.to(weak.device)
        strong = torch.where(pasted[:, None], strong[partner], strong)
    strong = strong.contiguous(memory_format=torch.channels_last)
    return replace(plain, strong=strong, pasted=pasted, partner=partner)


def draw_geometry(raw: RawBatch, size: int, options: ViewOptions) -> Tensor:
    """Draw how each row is turned, see `Batch.geometry`."""
    if options.geometry == "authors":
        return authors_geometry(len(raw.images))
    shapes = torch.full_like(raw.shapes, size) if raw.zooms is not None else raw.shapes
    return random_geometry(shapes, options)


def weak_view(
    raw: RawBatch, geometry: Tensor, size: int, options: ViewOptions
) -> tuple[Tensor, Tensor]:
    """Return resized slices (B, C, size, size), turned or rotated, and labels (L, size, size).

    Args:
        raw: the slices.
        geometry: (B, 2, 2), see `draw_geometry`.
        size: height and width of the view, pixels.
        options: how views are made.

    Returns:
        The images in [0, 1], and the labels of the labelled rows as int64.
    """
    if options.geometry == "authors":
        raw = _resized(raw, size, options.interpolation)
    grid = sampling_grid(raw, geometry, size)
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
    """Return the weak view with changed intensities, before boxes of other rows are pasted in."""
    if options.strong_view is None:
        strong = change_intensities(weak, options)
    else:
        strong = own_strong_view(options.strong_view, weak)
    return eight_bit(strong) if options.eight_bit else strong


def random_geometry(shapes: Tensor, options: ViewOptions) -> Tensor:
    """Draw a matrix per row that maps output to input, in coordinates of [-1, 1].

    With `turn_probability` it is a multiple of 90 degrees and a flip along a random axis. Else it
    is, with `rotation_probability`, a rotation by up to `rotation_degrees`, rigid on the slice's
    own pixels. With `scale_range` the slice's axes are then enlarged or shrunk, both alike but for
    a fifth of it.

    Args:
        shapes: (B, 2) int64, height and width of each slice.
        options: how views are made.

    Returns:
        (B, 2, 2) in (x, y) order.
    """
    rows = len(shapes)
    quarter = torch.rand(rows) < options.turn_probability
    turns = torch.randint(4, (rows,)) * (math.pi / 2)
    flip = torch.randint(2, (rows,))
    angle = (torch.rand(rows) * 2 - 1) * math.radians(options.rotation_degrees)
    if options.rotation_probability < 1:  # nothing is drawn without it
        angle = angle * (torch.rand(rows) < options.rotation_probability)

    turned = rotation(turns)
    turned = turned.round()  # exact quarter turns
    turned[torch.arange(rows), flip] *= -1
    # Rotate the slice's own pixels, in coordinates that run from -1 to 1 along both axes.
    half = (shapes.flip(1).float() - 1).clamp(min=1) / 2  # (width, height)
    rotated = rotation(angle) * half[:, None, :] / half[:, :, None]
    geometry = torch.where(quarter[:, None, None], turned, rotated)
    if options.scale_range:  # nothing is drawn without it
        both = (torch.rand(rows, 1) * 2 - 1) * options.scale_range
        each = (torch.rand(rows, 2) * 2 - 1) * options.scale_range / 5
        geometry = geometry * (both + each).exp()[:, :, None]
    return geometry


def authors_geometry(rows: int) -> Tensor:
    """Draw the authors' flips and rotations of square slices, as matrices like `random_geometry`'s.

    Flips left-right and up-down have probability 0.5 each. Then, with probability 0.5, comes a
    counter-clockwise rotation about the centre by a whole number of degrees from 0 to 358.

    Args:
        rows: number of matrices.

    Returns:
        (rows, 2, 2) in (x, y) order, a flip of what a rotation reads.
    """
    flips = 1 - 2 * torch.randint(2, (rows, 2))
    turned = torch.rand(rows) < 0.5
    degrees = torch.randint(359, (rows,)) * turned
    return flips[:, :, None] * rotation(degrees.float().deg2rad())


def _resized(raw: RawBatch, size: int, interpolation: Interpolation) -> RawBatch:
    """Return slices that are resized, or cropped with their zooms, before any geometry."""
    images, labels = [], []
    for row, (height, width) in enumerate(raw.shapes.tolist()):
        zoom = None if raw.zooms is None else (float(raw.zooms[row, 0]), float(raw.zooms[row, 1]))
        image = raw.images[row : row + 1, :, :height, :width]
        images.append(to_network(image, size, interpolation, zoom))
        if row < len(raw.labels):
            label = raw.labels[row : row + 1, None, :height, :width].float()
            labels.append(to_network(label, size, "nearest", zoom)[:, 0])
    return replace(
        raw,
        images=torch.cat(images),
        labels=torch.cat(labels),
        shapes=torch.full_like(raw.shapes, size),
        zooms=None,
    )


def rotation(angle: Tensor) -> Tensor:
    """Return rotation matrices (B, 2, 2) for angles (B,) in radians."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def sampling_grid(raw: RawBatch, geometry: Tensor, size: int) -> Tensor:
    """Return where each output pixel looks in the padded slices, for `grid_sample`.

    Resizing, geometry and the removal of the padding are one affine map, so pixels are
    interpolated once.

    Args:
        raw: the slices. Without zooms they are resized, and `geometry` maps to the slice's own
            coordinates. With zooms it maps the square of `size` pixels to itself, rigid in
            millimetres, and the middle of the square lies on the middle of the slice.
        geometry: (B, 2, 2), see `random_geometry`.
        size: height and width of the output, pixels.

    Returns:
        (B, size, size, 2), coordinates of [-1, 1] in (x, y) order.
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
    """Change contrast, brightness and sharpness in random order per row, then blur.

    It goes row by row, and so does only the work that was drawn for a row.

    Args:
        images: (B, C, H, W) in [0, 1].
        options: how views are made.

    Returns:
        Images of the same shape, in [0, 1].
    """
    rows = len(images)
    order = torch.rand(3, rows).argsort(dim=0)  # (3, B): which of the three comes when
    factors = torch.empty(3, rows).uniform_(options.jitter_low, options.jitter_high)
    applied = torch.rand(3, rows) < options.jitter_probability
    sigma = torch.rand(rows) * options.blur_sigma
    blurred = torch.rand(rows) < options.blur_probability
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
    """Move an image (C, H, W) away from (factor > 1) or towards the mean of each channel."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    return (image - mean).mul_(factor).add_(mean)


def change_brightness(image: Tensor, factor: float) -> Tensor:
    """Move an image away from (factor > 1) or towards black."""
    return image * factor


def change_sharpness(image: Tensor, factor: float) -> Tensor:
    """Move an image (C, H, W) away from (factor > 1) or towards the smoothed image."""
    return smooth(image).lerp_(image, factor)


_CHANGES = (change_contrast, change_brightness, change_sharpness)


def smooth(image: Tensor) -> Tensor:
    """Filter an image (C, H, W) by (1, 1, 1; 1, 5, 1; 1, 1, 1) / 13; edges are repeated."""
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    columns = padded[:, :-2] + padded[:, 1:-1]
    columns += padded[:, 2:]
    box = columns[:, :, :-2] + columns[:, :, 1:-1]
    box += columns[:, :, 2:]
    return box.add_(image, alpha=4).div_(13)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur an image (C, H, W) by a Gaussian of `sigma` pixels, cut at 3 sigma; edges repeat."""
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
    """Round images in [0, 1] down to 256 levels."""
    return (images * 255).floor() / 255


def random_boxes(
    rows: int, labelled: int, size: int, options: ViewOptions
) -> tuple[Tensor, Tensor]:
    """Draw a box per unlabelled row that will show another row (CutMix; Yun et al., ICCV 2019).

    Args:
        rows: number of rows, B.
        labelled: number of labelled rows, which come first.
        size: height and width of the images, pixels.
        options: how views are made.

    Returns:
        Where each row shows its partner, (B, size, size) bool, and the partner's row, (B,) int64.
        Labelled rows show no other row, so their labels stay as they are.
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
