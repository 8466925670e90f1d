"""Numbers that blow up: found before a weight has moved, told with what to try, or skipped.

Loss and gradients are looked at together, once an update: their norm is finite if they all are.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrect.errors import InputError

LIMIT = 100
"""Iterations in a row that may be skipped before a training that skips them stops after all."""
SMALLEST_SCALE = 1.0
"""Precision 16-mixed halves its loss scale when gradients overflow; not below this."""


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Euclidean norm of all gradients that an optimiser sees; not finite if one of them is not."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def find_blow_up(loss: Tensor, optimizer: Optimizer) -> str | None:
    """Which of the two is no number, "loss" or "gradient"; None if both are finite.

    Waits for the device once, as reading the loss alone would.
    """
    norm = gradient_norm(optimizer)
    found = torch.stack([loss.detach().float(), norm.to(loss.device).float()]).isfinite().tolist()
    return None if all(found) else ("gradient" if found[0] else "loss")


def blow_up_message(where: str, what: str, update: str, step: int, cases: Iterable[str]) -> str:
    """What happened, to which cases, and what to try, in one line."""
    named = ", ".join(dict.fromkeys(cases))
    return (
        f"{where}: the {what} of the {update} update is no finite number at iteration {step} "
        f"(cases {named}); try a lower --learning-rate or --precision 32-true, or where it is rare "
        "--nonfinite skip, which --resume takes too"
    )


def check_state(state: Any, where: str) -> None:
    """Refuses a state with a number in it that is not finite: it is never saved.

    Raises:
        InputError: naming the entry.
    """
    tensors = dict(_tensors(state, ""))
    if not tensors:
        return
    norms = torch.stack([norm.cpu() for norm in torch._foreach_norm(list(tensors.values()))])
    if not norms.isfinite().all():
        broken = next(n for n, norm in zip(tensors, norms, strict=True) if not norm.isfinite())
        raise InputError(
            f"{where}: expected finite weights to save, {broken} is not; the checkpoints before "
            "are kept; try a lower --learning-rate or --precision 32-true"
        )


def _tensors(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The floating-point tensors in nested dicts, with the path that leads to each."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, Tensor) and state.is_floating_point() and state.numel():
        yield name, state


class Buffers:
    """Batch norm's running statistics and the like, to go back to when an iteration is skipped.

    Forwarding a batch moves them before its loss is known.
    """

    def __init__(self, network: nn.Module) -> None:
        self.live = [b for b in network.buffers() if b.is_floating_point()]
        self.kept = [torch.empty_like(buffer) for buffer in self.live]

    def keep(self) -> None:
        """Remembers them as they are now."""
        if self.live:
            torch._foreach_copy_(self.kept, self.live)

    def restore(self) -> None:
        """Puts back what was remembered last."""
        if self.live:
            torch._foreach_copy_(self.live, self.kept)
