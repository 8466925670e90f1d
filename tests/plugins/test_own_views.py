"""Views of the user's own: in their place, repeatable, and explained if they answer nonsense."""

import random
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrect.data.batch import RawBatch
from diffrect.data.view_options import ViewOptions
from diffrect.data.views import make_batch
from diffrect.errors import InputError
from diffrect.plugins.views import find_view

SIZE = 8


class Mine(ModuleType):
    """A module of views."""

    number = 3

    @staticmethod
    def noise(images: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(images.shape, generator=generator) + torch.rand(images.shape)
        return drawn + random.random() + float(np.random.rand())

    @staticmethod
    def dark(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return images.zero_(), labels.fill_(1)

    @staticmethod
    def small(images: Tensor, generator: torch.Generator) -> Tensor:
        return images[:, :, ::2]

    @staticmethod
    def doubles(images: Tensor, generator: torch.Generator) -> Tensor:
        return images.double()

    @staticmethod
    def arrays(images: Tensor, generator: torch.Generator) -> np.ndarray:
        return images.numpy()

    @staticmethod
    def forgets(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return images

    @staticmethod
    def floats(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return images, labels.float()

    @staticmethod
    def raises(images: Tensor, generator: torch.Generator) -> Tensor:
        raise ZeroDivisionError("by zero")

    @staticmethod
    def takes_one(images: Tensor) -> Tensor:
        return images


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", Mine("mine"))


def raw() -> RawBatch:
    images = torch.linspace(0, 1, 3 * SIZE * SIZE).reshape(3, 1, SIZE, SIZE)
    labels = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    return RawBatch(images, labels, torch.full((3, 2), SIZE), ("a", "b", "c"), None, (0, 0, 0))


def batch_of(options: ViewOptions, seed: int = 0):  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    return make_batch(raw(), SIZE, options, torch.float32)


def test_views_take_their_places() -> None:
    plain = batch_of(ViewOptions(cutmix_probability=0))
    noisy = batch_of(ViewOptions(cutmix_probability=0, strong_view="mine:noise"))
    assert torch.equal(noisy.weak, plain.weak)
    assert noisy.strong.min() > plain.strong.max() * 0  # sums of four draws
    assert not torch.equal(noisy.strong, plain.strong)
    dark = batch_of(ViewOptions(cutmix_probability=0, weak_view="mine:dark"))
    assert dark.weak.abs().max() == 0
    assert (dark.label == 1).all()
    assert dark.strong.max() == 0  # it is made of the weak view
    pasted = batch_of(ViewOptions(cutmix_probability=1, strong_view="mine:noise"))
    assert pasted.pasted is not None
    assert pasted.pasted.any()


def test_draws_are_those_of_the_step_and_leave_others_alone() -> None:
    options = ViewOptions(strong_view="mine:noise")
    random.seed(1)
    np.random.seed(1)
    first = batch_of(options)
    after = random.random(), float(np.random.rand())
    random.seed(1)
    np.random.seed(1)
    assert (random.random(), float(np.random.rand())) == after
    assert torch.equal(batch_of(options).strong, first.strong)
    assert not torch.equal(batch_of(options, seed=1).strong, first.strong)


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        (
            "strong_view",
            "small",
            r"expected images back like the ones .*, got torch.float32 \(3, 1, 4",
        ),
        ("strong_view", "doubles", "expected images back like the ones given, .*got torch.float64"),
        ("strong_view", "arrays", "expected images back like the ones given, .*got ndarray"),
        ("weak_view", "forgets", r"expected \(images, labels\) back, got Tensor"),
        (
            "weak_view",
            "floats",
            r"expected labels back like .*int64 \(1, 8, 8\), got torch.float32",
        ),
        (
            "strong_view",
            "raises",
            r"one that raises ZeroDivisionError: by zero \(.*test_own_views.py, li",
        ),
        ("strong_view", "takes_one", "one that raises TypeError: .*takes 1 positional argument"),
    ],
)
def test_nonsense_is_one_line(option: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        batch_of(ViewOptions(**{option: f"mine:{name}"}))
    assert str(caught.value).startswith(f"--option {option}=mine:{name}: expected ")
    assert "\n" not in str(caught.value)


def test_views_are_functions() -> None:
    with pytest.raises(InputError, match=r"--option weak_view=mine:number: expected a function"):
        find_view("mine:number", "weak_view")
    with pytest.raises(InputError, match=r"weak_view: expected MODULE:FUNCTION, got mine"):
        ViewOptions(weak_view="mine")
