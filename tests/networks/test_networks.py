"""The networks: sizes, shapes, padding, guidance, colours, diffusion."""

import math
from pathlib import Path

import pytest
import torch

from diffrect.errors import InputError
from diffrect.inference.reference import load_reference_checkpoint
from diffrect.networks.calibration import (
    REFERENCE_PALETTE,
    GuidanceEmbedding,
    SemanticColouring,
    calibration_guidance,
    palette,
)
from diffrect.networks.diffusion import (
    add_noise,
    alphas_cumulative,
    cosine_betas,
    ddim_sample,
    sampling_steps,
)
from diffrect.networks.rectifier import Rectifier
from diffrect.networks.reference import read_reference_network, reference_names
from diffrect.networks.unet import UNet, pad_to_multiple


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_are_the_reference_s() -> None:
    assert parameters(UNet(1, 4)) == 1_813_764
    assert parameters(Rectifier(1, 4)) == 17_468_212


@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, (50, 37)), (3, 5, (64, 16))])
def test_segmenter_takes_any_size(channels: int, classes: int, size: tuple[int, int]) -> None:
    network = UNet(channels, classes, widths=(4, 4, 8, 8, 8)).eval()
    images = torch.rand(2, channels, *size)
    logits = network(images)
    assert logits.shape == (2, classes, *size)
    padded = network(pad_to_multiple(images, 16))[..., : size[0], : size[1]]
    torch.testing.assert_close(logits, padded)


def test_rectifier_takes_any_size_and_class_count() -> None:
    network = Rectifier(2, 6, widths=(4, 4, 8, 8, 8)).eval()
    images, label = torch.rand(2, 2, 70, 33), torch.randint(6, (2, 70, 33))
    shape = network.latent_shape(images)
    assert shape == (2, 8, 8, 4)
    logits, latent = network.transport(
        images, label, label, torch.tensor([0.3]), torch.tensor([0, 9]), torch.randn(shape)
    )
    assert logits.shape == (2, 6, 70, 33)
    assert latent.ndim == 0
    rectified = network.rectify(images, label, torch.tensor([0.1, 0.9]), torch.randn(shape))
    assert rectified.shape == (2, 6, 70, 33)
    assert not rectified.requires_grad


def test_denoiser_input_decides_whether_the_condition_reaches_the_bottom() -> None:
    torch.manual_seed(0)
    for sees, differs in (("sum", True), ("noisy", False)):
        denoiser = Rectifier(1, 2, widths=(4, 4, 4, 8, 8), denoiser_input=sees).denoiser.eval()
        seen = []
        denoiser.downs[1].register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        noisy, step = torch.randn(1, 8, 4, 4), torch.tensor([3])
        for condition in (torch.zeros(1, 8, 4, 4), torch.ones(1, 8, 4, 4)):
            denoiser(noisy, step, condition)
        assert bool((seen[0] != seen[1]).any()) is differs


def test_palette_keeps_the_reference_colours_and_stays_distinct() -> None:
    assert palette(2) == REFERENCE_PALETTE[:2]
    assert palette(2, "black_white") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert palette(3, "black_white") == REFERENCE_PALETTE[:3]
    assert palette(4) == REFERENCE_PALETTE
    for classes in (5, 8, 32, 100):
        colours = palette(classes)
        assert colours[:4] == REFERENCE_PALETTE
        assert len(set(colours)) == classes
        assert all(0 <= value <= 1 for colour in colours for value in colour)
    eight = palette(8)
    assert min(math.dist(a, b) for i, a in enumerate(eight) for b in eight[:i]) == 1.0


def test_colouring_looks_every_class_up() -> None:
    coloured = SemanticColouring(4)(torch.tensor([[[0, 1], [2, 3]]]))
    assert coloured.shape == (1, 3, 2, 2)
    assert coloured[0, :, 1, 0].tolist() == [0.0, 1.0, 0.0]


