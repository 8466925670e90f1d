"""Label Context Calibration (LCC): how a label map enters the rectifier.

DiffRect, Sec. 2.1: semantic colouring (SCS) turns a class map into an image, and the calibration
guidance (CG) measures how far two label maps are apart.
"""

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REFERENCE_PALETTE = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
GUIDANCE_SCALE = 999.0
TwoClasses = Literal["black_red", "black_white"]


@cache
def palette(
    classes: int, two_classes: TwoClasses = "black_red"
) -> tuple[tuple[float, float, float], ...]:
    """Return RGB colours in [0, 1], one per class, as far apart as they can be.

    The first four are the reference's (black, red, green, blue). Each further one is the point of a
    grid over the colour cube that lies farthest from all colours before it; the grid is refined
    until it holds enough points, so any number of classes gets distinct colours. For two classes
    the reference has black and white.

    Args:
        classes: number of classes, background included.
        two_classes: the colours if there are two classes.
    """
    if classes == 2 and two_classes == "black_white":
        return REFERENCE_PALETTE[0], (1.0, 1.0, 1.0)
    colours = list(REFERENCE_PALETTE[:classes])
    steps = 2
    while (steps + 1) ** 3 < 2 * classes:
        steps *= 2
    axis = [i / steps for i in range(steps + 1)]
    candidates = [(r, g, b) for r in axis for g in axis for b in axis]
    nearest = [min(math.dist(c, k) for k in colours) for c in candidates]
    while len(colours) < classes:
        farthest = max(range(len(candidates)), key=nearest.__getitem__)
        colours.append(candidates[farthest])
        nearest = [
            min(d, math.dist(c, colours[-1])) for d, c in zip(nearest, candidates, strict=True)
        ]
    return tuple(colours)


class SemanticColouring(nn.Module):
    """Class maps (B, H, W), values 0 to classes - 1, -> images (B, 3, H, W) in [0, 1] (SCS).

    Without colours, class k of C is the grey level k / (C - 1): the ablation of the colouring.
    """

    def __init__(
        self, classes: int, coloured: bool = True, two_classes: TwoClasses = "black_red"
    ) -> None:
        super().__init__()
        greys = [(code / max(1, classes - 1),) * 3 for code in range(classes)]
        colours = torch.tensor(palette(classes, two_classes) if coloured else greys)
        self.register_buffer("colours", colours, persistent=False)
        self.colours: Tensor

    def forward(self, label: Tensor) -> Tensor:
        """Return the image of class maps."""
        # (B, H, W) -> (B, H, W, 3) -> (B, 3, H, W), a channels-last view of the gather
        return F.embedding(label.long(), self.colours).permute(0, 3, 1, 2)

    def mix(self, shares: Tensor) -> Tensor:
        """Return images (B, count, 3, H, W) of shares of classes (B, count, classes, H, W)."""
        return torch.einsum("bschw,cd->bsdhw", shares, self.colours.to(shares))


class GuidanceEmbedding(nn.Module):
    """A scalar per row -> sinusoidal features -> two linear layers (Sec. 2.1; Ho et al. 2020).

    It embeds the calibration guidance and, in the denoiser, the diffusion step.

    Args:
        features: number of sines and cosines in all, of frequencies 10000^(-i / (half - 1)).
        width: of the embedding.
    """

    def __init__(self, features: int = 128, width: int = 512) -> None:
        super().__init__()
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)
        self.pairs = features // 2

    def forward(self, scalar: Tensor) -> Tensor:
        """Embed scalars: (B,) -> (B, width)."""
        # It takes float32 at least: in half precision a scalar near 999 has lost its phase.
        dtype = torch.promote_types(self.first.weight.dtype, torch.float32)
        exponents = torch.arange(self.pairs, dtype=dtype, device=scalar.device) / (self.pairs - 1)
        phase = scalar.to(dtype)[:, None] * 10000.0**-exponents
        features = torch.cat([phase.sin(), phase.cos()], dim=1)
        embedding: Tensor = self.second(F.silu(self.first(features.to(self.first.weight.dtype))))
        return embedding


def calibration_guidance(
    coarse: Tensor, fine: Tensor, classes: int, per_row: bool, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the calibration guidance tau (CG) of DiffRect, Sec. 2.1, as the reference does.

    The paper writes tau = Dice(coarse, fine); the reference uses the Dice *loss* of the two hard
    label maps, mean over classes, so 0 means that nothing needs correcting. The rectifier scales
    it by `GUIDANCE_SCALE` before embedding it.

    Args:
        coarse: class maps (B, H, W), values 0 to classes - 1.
        fine: class maps to compare them with, of the same shape.
        classes: number of classes, background included.
        per_row: one value per row, shape (B,), instead of one pooled over all rows, shape (1,).
        dtype: float type of the result.

    Returns:
        Values in [0, 1).
    """
    codes = torch.arange(classes, device=coarse.device)[None, :, None, None]
    in_coarse, in_fine = coarse[:, None] == codes, fine[:, None] == codes  # (B, C, H, W)
    overlap = (in_coarse & in_fine).sum(dim=(2, 3))
    size = in_coarse.sum(dim=(2, 3)) + in_fine.sum(dim=(2, 3))
    if not per_row:
        overlap, size = overlap.sum(dim=0, keepdim=True), size.sum(dim=0, keepdim=True)
    return (1 - (2 * overlap.to(dtype) + 1e-5) / (size.to(dtype) + 1e-5)).mean(dim=1)
