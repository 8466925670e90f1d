"""The slices of a volume and their labels with what surrounds them, as a rectifier sees them."""

import torch
from torch import Tensor

from diffrect.imaging.slicing import Zoom
from diffrect.inference.segmenter import Segmenter, Slices
from diffrect.methods.diffrect.volume_labels import channels_last
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.networks.rectifier import Rectifier

NOISE_SEED = 0


class LabelContext:
    """The slices of a volume with what surrounds them, as a rectifier is shown them."""

    def __init__(
        self,
        segmenter: Segmenter,
        slices: Slices,
        given: Tensor,
        zoom: Zoom,
        *,
        classes: int,
        reach: int,
        off: float,
    ) -> None:
        """Take a volume.

        Args:
            segmenter: says how slices become the network's input.
            slices: (Z, C, H, W).
            given: the label's class maps (Z, s, s) as the network sees them.
            zoom: see `Segmenter.zoom`.
            classes: number of classes, background included.
            reach: neighbours on either side that a rectifier sees.
            off: the label's difference from the teacher's.
        """
        self.segmenter, self.slices, self.zoom = segmenter, slices, zoom
        self.given, self.classes, self.reach = given, classes, reach
        self.off = off
        self.draws = torch.Generator().manual_seed(NOISE_SEED)
        self.mean = torch.stack(
            [(given == code).float().mean(dim=0) for code in range(self.classes)]
        )

    def images(self, part: slice) -> Tensor:
        """Return the images (B, C, s, s) of some slices."""
        return self.segmenter.inputs(self.slices[part], self.zoom)

    def around(self, part: slice) -> tuple[Tensor, Tensor]:
        """Return the images of slices and their neighbours, and the labels, see `transport`."""
        last = len(self.given) - 1
        first, end = part.start, min(part.stop, last + 1)
        low, high = max(0, first - self.reach), min(end + self.reach, last + 1)
        near, codes = self.images(slice(low, high)), one_hot(self.given[low:high], self.classes)
        empty = torch.zeros_like(codes[0])
        empty[0] = 1
        offsets = [0, *(sign * k for k in range(1, self.reach + 1) for sign in (-1, 1))]
        images, labels = [], []
        for middle in range(first, end):
            rows = [middle + offset for offset in offsets]
            inside = [low <= row < high for row in rows]
            images.append(
                torch.cat(
                    [
                        near[row - low] if here else torch.zeros_like(near[0])
                        for row, here in zip(rows, inside, strict=True)
                    ]
                )
            )
            maps = [
                codes[row - low] if here else empty for row, here in zip(rows, inside, strict=True)
            ]
            labels.append(torch.stack([*maps, self.mean]))
        return channels_last(torch.stack(images)), torch.stack(labels).to(near)

    def noise(self, network: LatentRectifier | Rectifier, images: Tensor) -> Tensor:
        """Return the noise from which sampling starts, the same for the same volume."""
        return torch.randn(network.latent_shape(images), generator=self.draws).to(images)


def one_hot(codes: Tensor, classes: int) -> Tensor:
    """Return class maps (B, H, W) as float32 (B, classes, H, W)."""
    return torch.stack([codes == code for code in range(classes)], dim=1).float()


def difference(one: Tensor, other: Tensor, classes: int) -> float:
    """Return 1 - Dice of two label maps, the mean over the foreground classes that either has."""
    pairs = torch.zeros(classes**2, dtype=torch.int64)
    for a, b in zip(one, other, strict=True):
        both = a.long() * classes + b.long()
        pairs += both.flatten().bincount(minlength=len(pairs))
    table = pairs.view(classes, classes)
    sizes = (table.sum(dim=0) + table.sum(dim=1))[1:]
    dice = 2 * table.diagonal()[1:] / sizes.clamp(min=1)
    return float(1 - dice[sizes > 0].mean()) if sizes.any() else 0.0
