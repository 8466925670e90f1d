"""Latent Feature Rectification (LFR): the network that turns a coarse label into a finer one.

DiffRect, Sec. 2.2. A coarse label map, coloured (LCC), is encoded together with its image. Its
deepest features, the latent, condition a diffusion model, which denoises the latent of the finer
label. A decoder reads the result.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.networks.calibration import GuidanceEmbedding, TwoClasses
from diffrect.networks.guided_diffusion import GuidedDiffusion
from diffrect.networks.unet import WIDTHS, ConvBlock, Decoder, Encoder, Up, pad_to_multiple

GUIDANCE_WIDTH = 512
DENOISER_WIDTHS = (384, 512)
DenoiserInput = Literal["noisy", "sum"]


class LatentDenoiser(nn.Module):
    """Predicts the clean latent from a noisy one, given the coarse label's latent (LFR).

    It is a small U-Net below the encoder's deepest map: H/16 -> H/32 -> H/64 and back.

    Args:
        latent_channels: channels of the latent.
        sees: input of the down path: "sum" of condition and noisy latent, as the paper describes,
            or only the "noisy" latent, as in the reference, where only the outermost skip carries
            the sum.
    """

    def __init__(self, latent_channels: int, sees: DenoiserInput) -> None:
        super().__init__()
        inner, deepest = DENOISER_WIDTHS
        self.sees = sees
        self.step_embedding = GuidanceEmbedding(width=GUIDANCE_WIDTH)
        self.downs = nn.ModuleList(
            [
                ConvBlock(latent_channels, inner, 0.0, GUIDANCE_WIDTH),
                ConvBlock(inner, deepest, 0.0, GUIDANCE_WIDTH),
            ]
        )
        self.ups = nn.ModuleList(
            [
                Up(deepest, inner, 0.0, GUIDANCE_WIDTH),
                Up(inner, latent_channels, 0.0, GUIDANCE_WIDTH),
            ]
        )

    def forward(self, noisy: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """Return the clean latent (B, C, h, w); h and w are multiples of 4.

        Args:
            noisy: latent (B, C, h, w) after `step` steps of noise.
            step: diffusion step per row (B,).
            condition: latent (B, C, h, w) of the coarse label.
        """
        guidance = self.step_embedding(step)
        both = condition + noisy
        inner = self.downs[0](F.max_pool2d(both if self.sees == "sum" else noisy, 2), guidance)
        deepest = self.downs[1](F.max_pool2d(inner, 2), guidance)
        clean: Tensor = self.ups[1](self.ups[0](deepest, inner, guidance), both, guidance)
        return clean


class Rectifier(GuidedDiffusion):
    """Image + coarse label + calibration guidance -> logits of a rectified label.

    H and W may be any numbers: image and labels are padded with zeros to multiples of 64, and the
    logits are cropped back.

    Args:
        channels: image channels.
        classes: number of classes, background included.
        colouring: whether label maps enter coloured (LCC) or as grey levels.
        two_classes: colours of the label maps if there are two classes, see `palette`.
        sees_image: whether the image enters, or a black one in its place.
        denoiser_input: see `LatentDenoiser`.
        clamp_latent: limit z0 to [-1, 1] while sampling, see `ddim_sample`.
        diffusion_steps: T, length of the noise schedule.
        sample_steps: DDIM steps taken when rectifying.
        widths: channels of the levels of both encoders and of the decoder.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        colouring: bool = True,
        two_classes: TwoClasses = "black_red",
        sees_image: bool = True,
        denoiser_input: DenoiserInput = "sum",
        clamp_latent: bool = False,
        diffusion_steps: int = 10,
        sample_steps: int = 2,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__(
            classes,
            colouring=colouring,
            two_classes=two_classes,
            guidance_width=GUIDANCE_WIDTH,
            diffusion_steps=diffusion_steps,
            sample_steps=sample_steps,
            clamp_latent=clamp_latent,
        )
        self.sees_image = sees_image
        self.latent_channels = widths[-1]
        self.label_encoder = Encoder(channels + 3, widths, guidance_width=GUIDANCE_WIDTH)
        self.image_encoder = Encoder(channels, widths, guidance_width=GUIDANCE_WIDTH)
        self.denoiser = LatentDenoiser(self.latent_channels, denoiser_input)
        self.decoder = Decoder(classes, widths, guidance_width=GUIDANCE_WIDTH)

    def latent_shape(self, images: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the latents, and of the noise, for images (B, channels, H, W)."""
        rows, _, height, width = images.shape
        return rows, self.latent_channels, -(-height // 64) * 4, -(-width // 64) * 4

    def transport(
        self,
        images: Tensor,
        coarse: Tensor,
        target: Tensor,
        guidance: Tensor,
        step: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run a training pass: denoise the target's latent given the coarse label, then decode.

        Args:
            images: (B, channels, H, W) in [0, 1].
            coarse: class maps (B, H, W) to rectify.
            target: class maps (B, H, W) to rectify them to.
            guidance: calibration guidance in [0, 1], (B,) or (1,) for all rows.
            step: diffusion step per row (B,), 0 to T - 1.
            noise: standard normal, `latent_shape`.

        Returns:
            Logits (B, classes, H, W) and the mean squared error of the denoised latent.
        """
        height, width = images.shape[-2:]
        embedding = self.embed_guidance(guidance, len(images))
        images = images if self.sees_image else torch.zeros_like(images)
        image_maps = self.image_encoder(pad_to_multiple(images, 64), embedding)
        # The input goes before the target, as in the reference: running statistics see both.
        maps = self.encode(images, coarse, embedding, image_maps)
        with torch.no_grad():
            clean = self.encode(images, target, embedding, image_maps)[-1]
        denoised = self.denoiser(self.noisy(clean, step, noise), step, maps[-1])
        logits: Tensor = self.decoder([*maps[:-1], denoised], embedding)[..., :height, :width]
        return logits, F.mse_loss(denoised, clean)

    @torch.no_grad()
    def rectify(self, images: Tensor, coarse: Tensor, guidance: Tensor, noise: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) of the rectified label, sampled with DDIM.

        Args:
            images: (B, channels, H, W) in [0, 1].
            coarse: class maps (B, H, W) to rectify.
            guidance: calibration guidance in [0, 1], (B,) or (1,) for all rows.
            noise: standard normal, `latent_shape`, from which sampling starts.
        """
        height, width = images.shape[-2:]
        embedding = self.embed_guidance(guidance, len(images))
        images = images if self.sees_image else torch.zeros_like(images)
        image_maps = self.image_encoder(pad_to_multiple(images, 64), embedding)
        maps = self.encode(images, coarse, embedding, image_maps)
        latent = self.denoised(lambda noisy, step: self.denoiser(noisy, step, maps[-1]), noise)
        logits: Tensor = self.decoder([*maps[:-1], latent], embedding)[..., :height, :width]
        return logits

    def encode(
        self, images: Tensor, label: Tensor, embedding: Tensor, image_maps: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return feature maps of the coloured label over its image, fine to coarse (LCC).

        Args:
            images: (B, channels, H, W) in [0, 1].
            label: class maps (B, H, W).
            embedding: of the guidance, (B, width).
            image_maps: maps of the images' own encoder, which are added level by level.
        """
        coloured = self.colouring(pad_to_multiple(label, 64)).to(images)
        both = torch.cat([pad_to_multiple(images, 64), coloured], dim=1)
        maps: list[Tensor] = self.label_encoder(both, embedding, image_maps)
        return maps
