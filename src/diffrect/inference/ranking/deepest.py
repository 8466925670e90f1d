"""What a network makes of images at its deepest level: how alike two patients look to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class DeepestMap:
    """The deepest feature map of a network's last forward pass.

    It is the map (B, C, h, w) of the fewest pixels that any module returns, and of these the one of
    most channels, the last if there are several: of a U-Net the output of its bottleneck. Maps of a
    single pixel count only if there is no other, because networks that weigh their channels have
    them everywhere.
    """

    def __init__(self) -> None:
        self._found: Tensor | None = None
        self._key = (0, 0, 0)

    def forget(self) -> None:
        """Begin a new forward pass."""
        self._found, self._key = None, (0, 0, 0)

    def look(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Take the output of a module, as `register_forward_hook` passes it."""
        if not isinstance(output, Tensor) or output.dim() != 4:
            return
        pixels = output.shape[2] * output.shape[3]
        key = (int(pixels > 1), -pixels, output.shape[1])
        if self._found is None or key >= self._key:
            self._found, self._key = output.detach(), key

    def pooled(self) -> np.ndarray:
        """Return the mean of the map over its pixels, float64 (B, C); of no map, no channels."""
        if self._found is None:
            return np.zeros((1, 0))
        pooled: np.ndarray = self._found.float().mean(dim=(2, 3)).double().cpu().numpy()
        return pooled


@contextmanager
def watching(network: nn.Module) -> Iterator[DeepestMap]:
    """Watch the maps inside a network while the context lasts."""
    deepest = DeepestMap()
    hooks = [module.register_forward_hook(deepest.look) for module in network.modules()]
    try:
        yield deepest
    finally:
        for hook in hooks:
            hook.remove()


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances (N, M) of features (N, D) and (M, D)."""
    return torch.cdist(torch.from_numpy(one), torch.from_numpy(other)).numpy()
