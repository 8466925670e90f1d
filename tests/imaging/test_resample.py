"""Slices to the network's grid and back: resized, or resampled and cropped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diffrect.config import TrainConfig
from diffrect.data.batch import RawBatch
from diffrect.data.loader import Batches
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import draw_geometry, weak_view
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.imaging.resample import (
    labels_from_logits,
    probabilities_from_logits,
    to_network,
)
from diffrect.imaging.slicing import zoom_of
from diffrect.inference.model import Model
from diffrect.training.train import train

STILL = ViewOptions(rotation_degrees=0, scale_range=0, jitter_probability=0, blur_sigma=0)


def disc(shape: tuple[int, int], pixel: tuple[float, float], radius: float) -> np.ndarray:
    """Return a disc of a radius in mm around the centre."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    distance = np.hypot(y[:, None] * pixel[0], x[None] * pixel[1])
    return (distance < radius).astype(np.float32)


def logits_of(labels: torch.Tensor) -> torch.Tensor:
    """Return the logits (B, 2, h, w) of a network that is sure."""
    return torch.stack([1 - labels, labels], dim=1) * 20 - 10


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("shape", [(40, 30), (21, 64), (33, 33), (1, 20)])
def test_same_spacing_is_a_crop_and_comes_back(interpolation, shape: tuple[int, int]) -> None:
    labels = (torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    seen = to_network(labels[:, None], 64, interpolation, (1.0, 1.0))
    assert seen.shape == (3, 1, 64, 64)
    top, left = (32 - size // 2 for size in shape)
    assert torch.equal(seen[:, 0, top : top + shape[0], left : left + shape[1]], labels)
    assert seen.sum() == labels.sum()
    back = labels_from_logits(logits_of(seen[:, 0]), shape, interpolation, (1.0, 1.0))
    assert torch.equal(back, labels.byte())


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_shapes_in_millimetres_are_kept(interpolation) -> None:
    pixel = (0.8, 2.0)
    labels = torch.from_numpy(disc((100, 40), pixel, 20.0))[None, None]
    zoom = zoom_of((5.0, *pixel), 1.0, "a")
    assert zoom == (0.8, 2.0)
    seen = to_network(labels, 64, interpolation, zoom)
    expected = torch.from_numpy(disc((64, 64), (1.0, 1.0), 20.0))
    assert (seen[0, 0].round() != expected).float().mean() < 0.03
    back = labels_from_logits(logits_of(seen[:, 0]), (100, 40), interpolation, zoom)
    assert (back != labels[0]).float().mean() < 0.03


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_outside_the_crop_is_background(interpolation) -> None:
    foreground = torch.tensor([-9.0, 9.0]).reshape(1, 2, 1, 1).expand(1, 2, 16, 16)
    labels = labels_from_logits(foreground, (40, 20), interpolation, (1.0, 0.5))
    assert labels.sum() == 16 * 20
    assert labels[0, 12:28].all()
    shares = probabilities_from_logits(foreground, (40, 20), interpolation, (1.0, 0.5))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, 40, 20))
    assert torch.equal(shares.argmax(1), labels.long())
    assert (shares[0, 0, :12] == 1).all()


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("zoom", [None, (0.7, 1.3)])
def test_labels_are_the_likeliest_class(interpolation, zoom) -> None:
    logits = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    shares = probabilities_from_logits(logits, (23, 19), interpolation, zoom)
    labels = labels_from_logits(logits, (23, 19), interpolation, zoom)
    assert torch.equal(shares.argmax(1), labels.long())


def raw_batch(zooms: torch.Tensor) -> RawBatch:
    images = torch.zeros(2, 1, 60, 50)
    shapes = torch.tensor([[60, 30], [40, 50]])
    for row, (height, width) in enumerate(shapes.tolist()):
        pixel = (float(zooms[row, 0]), float(zooms[row, 1]))
        images[row, 0, :height, :width] = torch.from_numpy(disc((height, width), pixel, 9.0))
    return RawBatch(images, images[:, 0].byte(), shapes, zooms=zooms)


def test_views_are_what_predicting_sees() -> None:
    zooms = torch.tensor([[0.7, 1.3], [1.1, 0.6]])
    raw = raw_batch(zooms)
    weak, labels = weak_view(raw, draw_geometry(raw, 32, STILL), 32, STILL)
    for row, (height, width) in enumerate(raw.shapes.tolist()):
        zoom = (float(zooms[row, 0]), float(zooms[row, 1]))
        seen = to_network(raw.images[row : row + 1, :, :height, :width], 32, "linear", zoom)
        torch.testing.assert_close(weak[row], seen[0], atol=1e-4, rtol=0)
    assert (labels[0] != labels[1]).float().mean() < 0.04  # the same disc in millimetres


def test_rotation_is_rigid_in_millimetres() -> None:
    torch.manual_seed(0)
    raw = raw_batch(torch.tensor([[0.5, 1.5], [1.5, 0.5]]))
    options = ViewOptions(rotation_degrees=45, turn_probability=0.5)
    labels = weak_view(raw, draw_geometry(raw, 32, options), 32, options)[1]
    for row in labels:
        assert (row != torch.from_numpy(disc((32, 32), (1.0, 1.0), 9.0))).float().mean() < 0.07


def test_batches_know_their_zooms(store: Store) -> None:
    slices = store.slices(["patient099"])
    batch = Batches(store, slices, slices, (1, 1), seed=1, spacing=2.5)[0]
    assert batch.zooms is not None
    np.testing.assert_allclose(batch.zooms, [[0.5, 0.6]] * 2)
    assert Batches(store, slices, slices, (1, 1), seed=1)[0].zooms is None


CROP = TrainConfig(
    method="supervised", spacing=1.5, crop=32, iterations=2, batch_labelled=2, labelled="1"
)


def test_a_training_on_a_crop(store: Store, tmp_path: Path) -> None:
    run = train(store.path, tmp_path / "run", CROP, progress=False)
    assert evaluate(run, progress=False).protocol["crop"] == 32
    model = Model.load(run)
    assert (model.size, model.config.spacing) == (32, 1.5)
    image = store.image("patient028_frame01")
    with pytest.raises(InputError, match=r"spacing: expected a spacing, because .* to 1.5 mm"):
        model.predict_slices(image)
    labels = model.predict_slices(image, spacing=store.cases["patient028_frame01"].spacing)
    assert labels.shape == (3, 22, 26)


def test_cases_without_spacing_are_refused(ssl4mis_folder: Path, tmp_path: Path) -> None:
    from diffrect.data.prepare import prepare

    store = prepare(ssl4mis_folder, tmp_path / "store", progress=False)
    with pytest.raises(InputError, match=r"store: case patient011_frame01: expected a spacing"):
        train(store.path, tmp_path / "run", CROP, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": 1.5}, "spacing: expected --crop with it, got none"),
        ({"crop": 64}, "crop: expected --spacing with it, got none"),
        ({"spacing": 0.0, "crop": 64}, r"spacing: expected millimetres above 0, got 0\.0"),
        ({"spacing": 1.0, "crop": 1}, "crop: expected at least 2, got 1"),
    ],
)
def test_options_refused(options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)


def test_resizing_is_what_it_was() -> None:
    images = torch.rand(2, 3, 20, 30)
    expected = F.interpolate(images, (16, 16), mode="bilinear", align_corners=True)
    assert torch.equal(to_network(images, 16, "linear", None), expected)
