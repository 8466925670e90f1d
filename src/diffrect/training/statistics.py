"""Precise statistics of batch norm: those of plain training slices, for the network that predicts.

In training, batch norm's running statistics follow what the network is shown: mostly labelled rows
and changed views, and weights that have moved on since. A moving average of weights has them only
by average. Before it predicts, its statistics are therefore counted anew over plain slices, as for
weight averages (Izmailov et al., UAI 2018), in a copy: training itself does not change.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from diffrect.config import TrainConfig
from diffrect.data.loader import Batches
from diffrect.data.record import SliceIndex
from diffrect.data.volumes import SliceImages
from diffrect.imaging.resample import Interpolation
from diffrect.methods.base import own_statistics

BATCHES = 30


class PreciseStatistics:
    """Makes the network that predicts; each process makes the same one.

    Args:
        batches: the batches of the training: the slices that it learns from, and how many at once.
        config: size of the network's input, and its pixels in millimetres if they are given.
        interpolation: how slices are resized.
        fabric: device and precision.
        dtype: number type of the images.
    """

    def __init__(
        self,
        batches: Batches,
        config: TrainConfig,
        interpolation: Interpolation,
        fabric: Fabric,
        dtype: torch.dtype,
    ) -> None:
        self.store, self.config, self.interpolation = batches.store, config, interpolation
        self.fabric, self.dtype = fabric, dtype
        streams = zip(batches.streams, batches.sizes, strict=True)
        slices = [index for stream, size in streams if size for index in stream]
        self.chosen = chosen_slices(slices, sum(batches.sizes))
        self.made: tuple[int, nn.Module] | None = None

    def of(self, network: nn.Module, step: int) -> nn.Module:
        """Return `with_precise_statistics` of a network after `step` iterations, made once."""
        if self.made is None or self.made[0] != step:
            with self.fabric.autocast():
                self.made = step, with_precise_statistics(network, self.images())
        return self.made[1]

    def images(self) -> Iterator[Tensor]:
        """Yield the chosen slices as the network sees them, on its device."""
        for batch in self.chosen:
            images = SliceImages(self.store, batch, self.config, self.interpolation)
            rows = images[torch.arange(len(batch))].to(self.fabric.device, self.dtype)
            yield rows.contiguous(memory_format=torch.channels_last)


def chosen_slices(slices: list[SliceIndex], rows: int) -> list[list[SliceIndex]]:
    """Return the slices to count statistics over, always the same ones, spread over all cases.

    Args:
        slices: the training slices.
        rows: slices per batch; of fewer than 2, batch norm could not tell a variance.
    """
    rows = max(2, rows)
    count = max(1, min(BATCHES, len(slices) // rows))
    order = np.random.default_rng(0).permutation(len(slices))
    places = np.resize(order, (count, rows))  # a set smaller than a batch is repeated
    return [[slices[place] for place in batch] for batch in places]


@torch.no_grad()
def with_precise_statistics(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Return a copy of a network in eval mode whose batch norm has the statistics of some images.

    Args:
        network: images (B, C, size, size) -> logits; it stays as it is.
        batches: images, all of them of the same number of rows.
    """
    copy = deepcopy(network).eval()
    momenta = {}
    for norm in (module for module in copy.modules() if isinstance(module, _BatchNorm)):
        norm.reset_running_stats()
        momenta[norm], norm.momentum = norm.momentum, None  # the mean over all batches
    if momenta:
        with own_statistics(copy):
            for images in batches:
                copy(images)
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    return copy


def statistics_of(network: nn.Module) -> dict[str, Tensor]:
    """Return batch norm's statistics by the names they have in the network."""
    norms = {n: m for n, m in network.named_modules() if isinstance(m, _BatchNorm)}
    return {
        f"{name}.{buffer}" if name else buffer: values
        for name, norm in norms.items()
        for buffer, values in norm.named_buffers(recurse=False)
    }
