"""Concatenation and dropout in channels-last layout against PyTorch's own."""

import pytest
import torch
from torch import Tensor

from diffrect.models.layout import Dropout, _Concatenate, concatenate


def channels_last(*shape: int) -> Tensor:
    x = torch.randn(*shape).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


def test_concatenation_is_torch_s() -> None:
    first, second = channels_last(2, 3, 4, 5), channels_last(2, 6, 4, 5)
    ours, theirs = concatenate(first, second), torch.cat([first, second], dim=1)
    assert "_Concatenate" in str(ours.grad_fn)
    assert torch.equal(ours, theirs)
    slope = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, [first, second], slope)
    assert all(map(torch.equal, mine, torch.autograd.grad(theirs, [first, second], slope)))
    assert all(gradient.is_contiguous(memory_format=torch.channels_last) for gradient in mine)


def test_other_layouts_stay_as_they_are() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    assert concatenate(first, second).is_contiguous()
    assert torch.equal(_Concatenate.apply(first, second), torch.cat([first, second], dim=1))


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
