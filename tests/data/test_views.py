"""Weak and strong views, resizing and batches."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image, ImageEnhance

from diffrect.config import TrainConfig
from diffrect.data import views
from diffrect.data.batch import Batch, RawBatch
from diffrect.data.loader import Batches, iterate, training_batches
from diffrect.data.record import SliceIndex
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import (
    authors_geometry,
    change_brightness,
    change_contrast,
    change_intensities,
    change_sharpness,
    gaussian_blur,
    make_batch,
    random_boxes,
    random_geometry,
    sampling_grid,
    weak_view,
)
from diffrect.errors import InputError
from diffrect.imaging.resample import labels_from_logits, resize
from diffrect.methods.registry import complete, resolve

STILL = ViewOptions(
    interpolation="nearest", jitter_probability=0.0, blur_sigma=0.0, cutmix_probability=0.0
)


def one_slice(array: np.ndarray, padding: int = 0) -> RawBatch:
    """A batch of one labelled slice whose label equals its image, padded."""
    padded = np.pad(array, (0, padding))
    return RawBatch(
        torch.from_numpy(padded)[None, None].float(),
        torch.from_numpy(padded)[None].to(torch.uint8),
        torch.tensor([array.shape]),
    )


def warp(raw: RawBatch, geometry: torch.Tensor, size: int) -> torch.Tensor:
    grid = sampling_grid(raw, geometry, size)
    return torch.nn.functional.grid_sample(raw.images, grid, mode="nearest", align_corners=True)


@pytest.mark.parametrize("padding", [0, 5])
def test_identity_geometry_is_the_reference_s_zoom(padding: int) -> None:
    array = np.random.default_rng(0).integers(0, 200, (18, 27))
    raw = one_slice(array, padding)
    ours = warp(raw, torch.eye(2)[None], 32)[0, 0].numpy()
    zoomed = scipy.ndimage.zoom(array, (32 / 18, 32 / 27), order=0)
    assert (ours == zoomed).mean() > 0.99  # a coordinate of exactly one half may round either way


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_exact(turns: int) -> None:
    array = np.arange(16 * 16).reshape(16, 16) % 251
    geometry = views.rotation(torch.tensor([turns * np.pi / 2])).float().round()
    turned = warp(one_slice(array), geometry, 16)[0, 0].numpy()
    assert any((turned == np.rot90(array, k)).all() for k in range(4))


def test_rotation_is_rigid_on_the_slice_s_own_pixels() -> None:
    # A bar along the long axis of a 21 x 41 slice, turned by the formula of `random_geometry`,
    # keeps its length in pixels: it must not be squeezed to the short side.
    shapes = torch.tensor([[21, 41]])
    half = (shapes.flip(1).float() - 1) / 2
    rotated = views.rotation(torch.tensor([0.3])) * half[:, None, :] / half[:, :, None]
    offset = torch.tensor([0.2, 0.1]) * half[0]  # pixels
    normalised = rotated[0] @ (offset / half[0])
    assert (normalised * half[0]).norm().item() == pytest.approx(offset.norm().item(), rel=1e-6)


def test_geometry_is_a_flip_turn_or_small_rotation() -> None:
    torch.manual_seed(0)
    geometry = random_geometry(
        torch.full((200, 2), 32), ViewOptions(turn_probability=0.5, scale_range=0)
    )
    determinant = torch.linalg.det(geometry)
    flipped = determinant < 0
    assert 60 < flipped.sum() < 140
    assert torch.allclose(determinant.abs(), torch.ones(200), atol=1e-5)
    angles = torch.rad2deg(torch.atan2(geometry[~flipped, 1, 0], geometry[~flipped, 0, 0]))
    assert angles.abs().max() <= 20


def test_scales_are_within_their_range_and_much_alike_along_both_axes() -> None:
    shapes = torch.tensor([[21, 41]]).expand(400, 2)
    options = ViewOptions(rotation_degrees=0, scale_range=0.25)
    torch.manual_seed(0)
    geometry = random_geometry(shapes, options)
    assert torch.equal(geometry[:, [0, 1], [1, 0]], torch.zeros(400, 2))
    factors = geometry[:, [0, 1], [0, 1]].log()
    assert 0.28 < factors.abs().max() <= 0.3
    assert 0.08 < (factors[:, 0] - factors[:, 1]).abs().max() <= 0.1


def test_views_without_a_scale_draw_nothing_for_it() -> None:
    shapes = torch.tensor([[21, 41]]).expand(4, 2)
    following = []
    for scale in (0.0, 1e-9):
        torch.manual_seed(0)
        geometry = random_geometry(shapes, ViewOptions(scale_range=scale))
        following.append((geometry, torch.rand(1)))
    (plain, then), (scaled, later) = following
    assert torch.allclose(plain, scaled)
    torch.manual_seed(0)
    for draw in (torch.rand, lambda n: torch.randint(4, (n,)), lambda n: torch.randint(2, (n,))):
        draw(4)
    torch.rand(4)
    assert torch.equal(then, torch.rand(1))
    assert not torch.equal(then, later)


@pytest.mark.parametrize("options", [{}, {"rotation_degrees": 30.0, "scale_range": 0.3}])
def test_labels_move_with_their_image(options: dict[str, float]) -> None:
    torch.manual_seed(1)
    array = np.random.default_rng(0).integers(0, 2, (20, 24))
    views = replace(STILL, **options)  # type: ignore[arg-type]
    batch = make_batch(one_slice(array, padding=3), 32, views, torch.float32)
    assert torch.equal(batch.weak[0, 0].long(), batch.label[0])
    assert torch.equal(batch.weak, batch.strong)


def test_reference_views_have_256_levels() -> None:
    raw = RawBatch(
        torch.rand(2, 1, 16, 16), torch.zeros(1, 16, 16, dtype=torch.uint8), torch.full((2, 2), 16)
    )
    options = ViewOptions(interpolation="nearest", eight_bit=True, cutmix_probability=0.0)
    batch = make_batch(raw, 16, options, torch.float32)
    for view in (batch.weak, batch.strong):
        levels = view * 255
        assert torch.allclose(levels, levels.round(), atol=1e-3)


def test_intensities_change_within_their_range_and_per_row() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 1, 24, 24).expand(64, 1, 24, 24).contiguous()
    changed = change_intensities(images, ViewOptions())
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert len({round(row.mean().item(), 6) for row in changed}) > 32
    unchanged = change_intensities(images, STILL)
    assert torch.equal(unchanged, images)


def test_blur_is_scipy_s() -> None:
    image = torch.rand(2, 32, 24, dtype=torch.float64)
    blurred = gaussian_blur(image, 1.2)
    expected = scipy.ndimage.gaussian_filter(
        image.numpy(), 1.2, radius=4, mode="nearest", axes=(1, 2)
    )
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-10)
    assert torch.equal(gaussian_blur(image, 0.0), image)


def test_intensities_change_as_pil_does() -> None:
    eight_bit_image = (torch.rand(20, 24) * 255).floor()
    picture = Image.fromarray(eight_bit_image.to(torch.uint8).numpy())
    image = eight_bit_image[None] / 255
    for enhancer, change in (
        (ImageEnhance.Contrast, change_contrast),
        (ImageEnhance.Brightness, change_brightness),
        (ImageEnhance.Sharpness, change_sharpness),
    ):
        theirs = np.asarray(enhancer(picture).enhance(0.6), dtype=np.float32) / 255
        ours = change(image, 0.6)[0].clamp(0, 1).numpy()
        inner = np.s_[1:-1, 1:-1]  # PIL leaves the outermost pixels unsmoothed
        np.testing.assert_allclose(ours[inner], theirs[inner], atol=2.1 / 255)


def test_boxes_are_pasted_into_unlabelled_rows_only() -> None:
    torch.manual_seed(0)
    options = ViewOptions(cutmix_probability=1.0, cutmix_area=0.4)
    pasted, partner = random_boxes(6, 3, 32, options)
    assert not pasted[:3].any()
    assert pasted[3:].flatten(1).any(dim=1).all()
    assert pasted[3:].float().mean(dim=(1, 2)).max() <= 0.45
    assert (partner != torch.arange(6)).all()
    maps = torch.arange(6)[:, None, None].expand(6, 32, 32)
    batch = Batch(torch.empty(0), torch.empty(0), maps[:3], pasted, partner)
    mixed = batch.as_strong(maps)
    assert torch.equal(mixed[:3], maps[:3])
    assert set(mixed[3].unique().tolist()) == {3, int(partner[3])}
    assert torch.equal(Batch(maps, maps, maps).as_strong(maps), maps)


def test_nearest_resize_is_the_reference_s_zoom_and_back() -> None:
    images = torch.randint(0, 9, (2, 1, 13, 21))
    resized = resize(images, (32, 32), "nearest")
    zoomed = scipy.ndimage.zoom(images[1, 0].numpy(), (32 / 13, 32 / 21), order=0)
    assert (resized[1, 0].numpy() == zoomed).mean() > 0.99
    assert torch.equal(resize(resized, (13, 21), "nearest"), images)
    assert resize(images, (13, 21), "linear") is images


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_labels_come_back_on_the_slice_s_grid(interpolation: str) -> None:
    label = torch.zeros(1, 20, 30, dtype=torch.long)
    label[:, 5:15, 8:20] = 2
    logits = 10 * torch.nn.functional.one_hot(label, 3).permute(0, 3, 1, 2).float()
    small = resize(logits, (64, 64), "linear")
    back = labels_from_logits(small, (20, 30), interpolation)  # type: ignore[arg-type]
    assert back.dtype == torch.uint8
    assert (back != label).float().mean() < 0.02


def batches(store: Store, **changes: int) -> Batches:
    cases = list(store.cases)
    labelled = [SliceIndex(cases[0], i) for i in range(3)]
    unlabelled = [SliceIndex(c, i) for c in cases[1:4] for i in range(3)]
    settings = {"seed": 1, "rank": 0, "world": 1, **changes}
    return Batches(store, labelled, unlabelled, (2, 2), **settings)


def rows(batch: RawBatch) -> list[float]:
    return batch.images.flatten(1).sum(dim=1).tolist()


def test_each_slice_comes_once_per_pass(store: Store) -> None:
    items = [batches(store)[step] for step in range(9)]
    seen = [value for item in items for value in rows(item)[2:]]
    assert len(set(seen[:9])) == 9  # 9 unlabelled slices, two per step
    assert len(set(seen[9:18])) == 9
    assert sorted(seen[:9]) == sorted(seen[9:18])


def test_ranks_share_a_pass_without_overlap(store: Store) -> None:
    one = [batches(store)[step] for step in range(2)]
    two = [batches(store, rank=rank, world=2)[0] for rank in range(2)]
    assert [rows(b) for b in one] == [rows(b) for b in two]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_do_not_depend_on_workers_or_start(store: Store, workers: int) -> None:
    data = batches(store)
    resumed = [rows(b) for b in iterate(data, 3, 5, workers)]
    assert resumed == [rows(data[3]), rows(data[4])]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_that_cannot_read_says_so_in_one_line_with_all_its_parts(
    store: Store, tmp_path: Path, workers: int
) -> None:
    copy = Store(shutil.copytree(store.path, tmp_path / "store"))
    file = copy.path / "cases" / next(iter(copy.cases)) / "image.b2nd"
    file.write_bytes(b"damaged")
    with pytest.raises(InputError) as caught:
        next(iterate(batches(copy), 0, 1, workers))
    assert caught.value.subject == file
    assert str(caught.value).startswith(f"{file}: expected the contents written by prepare")
    assert "\n" not in str(caught.value)
    assert str(caught.value.parts["hint"]).endswith("--repair")


def test_slices_are_padded_to_the_largest(store: Store) -> None:
    item = batches(store)[0]
    assert item.images.shape[0] == 4
    assert item.labels.shape[0] == 2
    assert item.images.shape[-2:] == item.labels.shape[-2:]
    assert (item.shapes <= torch.tensor(item.images.shape[-2:])).all()
    assert len(item.cases) == 4


def test_streams_of_a_split(store: Store) -> None:
    patients = store.patients
    split = Split(tuple(patients[:3]), (patients[3],), (), (patients[0],))
    config = TrainConfig(batch_labelled=1, batch_unlabelled=3)
    data = training_batches(store, split, config, True, 0, 1)
    assert data.streams[0] == store.slices([patients[0]])
    assert data.streams[1] == store.slices(patients[1:3])
    supervised = training_batches(store, split, config, False, 0, 1)
    assert supervised.sizes == (4, 0)
    assert len(supervised[0].labels) == 4
    everyone = Split(split.train, split.val, (), split.train)
    with pytest.raises(InputError, match="expected unlabelled training patients"):
        training_batches(store, everyone, config, True, 0, 1)


def test_open_pixels_stay_open_and_mix_with_no_class() -> None:
    """Pixels that nobody annotated keep their code in every view; no code appears in between."""
    labels = np.full((18, 27), 255)
    labels[6:12, 9:18] = 1
    raw = one_slice(labels, padding=5)
    options = ViewOptions(interpolation="linear", turn_probability=0.5)
    for seed in range(8):
        torch.manual_seed(seed)
        label = make_batch(raw, 32, options, torch.float32).label
        assert set(label.unique().tolist()) <= {0, 1, 255}  # 0: beyond the slice
        assert (label == 255).float().mean() > 0.5
        assert (label == 1).any()


def authors_view(
    array: np.ndarray, size: int, left_right: bool, up_down: bool, degrees: int
) -> np.ndarray:
    """The steps of the authors' training, with the libraries that they use."""
    zoomed = scipy.ndimage.zoom(array, [size / side for side in array.shape], order=0)
    if left_right:
        zoomed = np.fliplr(zoomed)
    if up_down:
        zoomed = np.flipud(zoomed)
    rotated = Image.fromarray(zoomed.astype(np.uint8)).rotate(degrees, expand=True)
    left, top = ((side - size) // 2 for side in rotated.size)
    return np.array(rotated.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("shape", [(18, 27), (40, 31)])
@pytest.mark.parametrize(
    ("left_right", "up_down", "degrees"),
    [(0, 0, 0), (1, 0, 0), (0, 1, 37), (1, 1, 358), (0, 0, 90), (1, 0, 45), (0, 1, 201)],
)
def test_the_authors_geometry_is_theirs_step_by_step(
    shape: tuple[int, int], left_right: int, up_down: int, degrees: int
) -> None:
    array = np.random.default_rng(0).integers(1, 200, shape)
    flip = torch.diag(torch.tensor([1.0 - 2 * left_right, 1.0 - 2 * up_down]))
    geometry = flip @ views.rotation(torch.tensor([float(degrees)]).deg2rad())
    options = ViewOptions(geometry="authors", interpolation="nearest")
    weak, labels = weak_view(one_slice(array, padding=4), geometry, 32, options)
    expected = authors_view(array, 32, bool(left_right), bool(up_down), degrees)
    # A place halfway between two pixels may round either way.
    assert (weak[0, 0].numpy() == expected).mean() > 0.97
    assert torch.equal(weak[0, 0].long(), labels[0])
    if degrees == 45:
        assert not weak[0, 0, :4, :4].any()  # black corners


def test_the_authors_geometry_is_drawn_as_often_as_they_draw_it() -> None:
    torch.manual_seed(0)
    drawn = authors_geometry(4000)
    assert torch.allclose(torch.linalg.det(drawn).abs(), torch.ones(4000), atol=1e-5)
    still = (drawn.abs() - torch.eye(2)).abs().amax(dim=(1, 2)) < 1e-6
    assert 0.47 < still.float().mean() < 0.53
    for flips in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        as_drawn = (drawn[still].diagonal(dim1=1, dim2=2) - torch.tensor(flips)).abs().sum(1) < 1e-5
        assert 0.2 < as_drawn.float().mean() < 0.3
    degrees = torch.rad2deg(torch.atan2(drawn[:, 1, 0].abs(), drawn[:, 0, 0].abs()))
    assert torch.allclose(degrees, degrees.round(), atol=1e-2)


@pytest.mark.parametrize(
    "options", [{"turn_probability": 0.2}, {"rotation_degrees": 5}, {"scale_range": 0.1}]
)
def test_the_authors_geometry_reads_no_other_option_of_geometry(options: dict[str, float]) -> None:
    config = TrainConfig(preset="reference", options=options)
    (name,) = options
    with pytest.raises(InputError, match=f"--option {name}: expected geometry=single beside it"):
        resolve(config)
    single = resolve(replace(config, options={"geometry": "single", **options})).view_options
    assert getattr(single, name) == options[name]
    assert resolve(complete(TrainConfig(preset="reference"))).view_options.geometry == "authors"
