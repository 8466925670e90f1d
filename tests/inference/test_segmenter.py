"""The loop over slices: every slice once, in order, on its own grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffrect.errors import InputError
from diffrect.imaging.resample import labels_from_logits
from diffrect.inference.segmenter import Segmenter

SLICES = np.random.default_rng(0).random((7, 1, 20, 13)).astype(np.float32)


class Bright(nn.Module):
    """A network that finds class 1 where a pixel is above one half, and records its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return torch.cat([0.5 - images, images - 0.5], dim=1)


def segmenter(spacing: float | None = None) -> Segmenter:
    return Segmenter(Bright(), 16, "linear", spacing, torch.device("cpu"))


@pytest.mark.parametrize(("batch", "batches"), [(3, [3, 3, 1]), (None, [7]), (7, [7])])
def test_each_slice_once_a_few_at_a_time(batch: int | None, batches: list[int]) -> None:
    ours = segmenter()
    parts = list(ours.logits(SLICES, batch=batch))
    assert ours.network.batches == batches
    assert [len(SLICES[part]) for part, _ in parts] == batches
    assert torch.equal(torch.cat([found for _, found in parts]), Bright()(ours.inputs(SLICES)))
    assert not any(found.requires_grad for _, found in parts)


@pytest.mark.parametrize("zoom", [None, (0.8, 1.5)])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_labels_lie_on_the_slices_own_grid(zoom, interpolation) -> None:
    ours = replace(segmenter(), interpolation=interpolation)
    logits = Bright()(ours.inputs(SLICES, zoom))
    assert logits.shape == (7, 2, 16, 16)
    expected = labels_from_logits(logits, (20, 13), interpolation, zoom).numpy()
    labels = ours.labels(SLICES, zoom, batch=2)
    np.testing.assert_array_equal(labels, expected)
    assert (labels.shape, labels.dtype) == ((7, 20, 13), np.uint8)


def test_a_spacing_is_needed_only_to_resample() -> None:
    assert segmenter().zoom(None, "scan") is None
    assert segmenter(2.0).zoom((8.0, 1.0, 3.0), "scan") == (0.5, 1.5)
    with pytest.raises(InputError, match="scan: expected a spacing, because slices are resampled"):
        segmenter(2.0).zoom(None, "scan")


def test_input_has_the_number_type_of_the_network() -> None:
    assert segmenter().dtype == torch.float32  # exported networks have no parameters
    double = replace(segmenter(), network=nn.Conv2d(1, 2, 1).double())
    assert double.inputs(SLICES).dtype == torch.float64
