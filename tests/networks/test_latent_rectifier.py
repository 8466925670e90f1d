"""The rectifier that sees volumes: only the latent carries the label, at any size."""

import pytest
import torch
from torch import Tensor, nn

from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.networks.unet import pad_to_multiple


def one_hot(codes: Tensor, classes: int = 2) -> Tensor:
    return nn.functional.one_hot(codes.long(), classes).movedim(-1, -3).float()


def network(channels: int = 1, classes: int = 2, neighbours: int = 1) -> LatentRectifier:
    torch.manual_seed(0)
    return LatentRectifier(channels, classes, neighbours=neighbours)


@pytest.mark.parametrize(
    ("size", "channels", "classes", "neighbours"),
    [((32, 32), 1, 2, 1), ((40, 17), 2, 5, 0), ((2, 3), 1, 254, 2)],
)
def test_any_size_channels_classes_and_neighbours(
    size: tuple[int, int], channels: int, classes: int, neighbours: int
) -> None:
    mine = network(channels, classes, neighbours).eval()
    slices = 1 + 2 * neighbours
    images = torch.rand(2, slices * channels, *size)
    coarse = one_hot(torch.randint(classes, (2, slices + 1, *size)), classes)
    noise = torch.randn(mine.latent_shape(images))
    logits = mine.rectify(images, coarse, torch.tensor([0.3]), noise)
    assert logits.shape == (2, classes, *size)
    assert logits.isfinite().all()


def test_the_decoder_reads_the_label_from_the_latent_alone() -> None:
    """The logits of one latent are the same whatever the label, and those of two latents differ."""
    mine = network().eval()
    images = torch.rand(2, 3, 40, 40)
    noise = torch.randn(mine.latent_shape(images))
    padded = mine.image_encoder(pad_to_multiple(images, 32))
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        coarse = one_hot(torch.randint(2, (2, 4, 40, 40)))
        maps = mine.encode_images(images)
        conditions = mine.encode(mine.colouring.mix(coarse))
        assert all(map(torch.equal, maps, padded))  # no label among them
        found.append(mine.decode(conditions[0], maps[:3], (40, 40)))
        zeros = mine.decode(torch.zeros_like(noise), maps[:3], (40, 40))
        assert not torch.equal(found[-1], zeros)
    assert not torch.equal(*found)


def test_a_latent_that_sampling_leaves_alone_leaves_the_label_alone() -> None:
    mine = network().eval()
    nn.init.zeros_(mine.denoiser.correction.weight)
    assert mine.denoiser.correction.bias is not None
    nn.init.zeros_(mine.denoiser.correction.bias)
    images = torch.rand(2, 3, 32, 32)
    coarse = torch.rand(2, 4, 2, 32, 32).softmax(dim=2)
    noise = torch.randn(mine.latent_shape(images))
    logits = mine.rectify(images, coarse, torch.tensor([0.5]), noise, weight=1.0, decoded=0.0)
    assert torch.allclose(logits.softmax(dim=1), coarse[:, 0], atol=1e-5)


def test_the_weight_scales_what_is_changed() -> None:
    mine = network().double().eval()
    images = torch.rand(1, 3, 32, 32).double()
    coarse = torch.rand(1, 4, 2, 32, 32).double().softmax(dim=2)
    noise = torch.randn(mine.latent_shape(images)).double()
    guidance = torch.tensor([0.5]).double()
    none, once, twice = (
        mine.rectify(images, coarse, guidance, noise, weight, 0.0) for weight in (0, 1, 2)
    )
    assert torch.equal(none, coarse[:, 0].log())
    assert torch.allclose(twice - none, 2 * (once - none), rtol=1e-6, atol=1e-12)
    assert (once - none).abs().max() > 1e-6


def test_the_decoded_label_has_a_share_in_the_corrected_one() -> None:
    mine = network().double().eval()
    images = torch.rand(1, 3, 32, 32).double()
    coarse = torch.rand(1, 4, 2, 32, 32).double().softmax(dim=2)
    noise = torch.randn(mine.latent_shape(images)).double()
    guidance = torch.tensor([0.5]).double()
    changed, both, decoded = (
        mine.rectify(images, coarse, guidance, noise, 1.0, share) for share in (0, 0.5, 1)
    )
    maps, conditions = mine.encode_images(images), mine.encode(mine.colouring.mix(coarse))
    latent = mine.sample(maps, conditions, guidance, noise)
    assert torch.allclose(decoded, mine.decode(latent, maps[:3], (32, 32)).log_softmax(1))
    assert torch.allclose(both, (changed + decoded) / 2)


def test_latents_are_standardised_and_the_decoder_learns_nothing_from_the_latent_loss() -> None:
    mine = network()
    images, target = torch.rand(3, 3, 32, 32), mine.colouring(torch.randint(2, (3, 32, 32)))
    coarse = mine.colouring.mix(one_hot(torch.randint(2, (3, 4, 32, 32))))
    noise = torch.randn(mine.latent_shape(images))
    steps = torch.tensor([0, 5, 9])
    out = mine.transport(images, coarse, target, torch.rand(3), steps, noise)
    assert out.logits.shape == out.decoded.shape == (3, 2, 32, 32)
    latents = torch.stack(mine.encode(coarse))
    assert latents.mean((0, 1, 3, 4)).abs().max() < 1e-4
    assert torch.allclose(latents.var((0, 1, 3, 4)), torch.ones(32), atol=0.02)
    out.latent.backward()
    assert mine.decoder.head.weight.grad is None
    assert mine.label_encoder.last.weight.grad is not None  # through the condition
