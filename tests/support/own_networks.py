"""Networks that are not the package's, as `--network support.own_networks:CLASS` names them."""

from typing import Any

import torch
from torch import Tensor, nn


class Shared(nn.Module):
    """No batch norm; a module is registered twice, as in MONAI's DynUNet, and one is unused."""

    def __init__(self, in_channels: int, out_channels: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.Tanh())
        self.again = nn.ModuleList([self.body])
        self.unused = nn.Linear(2, 2)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.again[0](images)))
        return logits


class Normed(nn.Module):
    """With batch norm, numbers under SSL4MIS's names, and a list of one map as the answer."""

    def __init__(self, in_chns: int, class_num: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_chns, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, class_num, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.head(self.body(images))]


class Halving(Shared):
    """Takes only sizes that are multiples of 16."""

    def forward(self, images: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(images, 16)
        return super().forward(images + nn.functional.interpolate(small, scale_factor=16))


class Deep(Shared):
    """Several maps in training, unless it is told otherwise."""

    def __init__(self, in_channels: int, out_channels: int, deep_supervision: bool = True) -> None:
        super().__init__(in_channels, out_channels)
        self.deep = deep_supervision

    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return [logits, logits] if self.deep and self.training else logits


class Stacked(Shared):
    """Several maps in one tensor."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, None]


class Flat(Shared):
    """3-D unless it is told otherwise, as many of MONAI's."""

    def __init__(self, in_channels: int, out_channels: int, spatial_dims: int = 3) -> None:
        super().__init__(in_channels, out_channels)
        if spatial_dims == 3:
            self.head = nn.Conv3d(4, out_channels, 1)  # type: ignore[assignment]


class Half(Shared):
    """Logits of another size."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[..., ::2, ::2]


class Shares(Shared):
    """Probabilities instead of logits."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).softmax(dim=1)


class Labels(Shared):
    """Class numbers instead of logits."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).long()


class Pairs(Shared):
    """Needs several rows in training."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training and len(images) == 1:
            raise ValueError("one row has no neighbours")
        return super().forward(images)


class Crowd(Shared):
    """Needs several rows always."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) == 1:
            raise ValueError("one row has no neighbours")
        return super().forward(images)


class Nothing(nn.Module):
    """Has nothing to learn."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.classes = out_channels

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images] * self.classes, dim=1)


class Raising(nn.Module):
    """Cannot be made."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        raise RuntimeError("no\nnetwork")


def function(images: Tensor) -> Tensor:
    return images
