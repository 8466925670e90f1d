"""Sums over the rows of all processes, as if one process had the whole batch.

A training with `sync_batchnorm` runs each iteration within `shared_statistics`: batch norm and the
losses that pool over rows then see the statistics of all processes together. Outside of it,
everything here is the sum of this process.

The loss of each process is then that of the whole batch, and the mean over the processes of their
gradients is its gradient: the backward pass of a sum over processes is the sum of its gradients.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed
from torch import Tensor

_PROCESSES = ContextVar("processes", default=1)


@contextmanager
def shared_statistics(processes: int) -> Iterator[None]:
    """Take sums over this many processes while the context lasts; all of them take the same ones.

    Only the code inside is affected, so two trainings in one process do not disturb each other.
    """
    token = _PROCESSES.set(processes)
    try:
        yield
    finally:
        _PROCESSES.reset(token)


def processes() -> int:
    """Return how many processes share their statistics, 1 for none."""
    return _PROCESSES.get()


class _AllReduce(torch.autograd.Function):
    """Sum over processes, whose gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


_all_reduce: Callable[[Tensor], Tensor] = _AllReduce.apply


def shared_sum(values: Tensor) -> Tensor:
    """Return the sum over processes of a tensor of any shape, the same on all of them."""
    return values if processes() == 1 else _all_reduce(values)


def shared_mean(values: Tensor) -> Tensor:
    """Return the mean over processes, of which each has the same number of rows."""
    return values if processes() == 1 else shared_sum(values) / processes()
