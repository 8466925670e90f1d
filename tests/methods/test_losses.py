"""Losses, pseudo-labels and schedules against values worked out by hand."""

import math

import pytest
import torch

from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.losses import (
    complementary_loss,
    confidence_weight,
    consistency_ramp,
    cross_entropy,
    cross_entropy_dice,
    dice_loss,
    poly_rate,
    pseudo_label,
)

# Two classes, two pixels: p(class 1) = .8 and .4, truth 1 and 0.
TOY = torch.tensor([[[0.2, 0.6]], [[0.8, 0.4]]], dtype=torch.float64)[None]
TRUTH = torch.tensor([[[1, 0]]])


def test_dice_and_cross_entropy_of_the_toy() -> None:
    assert dice_loss(TOY, TRUTH).item() == pytest.approx(0.126983, abs=1e-6)
    assert cross_entropy(TOY.log(), TRUTH).item() == pytest.approx(0.366985, abs=1e-6)
    assert cross_entropy_dice(TOY.log(), TRUTH).item() / 2 == pytest.approx(0.246984, abs=1e-6)


def test_ignored_pixels_count_nowhere() -> None:
    wider = torch.cat([TOY, torch.tensor([0.1, 0.9], dtype=torch.float64)[None, :, None, None]], 3)
    truth = torch.tensor([[[1, 0, IGNORED]]])
    assert dice_loss(wider, truth) == dice_loss(TOY, TRUTH)
    assert cross_entropy(wider.log(), truth).item() == pytest.approx(
        cross_entropy(TOY.log(), TRUTH).item()
    )


def test_all_pixels_ignored_gives_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = cross_entropy_dice(logits, torch.full((1, 4, 4), IGNORED))
    loss.backward()
    assert loss.item() == pytest.approx(0.0)
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_pools_rows_before_it_divides() -> None:
    rows = torch.cat([TOY, 1 - TOY])
    truth = torch.cat([TRUTH, TRUTH])
    pooled = dice_loss(rows, truth)
    alone = (dice_loss(rows[:1], truth[:1]) + dice_loss(rows[1:], truth[1:])) / 2
    assert pooled.item() != pytest.approx(alone.item(), abs=1e-3)


@pytest.mark.parametrize(
    ("probabilities", "label"), [((0.1, 0.2, 0.6, 0.1), 2), ((0.15, 0.15, 0.55, 0.15), None)]
)
def test_pseudo_label_needs_confidence(probabilities: tuple[float, ...], label: int | None) -> None:
    # (.6 - .1) / .6 = .8333 passes .8; (.55 - .15) / .55 = .7273 does not
    logits = torch.tensor(probabilities).log()[None, :, None, None]
    for unsure in (0, IGNORED):
        expected = unsure if label is None else label
        assert pseudo_label(logits, 0.8, unsure).item() == expected


def test_complementary_loss_of_the_toy() -> None:
    # two pixels; strong p_0 = .9 and .1, weak p_0 = .8 and .3 -> w .531004, CE .197056 / w
    strong = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]], dtype=torch.float64)[None].log()
    weak = torch.tensor([[[0.8, 0.3]], [[0.2, 0.7]]], dtype=torch.float64)[None].log()
    loss, weight = complementary_loss(weak, strong)
    assert weight.item() == pytest.approx(0.531004, abs=1e-6)
    assert (weight * loss).item() == pytest.approx(0.104638, abs=1e-6)


def test_confidence_weight_survives_a_class_that_underflows() -> None:
    logits = torch.tensor([[[0.0, 0.0]], [[-200.0, -200.0]]])[None].requires_grad_()
    confidence_weight(logits).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_confidence_weight_is_one_where_a_class_sits_in_one_pixel() -> None:
    logits = 60 * torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]]])[None]
    assert confidence_weight(logits).item() == pytest.approx(1.0)
    assert confidence_weight(torch.zeros(1, 2, 1, 2)).item() == pytest.approx(0.0)


def test_ramp_rises_in_stairs() -> None:
    assert consistency_ramp(0, 30000, 200) == pytest.approx(math.exp(-5))
    assert consistency_ramp(149, 30000, 200) == consistency_ramp(0, 30000, 200)
    assert consistency_ramp(15000, 30000, 200) == pytest.approx(math.exp(-1.25))
    assert consistency_ramp(30000, 30000, 200) == 1.0


def test_rate_starts_twice_at_its_base() -> None:
    assert poly_rate(0.01, 0, 3) == poly_rate(0.01, 1, 3) == 0.01
    assert poly_rate(0.01, 2, 3) == pytest.approx(0.01 * (2 / 3) ** 0.9)
