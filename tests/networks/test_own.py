"""Networks in place of the U-Net: how they are named, made and tried."""

import re

import pytest
import torch

from diffrect.errors import InputError
from diffrect.networks.own import OwnNetwork, make_network
from diffrect.networks.spec import NetworkSpec
from diffrect.networks.trial import check_network
from diffrect.networks.unet import UNet

HERE = "support.own_networks"


def test_a_name_is_read_and_never_run() -> None:
    spec = NetworkSpec.parse("a.b:C( channels=(16, 32), norm='batch', act=('prelu', {'a': -1}) )")
    assert spec.name == "a.b:C"
    assert spec.arguments == {"channels": (16, 32), "norm": "batch", "act": ("prelu", {"a": -1})}
    assert NetworkSpec.parse("a:B") == NetworkSpec.parse("a:B()") == NetworkSpec("a:B", {})
    assert not NetworkSpec.parse(" unet ").is_own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("UNet", "expected unet, MODULE:CLASS or MODULE:CLASS"),
        ("", "expected unet, MODULE:CLASS or MODULE:CLASS"),
        ("a:B:C", "expected unet, MODULE:CLASS or MODULE:CLASS"),
        ("1:2", "expected unet, MODULE:CLASS or MODULE:CLASS"),
        ("a:B(" + "(" * 5000, "expected unet, MODULE:CLASS or MODULE:CLASS"),
        ("a:B(1)", "expected arguments such as .*: a value without a name"),
        ("a:B(**{'c': 1})", "expected arguments such as .*: a value without a name"),
        ("a:B(c=open('x'))", "expected arguments such as .*: a value that is not plain"),
        ("a:B(c=d)", "expected arguments such as .*: a value that is not plain"),
        ("a:B(c=1)(d=2)", "expected arguments such as .*: more than one call"),
        ("a:B(c=1).d()", "expected arguments such as .*: more than one call"),
        ("a:B(c=" + "(" * 300 + ")" * 300 + ")", "expected arguments such as"),
        ("a:B(c=1, c=2)", "expected arguments such as .*: a name that is there twice"),
    ],
)
def test_what_is_no_name_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--network: {message}") as caught:
        NetworkSpec.parse(text)
    assert caught.value.setting == "network"
    assert "\n" not in str(caught.value)


def test_numbers_come_from_the_data_and_arguments_win() -> None:
    network = make_network(f"{HERE}:Shared(width=6)", channels=2, classes=3)
    assert isinstance(network, OwnNetwork)
    logits = network(torch.zeros(1, 2, 8, 8))
    assert logits.shape == (1, 3, 8, 8)
    assert network.network.head.in_channels == 6  # type: ignore[union-attr]
    other = make_network(f"{HERE}:Shared(out_channels=5)", channels=2, classes=3)
    assert other(torch.zeros(1, 2, 8, 8)).shape == (1, 5, 8, 8)
    assert make_network(f"{HERE}:Normed", 2, 3)(torch.zeros(1, 2, 8, 8)).shape == (1, 3, 8, 8)
    assert isinstance(make_network("unet", 2, 3), UNet)


def test_logits_are_in_single_precision_under_autocast() -> None:
    network = make_network(f"{HERE}:Shared", 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.zeros(1, 1, 8, 8)).dtype == torch.float32


def test_a_trial_changes_no_random_number() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_network(f"{HERE}:Shared", 1, 4, 32, fewest=1)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("name", ["Shared", "Normed", "Halving", "Deep(deep_supervision=False)"])
def test_what_fits_passes(name: str) -> None:
    check_network(f"{HERE}:{name}", channels=1, classes=4, size=48, fewest=1)


@pytest.mark.parametrize(
    ("name", "size", "fewest", "message"),
    [
        ("Missing", 32, 2, "expected Missing to be defined in support.own_networks"),
        ("function", 32, 2, "expected a subclass of torch.nn.Module, got <function function"),
        ("Raising", 32, 2, r"expected arguments that make it, .* raises RuntimeError: no \("),
        ("Shared(depth=2)", 32, 2, "raises TypeError: .*unexpected keyword argument 'depth'; see"),
        ("Nothing", 32, 2, "expected parameters to train, found none"),
        (
            "Halving",
            40,
            2,
            "expected a --size that is a multiple of 16, such as 48, got 40: raises",
        ),
        ("Deep", 32, 2, "one map of logits .* in training, got 2 of them; add deep_supervision=F"),
        ("Stacked", 32, 2, r"one map of logits .*, got shape \(2, 1, 4, 32, 32\); the losses take"),
        ("Flat", 32, 2, "found one that raises .*; slices are 2-D: add spatial_dims=2"),
        ("Half", 32, 2, r"logits of shape \(2, 4, 32, 32\) in training, got \(2, 4, 16, 16\)"),
        ("Shares", 32, 2, "expected logits, found probabilities that sum to 1; leave its softmax"),
        ("Labels", 32, 2, "expected logits in training, got torch.int64"),
        ("Pairs", 32, 1, "that trains on single slices, found one that raises .*; give --batch-"),
        ("Crowd", 32, 2, "expected a network that predicts single slices, found one that raises"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, size: int, fewest: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_network(f"{HERE}:{name}", channels=1, classes=4, size=size, fewest=fewest)
    line = str(caught.value)
    assert line.startswith(f"--network {HERE}:{re.split(r'[(]', name)[0]}: expected ")
    assert "\n" not in line
    assert caught.value.setting == "network"


def test_networks_of_pairs_train_on_pairs() -> None:
    check_network(f"{HERE}:Pairs", channels=1, classes=4, size=32, fewest=2)
    check_network(f"{HERE}:Flat(spatial_dims=2)", channels=1, classes=4, size=32)
