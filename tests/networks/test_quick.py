"""Dropout and convolutions of two maps in channels-last layout against PyTorch's own."""

import pytest
import torch
from torch import Tensor, nn

from diffrect.networks.quick import _PART, Dropout, convolve_both


def channels_last(*shape: int) -> Tensor:
    x = torch.randn(*shape).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_two_maps_is_torch_s_of_their_concatenation(bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(9, 5, 3, padding=1, bias=bias).double().to(memory_format=torch.channels_last)
    maps = [channels_last(2, 3, 6, 7).double(), channels_last(2, 6, 6, 7).double()]
    ours, theirs = convolve_both(conv, *maps), conv(torch.cat(maps, dim=1))
    assert "Cat" not in str(ours.grad_fn.next_functions)
    torch.testing.assert_close(ours, theirs)
    slope = torch.randn_like(ours)
    learned = [*maps, *conv.parameters()]
    mine = torch.autograd.grad(ours, learned, slope)
    torch.testing.assert_close(mine, torch.autograd.grad(theirs, learned, slope))


def test_maps_in_the_default_layout_are_concatenated() -> None:
    conv, maps = nn.Conv2d(9, 5, 3), (torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5))
    assert torch.equal(convolve_both(conv, *maps), conv(torch.cat(maps, dim=1)))


@pytest.mark.parametrize("p", [0.05, 0.5, 1.0])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(4, 16, 64, 64).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = Dropout(p)(x)
    share = (y == 0).float().mean().item()
    assert abs(share - p) < 3 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-16
    if p < 1:
        assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - p)))
    (slope,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert torch.equal(slope, y)  # what was dropped learns nothing


def test_dropout_is_a_function_of_the_seed_and_off_in_eval_mode() -> None:
    x = channels_last(2, 3, 5, 7)  # 210 elements: not a multiple of four
    dropout = Dropout(0.3)
    assert x.numel() % 4
    torch.manual_seed(1)
    once = dropout(x)
    torch.manual_seed(1)
    assert torch.equal(dropout(x), once)
    assert not torch.equal(dropout(x), once)
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_of_strided_and_other_layouts() -> None:
    x = torch.randn(2, 8, 6, 6)[:, ::2]  # neither layout: PyTorch's own
    y = Dropout(0.5)(x)
    kept = y != 0
    assert torch.allclose(y[kept], 2 * x[kept])
    plain = Dropout(0.5)(torch.ones(2, 8, 6, 6))
    assert plain.is_contiguous()
    assert 0 < (plain == 0).float().mean() < 1


def test_parts_of_a_large_map_are_drawn_each_for_itself() -> None:
    ones = torch.ones(1, 1, 2, _PART)
    kept = Dropout(0.5)(ones).bool()[0, 0]
    assert abs((kept[0] == kept[1]).float().mean().item() - 0.5) < 0.01
