"""The user's own functions that make views, called so that training stays repeatable."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrect.errors import InputError
from diffrect.plugins.names import describe_fault, find_object


def find_view(name: str, option: str) -> Callable[..., Any]:
    """Return the function that makes a view.

    Args:
        name: MODULE:FUNCTION.
        option: `weak_view` or `strong_view`.

    Raises:
        InputError: there is none.
    """
    found = find_object(name, _subject(name, option), option)
    if not callable(found):
        raise InputError(_subject(name, option), "a function", got=repr(found), setting=option)
    function: Callable[..., Any] = found
    return function


def own_weak_view(name: str, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and labels as FUNCTION(images, labels, generator) changes them.

    Args:
        name: MODULE:FUNCTION.
        images: (B, C, H, W) in [0, 1]; labelled rows come first.
        labels: (L, H, W) int64 of the labelled rows, `IGNORED` where nobody has annotated.

    Raises:
        InputError: the function raises something, or returns other shapes or kinds of numbers.
    """
    found = _call(name, "weak_view", images, labels)
    if not (isinstance(found, tuple) and len(found) == 2):
        raise _refuse(name, "weak_view", "(images, labels) back", type(found).__name__)
    _check(name, "weak_view", "images", found[0], images)
    _check(name, "weak_view", "labels", found[1], labels)
    return found


def own_strong_view(name: str, images: Tensor) -> Tensor:
    """Return images as FUNCTION(images, generator) changes them.

    Args:
        name: MODULE:FUNCTION.
        images: the weak view, (B, C, H, W) in [0, 1].

    Raises:
        InputError: the function raises something, or returns another shape or kind of numbers.
    """
    found = _call(name, "strong_view", images)
    _check(name, "strong_view", "images", found, images)
    result: Tensor = found
    return result


def _call(name: str, option: str, *tensors: Tensor) -> Any:
    """Call a function with copies, and a generator that is a function of seed, rank and step."""
    function = find_view(name, option)
    seed = int(torch.randint(2**32, ()))  # of the generator that the training loop has seeded
    generator = torch.Generator().manual_seed(seed)
    with _seeded(seed):
        try:
            return function(*(tensor.clone() for tensor in tensors), generator)
        except InputError:
            raise
        except Exception as error:  # a user's code may raise anything
            found = f"one that {describe_fault(error)}"
            expected = "a function that can be called"
            raise InputError(
                _subject(name, option), expected, found=found, setting=option
            ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generators of numpy and of Python meanwhile, for functions that draw from those."""
    before, plain_before = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
        random.setstate(plain_before)


def _check(name: str, option: str, what: str, found: Any, given: Tensor) -> None:
    """Check that a function has returned a tensor like the one that it was given."""
    expected = f"{what} back like the ones given, {given.dtype} {tuple(given.shape)}"
    if not isinstance(found, Tensor):
        raise _refuse(name, option, expected, type(found).__name__)
    same = found.shape == given.shape and found.dtype == given.dtype
    if not (same and found.device == given.device):
        raise _refuse(name, option, expected, f"{found.dtype} {tuple(found.shape)}")


def _refuse(name: str, option: str, expected: str, got: str) -> InputError:
    return InputError(_subject(name, option), expected, got=got, setting=option)


def _subject(name: str, option: str) -> str:
    return f"--option {option}={name}"
