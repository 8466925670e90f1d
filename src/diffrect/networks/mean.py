"""Several networks as one: the mean of their probabilities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
