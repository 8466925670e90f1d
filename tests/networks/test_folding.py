"""Prediction with batch norms folded into convolutions: the same labels."""

import numpy as np
import pytest
import torch

from diffrect.imaging.resample import labels_from_logits, to_network
from diffrect.inference.model import Model
from diffrect.networks.folding import for_prediction, slices_at_once
from diffrect.networks.unet import UNet


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    network = UNet(1, 4)
    network(torch.rand(4, 1, 32, 32))  # statistics other than 0 and 1
    return network.eval()


def test_the_same_function_of_another_network(network):
    images = torch.rand(2, 1, 40, 30)
    before = network(images)
    folded = for_prediction(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(images), before, rtol=1e-4, atol=1e-5)
    assert torch.equal(network(images), before)


def test_networks_without_blocks_of_ours_stay(network):
    other = torch.nn.Conv2d(1, 2, 3)
    assert for_prediction(other) is other


def test_labels_equal_those_of_single_slices(tiny_run):
    model = Model.load(tiny_run, checkpoint="last", device="cpu")
    array = np.random.default_rng(0).normal(size=(26, 22, 7)).cumsum(0).cumsum(1)
    labels = model.predict(array)
    low, high = array.min(), array.max()
    for z in range(array.shape[2]):
        image = torch.from_numpy((array[:, :, z].T - low) / (high - low)).float()[None, None]
        with torch.no_grad():
            logits = model.network(to_network(image, model.size, model.interpolation, None))
        expected = labels_from_logits(logits, (22, 26), model.interpolation)[0].numpy()
        assert np.array_equal(labels[:, :, z].T, expected)
    assert len(np.unique(labels)) > 1


def test_equal_scores_are_the_first_class():
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1:, 0] = 1
    labels = labels_from_logits(logits, (4, 4), "nearest")
    assert labels.dtype == torch.uint8
    assert labels[0].tolist() == [[1] * 4, *[[0] * 4] * 3]


def test_slices_at_once():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [slices_at_once(size, cpu) for size in (64, 256, 512)] == [32, 2, 1]
    assert slices_at_once(256, gpu) == 16
