"""Diffusion in latent space as pure functions: schedule, noising, DDIM sampling.

Ho, Jain, Abbeel, NeurIPS 2020 (noising); Nichol & Dhariwal, ICML 2021 (squared-cosine schedule);
Song, Meng, Ermon, ICLR 2021 (DDIM). The network predicts the clean latent z0, not the noise.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(noisy latent (B, ...), step (B,)) -> predicted clean latent (B, ...)."""


def cosine_betas(steps: int, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Return squared-cosine betas, float64, shape (steps,).

    beta_t = min(1 - f((t + 1) / T) / f(t / T), largest), f(u) = cos^2(pi/2 (u + s) / (1 + s)).

    Args:
        steps: T, length of the schedule.
        offset: s, which keeps the first steps from being too small.
        largest: limit of each beta.
    """

    def signal(u: float) -> float:
        return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2

    return torch.tensor(
        [min(1 - signal((t + 1) / steps) / signal(t / steps), largest) for t in range(steps)],
        dtype=torch.float64,
    )


def alphas_cumulative(betas: Tensor) -> Tensor:
    """Return the share of the signal's variance left after each step: prod(1 - beta)."""
    return torch.cumprod(1 - betas, dim=0)


def add_noise(clean: Tensor, noise: Tensor, step: Tensor, alphas: Tensor) -> Tensor:
    """Return z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) noise.

    Args:
        clean: z_0 (B, C, H, W).
        noise: standard normal, of the same shape.
        step: t per row (B,), 0 to T - 1.
        alphas: a, `alphas_cumulative`, (T,).
    """
    a = alphas.to(noise)[step][:, None, None, None]
    return a.sqrt() * clean + (1 - a).sqrt() * noise


def sampling_steps(steps: int, count: int) -> list[int]:
    """Return `count` of the `steps` diffusion steps, from last to first, evenly spaced."""
    if count == 1:
        return [steps - 1]
    return [round(i * (steps - 1) / (count - 1)) for i in reversed(range(count))]


def ddim_sample(
    denoise: Denoise, noise: Tensor, alphas: Tensor, steps: list[int], clamp: bool
) -> Tensor:
    """Sample a clean latent from Gaussian noise (B, ...) by deterministic DDIM (eta 0).

    Args:
        denoise: the network, conditioned already.
        noise: the starting point, standard normal.
        alphas: `alphas_cumulative`, (T,).
        steps: diffusion steps to visit, descending; the z0 predicted at the last is the sample.
        clamp: limit each predicted z0 to [-1, 1], as the reference does, although the latents that
            the network was trained on are not bounded.
    """
    latent = noise
    alphas = alphas.to(noise)
    for here, following in zip(steps, [*steps[1:], None], strict=True):
        clean = denoise(latent, torch.full((len(noise),), here, device=noise.device))
        if clamp:
            clean = clean.clamp(-1, 1)
        if following is None:
            break
        a, a_next = alphas[here], alphas[following]
        predicted_noise = (latent - a.sqrt() * clean) / (1 - a).sqrt()
        latent = a_next.sqrt() * clean + (1 - a_next).sqrt() * predicted_noise
    return clean
