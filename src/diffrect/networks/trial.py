"""A trial of a user's network before training: sizes, single slices, and what it answers."""

import inspect
import math
from typing import Any

import torch
from torch import Tensor

from diffrect.errors import InputError
from diffrect.networks.own import OwnNetwork, flat_hint, only_map, refuse
from diffrect.networks.spec import NetworkSpec
from diffrect.plugins.names import describe_fault

MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
"""Sizes that are multiples of these are tried where a network does not take one."""


def check_network(
    text: str, channels: int, classes: int, size: int, *, fewest: int = 2, option: str = "size"
) -> None:
    """Check that a network turns slices into logits, on zeros and noise; the U-Net needs no check.

    Random numbers that come later are the same as without it.

    Args:
        text: how the user names it, see `NetworkSpec`.
        channels: channels of the images.
        classes: number of classes, background included.
        size: height and width of the slices, pixels.
        fewest: rows of the smallest pass in training.
        option: the option that sets the size.

    Raises:
        InputError: it cannot be made or trained, does not take the slices, or answers something
            else than logits.
    """
    spec = NetworkSpec.parse(text)
    if not spec.is_own:
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = OwnNetwork(text, channels, classes)
        if not any(p.requires_grad for p in network.parameters()):
            raise refuse(spec, "parameters to train", found="none")
        trial = _Trial(network, channels, classes, size)
        trial.check_training(max(2, fewest), option)
        if fewest == 1:
            trial.check_alone()
        trial.check_prediction()


class _Trial:
    """A network that is tried on slices of one size."""

    def __init__(self, network: OwnNetwork, channels: int, classes: int, size: int) -> None:
        self.network, self.spec = network, network.spec
        self.channels, self.classes, self.size = channels, classes, size

    def check_training(self, rows: int, option: str) -> None:
        """Check a pass in training mode."""
        try:
            found = self.run(rows, self.size, training=True)
        except Exception as error:  # another's code may raise anything
            raise self.size_refused(error, option) from error
        self.check_logits(found, (rows, self.classes, self.size, self.size), "in training")

    def check_alone(self) -> None:
        """Check a pass of one row in training mode, if the training has such."""
        try:
            self.run(1, self.size, training=True)
        except Exception as error:
            raise refuse(
                self.spec,
                "a network that trains on single slices",
                found=f"one that {describe_fault(error)}",
                hint="give --batch-labelled and --batch-unlabelled of at least 2",
            ) from error

    def check_prediction(self) -> None:
        """Check a pass of one row in eval mode, as prediction needs it."""
        try:
            found = self.run(1, self.size, training=False)
        except Exception as error:
            found_fault = f"one that {describe_fault(error)}"
            expected = "a network that predicts single slices"
            raise refuse(self.spec, expected, found=found_fault) from error
        self.check_logits(found, (1, self.classes, self.size, self.size), "in prediction")
        if bool((found >= 0).all()) and torch.allclose(found.sum(1), torch.ones(()), atol=1e-3):
            hint = "leave its softmax out, the losses have one"
            raise refuse(self.spec, "logits", found="probabilities that sum to 1", hint=hint)

    def run(self, rows: int, size: int, *, training: bool) -> Any:
        """Return what the network answers, in training or eval mode."""
        network = self.network.network.train(training)
        return only_map(network(torch.rand(rows, self.channels, size, size)))

    def check_logits(self, found: Any, shape: tuple[int, ...], when: str) -> None:
        """Check that an answer is one map of logits of a shape (B, classes, H, W)."""
        kind = type(self.network.network)
        several = isinstance(found, list | tuple | dict)
        if several or (isinstance(found, Tensor) and found.ndim == len(shape) + 1):
            deep = "deep_supervision" in inspect.signature(kind).parameters
            hint = "add deep_supervision=False" if deep else "the losses take one map"
            got = f"{len(found)} of them" if several else f"shape {tuple(found.shape)}"
            raise refuse(self.spec, f"one map of logits {shape} {when}", got=got, hint=hint)
        if not isinstance(found, Tensor) or not found.is_floating_point():
            got = getattr(found, "dtype", type(found).__name__)
            raise refuse(self.spec, f"logits {when}", got=got)
        if tuple(found.shape) != shape:
            raise refuse(self.spec, f"logits of shape {shape} {when}", got=tuple(found.shape))

    def size_refused(self, error: Exception, option: str) -> InputError:
        """Return the error about a network that cannot run, with the sizes that it takes."""
        fault = f"one that {describe_fault(error)}"
        hint = flat_hint(type(self.network.network), self.spec)
        if hint is None:
            fitting = self.fitting_size()
            if fitting is not None:
                multiple, size = fitting
                return refuse(
                    self.spec,
                    f"a --{option} that is a multiple of {multiple}, such as {size}",
                    got=self.size,
                    reason=fault.removeprefix("one that "),
                )
        expected = f"a network of slices {self.channels} x {self.size} x {self.size}"
        return refuse(self.spec, expected, found=fault, hint=hint)

    def fitting_size(self) -> tuple[int, int] | None:
        """Return the smallest multiple that sizes have to be, and the next size; None if unknown.

        A size is tried that is no multiple of twice as much, so that luck does not decide.
        """
        for multiple in MULTIPLES:
            steps = math.ceil(self.size / multiple)
            odd = steps + 1 - steps % 2
            if self.size % multiple and self.takes(multiple * odd):
                return multiple, multiple * steps
        return None

    def takes(self, size: int) -> bool:
        """Return whether the network runs on slices of another size."""
        try:
            found = self.run(2, size, training=True)
        except Exception:
            return False
        return isinstance(found, Tensor) and found.shape[-2:] == (size, size)