def test_guidance_is_the_dice_loss_of_hard_labels() -> None:
    coarse = torch.tensor([[[0, 0, 1, 1]], [[0, 1, 1, 1]]])
    fine = torch.tensor([[[0, 0, 1, 1]], [[1, 1, 1, 1]]])
    per_row = calibration_guidance(coarse, fine, 2, per_row=True)
    # second row: background 1 - 0 / 1, foreground 1 - 6 / 7
    assert per_row.tolist() == pytest.approx([0.0, (1 + 1 / 7) / 2], abs=1e-4)
    whole = calibration_guidance(coarse, fine, 2, per_row=False)
    # pooled: background 1 - 4 / 5, foreground 1 - 10 / 11
    assert whole.tolist() == pytest.approx([(1 / 5 + 1 / 11) / 2], abs=1e-4)


def test_embedding_is_sines_then_cosines() -> None:
    embedding = GuidanceEmbedding(features=8, width=8)
    torch.nn.init.eye_(embedding.first.weight)
    torch.nn.init.zeros_(embedding.first.bias)
    torch.nn.init.eye_(embedding.second.weight)
    torch.nn.init.zeros_(embedding.second.bias)
    phase = 3.0 * torch.tensor([10000 ** (-i / 3) for i in range(4)])
    features = torch.cat([phase.sin(), phase.cos()])
    expected = torch.nn.functional.silu(features)
    torch.testing.assert_close(embedding(torch.tensor([3.0]))[0], expected)


def test_schedule_and_noising() -> None:
    alphas = alphas_cumulative(cosine_betas(10))
    assert cosine_betas(10)[-1].item() == 0.999
    assert (alphas.diff() < 0).all()
    clean, noise = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    noisy = add_noise(clean, noise, torch.tensor([0, 9]), alphas)
    assert noisy[:, 0, 0, 0].tolist() == pytest.approx(alphas[[0, 9]].sqrt().tolist())


@pytest.mark.parametrize(("count", "steps"), [(1, [9]), (2, [9, 0]), (10, list(range(9, -1, -1)))])
def test_sampling_visits_evenly_spaced_steps(count: int, steps: list[int]) -> None:
    assert sampling_steps(10, count) == steps


def test_ddim_returns_what_a_perfect_denoiser_predicts() -> None:
    target = 3 * torch.ones(2, 1, 2, 2)
    seen: list[int] = []

    def denoise(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        seen.append(int(step[0]))
        return target

    alphas = alphas_cumulative(cosine_betas(10))
    noise = torch.randn(2, 1, 2, 2)
    torch.testing.assert_close(ddim_sample(denoise, noise, alphas, [9, 4, 0], False), target)
    assert seen == [9, 4, 0]
    clamped = ddim_sample(denoise, noise, alphas, [9, 0], clamp=True)
    torch.testing.assert_close(clamped, torch.ones_like(target))


def test_reference_names_cover_every_entry() -> None:
    for network in (UNet(1, 4), Rectifier(1, 4)):
        names = reference_names(network)
        assert len(names) == len(network.state_dict())
        assert not any("first" in name or "second" in name for name in names)


def test_reference_checkpoint_loads_and_predicts(tmp_path: Path) -> None:
    network = UNet(1, 3)
    ours = network.state_dict()
    theirs = {name: ours[mine] for name, mine in reference_names(network).items()}
    torch.save(theirs, tmp_path / "unet_best_model.pth")
    model = load_reference_checkpoint(tmp_path / "unet_best_model.pth", size=32)
    assert model.classes == ("background", "class 1", "class 2")
    images = torch.rand(2, 1, 40, 30).numpy()
    assert model.predict_slices(images).shape == (2, 40, 30)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, ours[name])
    with pytest.raises(InputError, match="expected 3 class names, got 2"):
        load_reference_checkpoint(tmp_path / "unet_best_model.pth", classes=("a", "b"))


def test_reference_rectifier_loads(tmp_path: Path) -> None:
    network = Rectifier(1, 4)
    theirs = {name: network.state_dict()[mine] for name, mine in reference_names(network).items()}
    torch.save({"state_dict": theirs}, tmp_path / "rectifier.pth")
    loaded = read_reference_network(tmp_path / "rectifier.pth")
    assert isinstance(loaded, Rectifier)
    assert loaded.clamp_latent
    with pytest.raises(InputError, match="holds a rectifier"):
        load_reference_checkpoint(tmp_path / "rectifier.pth")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pth: expected a checkpoint"):
        load_reference_checkpoint(tmp_path / "text.pth")
    with pytest.raises(InputError, match="found nothing"):
        load_reference_checkpoint(tmp_path / "missing.pth")
