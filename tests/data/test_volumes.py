"""The training volumes in memory, and how the rows of a batch find their slices in them."""

import numpy as np
import pytest
import torch

from diffrect.config import TrainConfig
from diffrect.data import volumes as volumes_module
from diffrect.data.loader import training_batches
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import make_batch
from diffrect.data.volumes import SliceImages, TrainingVolumes, training_volumes
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.resample import to_network


@pytest.fixture
def split(store: Store) -> Split:
    patients = store.patients
    return Split(tuple(patients[:3]), (patients[3],), (), (patients[1],))


def volumes(store: Store, split: Split, config: TrainConfig) -> TrainingVolumes:
    return training_volumes(store, split, config, "linear")


def test_volumes_hold_every_training_slice_and_only_known_labels(
    store: Store, split: Split
) -> None:
    found = volumes(store, split, TrainConfig(size=16))
    expected = store.slices(split.labelled) + store.slices(split.unlabelled)
    assert list(found.rows) == expected
    assert list(found.rows.values()) == list(range(len(expected)))
    assert found.images.shape == (len(expected), 1, 16, 16)
    assert found.labelled.sum() == len(store.slices(split.labelled))
    labels = found.labels[torch.arange(len(expected))]
    assert (labels[~found.labelled] == IGNORED).all()
    assert set(labels[found.labelled].unique().tolist()) == {0, 1, 2, 3}


def test_images_are_read_when_they_are_asked_for_and_few_stay(
    store: Store, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes_module, "IMAGE_BYTES", 3 * 16 * 16 * 2)
    images = volumes(store, split, TrainConfig(size=16)).images
    assert isinstance(images, SliceImages)
    assert images._kept.cache_info().currsize == 0
    rows = torch.arange(8).view(2, 4)
    found = images[rows]
    assert found.shape == (2, 4, 1, 16, 16)
    assert images._kept.cache_info().currsize == 3
    whole = np.concatenate(
        [store.image(case) for case in dict.fromkeys(i.case for i in images.slices)]
    )
    expected = to_network(torch.from_numpy(whole[:8]), 16, "linear", None).half()
    assert torch.equal(found.flatten(0, 1), expected)


def test_neighbours_stay_within_their_case(store: Store, split: Split) -> None:
    found = volumes(store, split, TrainConfig(size=16))
    slices = list(found.rows)
    for row, near in enumerate(found.neighbours(2).tolist()):
        case, position = slices[row]
        wanted = [position + offset for offset in (0, -1, 1, -2, 2)]
        inside = [0 <= place < store.cases[case].slices for place in wanted]
        assert [slices[n] if n >= 0 else None for n in near] == [
            (case, place) if here else None for place, here in zip(wanted, inside, strict=True)
        ]


@pytest.mark.parametrize("config", [{"size": 32}, {"spacing": 1.5, "crop": 24}])
def test_a_row_finds_its_slice_and_its_geometry(
    store: Store, split: Split, config: dict[str, float]
) -> None:
    """A view without a rotation is the volume's slice; its geometry maps the whole one to it."""
    settings = TrainConfig(**config)  # type: ignore[arg-type]
    whole = volumes(store, split, settings)
    raw = training_batches(store, split, settings, True, 0, 1)[0]
    options = ViewOptions(turn_probability=1.0, scale_range=0, cutmix_probability=0.0)
    torch.manual_seed(0)
    batch = make_batch(raw, settings.side, options, torch.float32)
    assert [s.case for s in batch.slices] == list(raw.cases)
    assert batch.geometry is not None
    images = whole.images[torch.tensor([whole.rows[i] for i in batch.slices])].float()
    theta = torch.nn.functional.pad(batch.geometry, (0, 1))
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=True)
    seen = torch.nn.functional.grid_sample(images, grid, mode="nearest", align_corners=True)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(seen[inner], batch.weak[inner], atol=2e-3)


@pytest.mark.parametrize("config", [{"size": 32}, {"spacing": 1.5, "crop": 24}])
def test_a_row_that_is_turned_and_scaled_finds_its_slice(
    store: Store, split: Split, config: dict[str, float]
) -> None:
    settings = TrainConfig(**config)  # type: ignore[arg-type]
    whole = volumes(store, split, settings)
    raw = training_batches(store, split, settings, True, 0, 1)[0]
    options = ViewOptions(scale_range=0.4, rotation_degrees=40.0, cutmix_probability=0.0)
    torch.manual_seed(0)
    batch = make_batch(raw, settings.side, options, torch.float32)
    assert batch.geometry is not None
    images = whole.images[torch.tensor([whole.rows[i] for i in batch.slices])].float()
    theta = torch.nn.functional.pad(batch.geometry, (0, 1))
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=True)
    seen = torch.nn.functional.grid_sample(images, grid, align_corners=True)
    # It is interpolated twice, so edges differ; without the geometry everything does.
    assert (seen - batch.weak).abs().mean() < (images - batch.weak).abs().mean() / 4


def test_a_batch_that_says_nothing_of_its_slices_has_none(store: Store, split: Split) -> None:
    raw = training_batches(store, split, TrainConfig(), True, 0, 1)[0]
    silent = type(raw)(raw.images, raw.labels, raw.shapes)
    assert make_batch(silent, 32, ViewOptions(), torch.float32).slices == ()
