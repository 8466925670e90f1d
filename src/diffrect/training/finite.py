"""Detect non-finite losses and gradients before the optimiser step; stop with advice, or skip.

A loss and its gradients are checked together, once per update: the norm of the gradients is finite
if all of them are.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.errors import InputError


class DivergedError(InputError):
    """Report that a training came upon numbers that are not finite."""


LIMIT = 100
"""Iterations in a row that may be skipped before a training that skips them stops after all."""
SMALLEST_SCALE = 1.0
"""Precision 16-mixed halves its loss scale when gradients overflow, down to this."""


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Return the Euclidean norm of all gradients of an optimiser; not finite if one is not."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    norms = torch.stack(torch._foreach_norm(gradients))
    return cast(Tensor, torch.linalg.vector_norm(norms))


def find_blow_up(loss: Tensor, optimizer: Optimizer) -> str | None:
    """Return which is not finite, "loss" or "gradient"; None if both are.

    This waits for the device once, as reading only the loss would.
    """
    norm = gradient_norm(optimizer)
    found = torch.stack([loss.detach().float(), norm.to(loss.device).float()]).isfinite().tolist()
    return None if all(found) else ("gradient" if found[0] else "loss")


def blow_up(run: Path, what: str, update: str, step: int, cases: Iterable[str]) -> DivergedError:
    """Return the error that says what happened, to which cases, and what to try.

    Args:
        run: the RUN folder.
        what: "loss" or "gradient".
        update: name of the update.
        step: the iteration, counted from 0.
        cases: ids of the cases in the batch.
    """
    named = ", ".join(dict.fromkeys(cases))
    return DivergedError(
        run,
        problem=f"the {what} of the {update} update is not finite at iteration {step} "
        f"(cases {named})",
        hint="try a lower --learning-rate or --precision 32-true, or where it is rare "
        "--nonfinite skip, which --resume takes too",
    )


def check_state(state: Mapping[str, Any], where: str) -> None:
    """Refuse a state with a number in it that is not finite; such a state is never saved.

    Raises:
        InputError: naming the entry.
    """
    tensors = dict(_tensors(state, ""))
    if not tensors:
        return
    norms = torch.stack([norm.cpu() for norm in torch._foreach_norm(list(tensors.values()))])
    if not norms.isfinite().all():
        broken = next(n for n, norm in zip(tensors, norms, strict=True) if not norm.isfinite())
        raise DivergedError(
            where,
            problem=f"expected finite weights to save, {broken} is not",
            hint="the checkpoints before are kept; try a lower --learning-rate or "
            "--precision 32-true",
        )


def _tensors(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the floating-point tensors in nested dicts, with the path that leads to each."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, Tensor) and state.is_floating_point() and state.numel():
        yield name, state


class Buffers:
    """Batch norm's running statistics and the like, to return to when an iteration is skipped.

    The forward pass moves them before the loss is known.
    """

    def __init__(self, network: nn.Module) -> None:
        self.live = [b for b in network.buffers() if b.is_floating_point()]
        self.kept = [torch.empty_like(buffer) for buffer in self.live]

    def keep(self) -> None:
        """Remember them as they are now."""
        if self.live:
            torch._foreach_copy_(self.kept, self.live)

    def restore(self) -> None:
        """Put back what was remembered last."""
        if self.live:
            torch._foreach_copy_(self.live, self.kept)


class Guard:
    """Checks the numbers of every update, and counts the iterations that are left out.

    Attributes:
        blow_up: why the rest of this iteration is skipped, None if it is not.
        skipped: iterations left out because a loss or gradient was not finite.
        in_a_row: how many of these were the last ones.
        overflows: optimiser steps that the loss scaler of precision 16-mixed left out.
    """

    def __init__(self, network: nn.Module, run: Path, skip: bool) -> None:
        self.run = run
        self.buffers = Buffers(network) if skip else None
        self.blow_up: str | None = None
        self.skipped = self.in_a_row = self.overflows = 0

    def begin(self) -> None:
        """Start an iteration: remember what a skipped one returns to."""
        self.blow_up = None
        if self.buffers:
            self.buffers.keep()

    def judge(self, loss: Tensor, optimizer: Optimizer, scale: float) -> str | None:
        """Return what forbids an optimiser step, "loss" or "gradient"; None if nothing does.

        `scale` is the loss scale, 0 if there is none. With one, gradients may overflow now and
        then; its scaler then skips the step and halves the scale.
        """
        what = find_blow_up(loss, optimizer)
        if what == "gradient" and scale > SMALLEST_SCALE:
            self.overflows += 1
            return None
        return what

    def skip(self, what: str, update: str, step: int, cases: Iterable[str]) -> None:
        """Have the rest of the iteration skipped; the arguments are those of `blow_up`.

        Raises:
            InputError: skipping is off, or `LIMIT` iterations in a row were skipped.
        """
        error = blow_up(self.run, what, update, step, cases)
        if self.buffers is None or self.in_a_row >= LIMIT:
            raise error
        self.blow_up = str(error)

    def end(self) -> None:
        """End an iteration: take back what a skipped one has moved, and count it."""
        if self.blow_up and self.buffers:
            self.buffers.restore()
        self.in_a_row = self.in_a_row + 1 if self.blow_up else 0
        self.skipped += bool(self.blow_up)

    @property
    def counts(self) -> dict[str, int]:
        """What was left out so far, by name, for the log; nothing if nothing was."""
        counts = {"skipped": self.skipped, "overflows": self.overflows}
        return {name: count for name, count in counts.items() if count}
