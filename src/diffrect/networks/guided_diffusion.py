"""What every rectifier has: the colours of labels (LCC), guidance, and diffusion of a latent (LFR).

DiffRect, Sec. 2.1 and 2.2. `networks/rectifier.py` is the rectifier as published, and
`networks/latent_rectifier.py` one that sees volumes.
"""

from torch import Tensor, nn

from diffrect.networks.calibration import (
    GUIDANCE_SCALE,
    GuidanceEmbedding,
    SemanticColouring,
    TwoClasses,
)
from diffrect.networks.diffusion import (
    Denoise,
    add_noise,
    alphas_cumulative,
    cosine_betas,
    ddim_sample,
    sampling_steps,
)


class GuidedDiffusion(nn.Module):
    """The base of rectifiers.

    Args:
        classes: number of classes, background included.
        colouring: whether label maps enter coloured (LCC) or as grey levels.
        two_classes: colours of the label maps if there are two classes, see `palette`.
        guidance_width: width of the embedded guidance.
        diffusion_steps: T, length of the noise schedule.
        sample_steps: DDIM steps taken when rectifying.
        clamp_latent: limit z0 to [-1, 1] while sampling, see `ddim_sample`.
    """

    def __init__(
        self,
        classes: int,
        *,
        colouring: bool,
        two_classes: TwoClasses,
        guidance_width: int,
        diffusion_steps: int,
        sample_steps: int,
        clamp_latent: bool = False,
    ) -> None:
        super().__init__()
        self.clamp_latent = clamp_latent
        self.sample_steps = sampling_steps(diffusion_steps, sample_steps)
        alphas = alphas_cumulative(cosine_betas(diffusion_steps))
        self.register_buffer("alphas", alphas, persistent=False)
        self.alphas: Tensor
        self.colouring = SemanticColouring(classes, colouring, two_classes)
        self.guidance_embedding = GuidanceEmbedding(width=guidance_width)

    def embed_guidance(self, guidance: Tensor, rows: int) -> Tensor:
        """Embed guidance (rows,) or (1,) -> (rows, width)."""
        embedding: Tensor = self.guidance_embedding(guidance * GUIDANCE_SCALE)
        return embedding.expand(rows, -1)

    def noisy(self, clean: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Return latents (B, C, h, w) after `step` (B,) steps of noise."""
        return add_noise(clean, noise, step, self.alphas)

    def denoised(self, denoise: Denoise, noise: Tensor) -> Tensor:
        """Return the latents that sampling reaches from noise (B, C, h, w)."""
        return ddim_sample(denoise, noise, self.alphas, self.sample_steps, self.clamp_latent)
