"""How long a training will take, by its first iterations, and what makes it shorter."""

import torch

from diffrect.config import TrainConfig
from diffrect.networks.half import has_quick_bf16

AFTER = 10
"""Iterations of a session after which its speed is known."""
LONG = 24 * 3600
"""Seconds from which a training is long enough to say what makes it shorter."""


class Forecast:
    """Says once, when the speed is known, how long a training will take.

    Args:
        config: what is trained.
        first: iterations done by earlier sessions.
        device: where it is trained.
    """

    def __init__(self, config: TrainConfig, first: int, device: torch.device) -> None:
        self.config, self.first, self.device, self.told = config, first, device, False

    def lines(self, step: int, seconds: float) -> list[str]:
        """Return what to say when `step` iterations are done, mostly nothing.

        Args:
            step: iterations done.
            seconds: that an iteration has taken in this session, without validations.
        """
        if self.told or step - self.first < AFTER or step >= self.config.iterations:
            return []
        self.told = True
        left = seconds * (self.config.iterations - step)
        if left < 60:
            return []
        said = [
            f"about {duration(left)} to go at the speed of the first iterations, {seconds:.2f} s "
            "each, and the time of validations"
        ]
        if left >= LONG:
            shorter = "; ".join(ways_out(self.config, has_quick_bf16(self.device)))
            said.append(f"diffrect: this takes days; in a new run (--overwrite), {shorter}")
        return said


def duration(seconds: float) -> str:
    """Return a time in a unit that suits it: minutes, hours or days."""
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} hours" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} days"


def ways_out(config: TrainConfig, quick_bf16: bool) -> list[str]:
    """Return what makes a training shorter, and by how much.

    Args:
        config: what is trained.
        quick_bf16: whether the device computes faster with bfloat16.
    """
    ways = []
    if config.side >= 128:
        option = f"--size {config.side // 2}"
        if config.crop is not None and config.spacing is not None:
            option = f"--spacing {2 * config.spacing:g} --crop {config.crop // 2}"
        ways.append(f"{option} takes about a quarter of the time")
    if config.iterations >= 10_000:
        ways.append(f"--iterations {config.iterations // 10} a tenth")
    if quick_bf16 and config.precision == "32-true":
        ways.append("--precision bf16-mixed is faster on this device")
    return ways or ["fewer --iterations take less"]
