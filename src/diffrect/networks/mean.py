"""Several networks, or one network in several views, as one: the mean of their probabilities."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Views = Literal["flips", "turns", "rotations"]
"""Views of an image that are averaged, see `MeanOfViews`."""
# Quarter turns, whether mirrored, and degrees of rotation of each view.
_VIEWS: dict[Views, list[tuple[int, bool, float]]] = {
    "flips": [(turns, mirrored, 0.0) for turns in (0, 2) for mirrored in (False, True)],
    "turns": [(turns, mirrored, 0.0) for turns in range(4) for mirrored in (False, True)],
    "rotations": [(0, False, 0.0)],
}


class MeanOfNetworks(nn.Module):
    """Networks of one task whose probabilities are averaged, pixel by pixel.

    Args:
        networks: each takes images (B, C, H, W) to logits (B, classes, H, W).
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) whose softmax is the mean of the networks' softmaxes."""
        shares = [network(images).float().log_softmax(dim=1) for network in self.networks]
        return torch.logsumexp(torch.stack(shares), dim=0) - math.log(len(shares))


class MeanOfViews(nn.Module):
    """A network whose probabilities are averaged over mirrored and rotated views of each image.

    Each view is moved back before the mean, so that pixels lie on each other. Mirrors and quarter
    turns are exact; rotations are interpolated, there and back.

    Args:
        network: images (B, C, H, W) -> logits (B, classes, H, W), H = W for `turns`.
        views: `flips`: the image, mirrored in rows, columns and both, four views; `turns`: these
            and their quarter turns, eight; `rotations`: the image, rotated by `degrees` either way,
            three.
        degrees: angle of the rotations.
    """

    def __init__(self, network: nn.Module, views: Views, degrees: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.views = list(_VIEWS[views])
        if views == "rotations":
            self.views += [(0, False, degrees), (0, False, -degrees)]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) whose softmax is the mean of the views' softmaxes."""
        total: Tensor | None = None
        for shares in self.each(images):
            total = shares if total is None else torch.logaddexp(total, shares)
        assert total is not None
        return total - math.log(len(self.views))

    def each(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the logarithm of the probabilities (B, classes, H, W) of each view, moved back."""
        for view in self.views:
            yield self._shares(images, *view)

    def _shares(self, images: Tensor, turns: int, mirrored: bool, degrees: float) -> Tensor:
        """Return the logarithm of the probabilities in one view, moved back.

        Args:
            images: (B, C, H, W).
            turns: number of quarter turns.
            mirrored: whether columns are mirrored then.
            degrees: angle by which the image is rotated, which then has no turns.
        """
        if degrees:
            rotated: Tensor = self.network(_rotate(images, degrees, "zeros")).float()
            shares = _rotate(rotated.softmax(dim=1), -degrees, "border")
            return shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
        seen = images.rot90(turns, (2, 3))
        logits: Tensor = self.network(seen.flip(3) if mirrored else seen).float()
        logits = logits.flip(3) if mirrored else logits
        return logits.rot90(-turns, (2, 3)).log_softmax(dim=1)


def _rotate(images: Tensor, degrees: float, padding: str) -> Tensor:
    """Rotate images (B, C, H, W) about their middle in coordinates that run from -1 to 1."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    theta = images.new_tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=True)
