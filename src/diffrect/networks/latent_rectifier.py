"""A rectifier whose latent carries the label, and that sees the slice's volume.

It is LFR (DiffRect, Sec. 2.2) in a form in which the diffusion cannot be bypassed. Only the
coloured label is encoded, to an eighth of the slice's size, and standardised. The denoiser moves
the coarse label's latent towards the better label's, knowing images and labels of the neighbouring
slices. The decoder reads the label from the latent and nowhere else, and the image through its
skips.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.networks.calibration import GuidanceEmbedding, TwoClasses
from diffrect.networks.guided_diffusion import GuidedDiffusion
from diffrect.networks.unet import WIDTHS, ConvBlock, Decoder, Encoder, Up, pad_to_multiple

IMAGE_DROPOUT = (0.0, 0.0, 0.1, 0.2, 0.3)
GUIDANCE_WIDTH = 256
PATCH = 4  # pixels in height and width of a label that its encoder reads as one
SCALE = 8  # pixels of a slice in height and width that become one of the latent
MULTIPLE = 32  # the image's deepest maps are at 1/16, the denoiser's at 1/32 of the slice's size
LEAST_SHARE = 1e-4


class Transported(NamedTuple):
    """The results of a training pass of the rectifier."""

    logits: Tensor
    """(B, classes, H, W), decoded from the denoised latent."""
    decoded: Tensor
    """The same from the target's own latent: how well the decoder reads a label that is right."""
    latent: Tensor
    """Mean squared error of the denoised latent; the latents have variance 1."""


class LabelEncoder(nn.Module):
    """Coloured label maps (B, 3, H, W) -> standardised latents (B, channels, H/8, W/8).

    There is no dropout, so that the target of the diffusion is not noise itself.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.fine = ConvBlock(3 * PATCH**2, width, 0.0)
        self.coarse = ConvBlock(width, 2 * width, 0.0)
        self.last = nn.Conv2d(2 * width, channels, 1)
        self.standardise = nn.BatchNorm2d(channels, affine=False)

    def forward(self, coloured: Tensor) -> Tensor:
        """Return the latents of coloured label maps."""
        x = self.fine(F.pixel_unshuffle(coloured, PATCH))
        latents: Tensor = self.standardise(self.last(self.coarse(F.max_pool2d(x, 2))))
        return latents


class ResidualDenoiser(nn.Module):
    """Predicts the clean latent as the coarse label's latent plus a correction.

    It is a small U-Net (H/8, H/16, H/32) over the noisy latent, the latents of the coarse labels of
    the slice and of its surroundings, and the image's maps, guided by the diffusion step and the
    calibration guidance.

    Args:
        latent: channels of a latent.
        labels: number of coarse labels.
        width: channels of its finest level.
    """

    def __init__(self, latent: int, labels: int, width: int = 128) -> None:
        super().__init__()
        guided = GUIDANCE_WIDTH
        self.step_embedding = GuidanceEmbedding(width=guided)
        self.first = ConvBlock((1 + labels) * latent + WIDTHS[3], width, 0.0, guided)
        self.middle = ConvBlock(width + WIDTHS[4], 2 * width, 0.0, guided)
        self.deepest = ConvBlock(2 * width, 2 * width, 0.0, guided)
        self.up_middle = Up(2 * width, 2 * width, 0.0, guided)
        self.up_first = Up(2 * width, width, 0.0, guided)
        self.correction = nn.Conv2d(width, latent, 3, padding=1)

    def forward(
        self,
        noisy: Tensor,
        step: Tensor,
        conditions: Sequence[Tensor],
        maps: Sequence[Tensor],
        guidance: Tensor,
    ) -> Tensor:
        """Return the clean latent (B, C, h, w); h and w are multiples of 4.

        Args:
            noisy: latent (B, C, h, w) after `step` steps of noise.
            step: diffusion step per row (B,).
            conditions: latents (B, C, h, w) of the coarse labels, the slice's own first.
            maps: the image's maps, fine to coarse, see `Encoder`.
            guidance: embedded calibration guidance (B, width).
        """
        embedding = self.step_embedding(step) + guidance
        first = self.first(torch.cat([noisy, *conditions, maps[3]], dim=1), embedding)
        middle = self.middle(torch.cat([F.max_pool2d(first, 2), maps[4]], dim=1), embedding)
        deepest = self.deepest(F.max_pool2d(middle, 2), embedding)
        x = self.up_first(self.up_middle(deepest, middle, embedding), first, embedding)
        clean: Tensor = conditions[0] + self.correction(x)
        return clean


class LatentRectifier(GuidedDiffusion):
    """Slices + coarse labels + calibration guidance -> logits of a slice's better label.

    Labels enter as images: class maps by `colouring`, shares of classes by `colouring.mix`. H and W
    may be any numbers: images and labels are padded with zeros to multiples of 32, and the logits
    are cropped back.

    Args:
        channels: image channels of a slice.
        classes: number of classes, background included.
        neighbours: slices seen on either side.
        latent_channels: channels of a latent.
        colouring: whether label maps enter coloured (LCC) or as grey levels.
        two_classes: colours of the label maps if there are two classes, see `palette`.
        sees_image: whether images enter, or black ones in their place.
        diffusion_steps: T, length of the noise schedule.
        sample_steps: DDIM steps taken when rectifying.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        neighbours: int = 1,
        latent_channels: int = 32,
        colouring: bool = True,
        two_classes: TwoClasses = "black_red",
        sees_image: bool = True,
        diffusion_steps: int = 10,
        sample_steps: int = 2,
    ) -> None:
        super().__init__(
            classes,
            colouring=colouring,
            two_classes=two_classes,
            guidance_width=GUIDANCE_WIDTH,
            diffusion_steps=diffusion_steps,
            sample_steps=sample_steps,
        )
        slices = 1 + 2 * neighbours
        labels = slices + 1  # and the mean of the volume's labels: where in it the organ lies
        self.latent_channels, self.sees_image = latent_channels, sees_image
        self.label_encoder = LabelEncoder(latent_channels)
        self.image_encoder = Encoder(channels * slices, WIDTHS, IMAGE_DROPOUT)
        self.denoiser = ResidualDenoiser(latent_channels, labels)
        self.decoder = Decoder(classes, (*WIDTHS[:3], latent_channels), (0.0,) * 3)

    def latent_shape(self, images: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the latents, and of the noise, for images (B, ?, H, W)."""
        rows, _, height, width = images.shape
        inside = MULTIPLE // SCALE
        return (
            rows,
            self.latent_channels,
            -(-height // MULTIPLE) * inside,
            -(-width // MULTIPLE) * inside,
        )

    def transport(
        self,
        images: Tensor,
        coarse: Tensor,
        target: Tensor,
        guidance: Tensor,
        step: Tensor,
        noise: Tensor,
    ) -> Transported:
        """Run a training pass: denoise the target's latent given the coarse labels, then decode.

        Args:
            images: (B, slices * channels, H, W) in [0, 1], the slice's own channels first.
            coarse: (B, labels, 3, H, W) coloured labels, the slice's own first, then its
                neighbours', then the volume's mean.
            target: (B, 3, H, W), the coloured target.
            guidance: calibration guidance in [0, 1], (B,) or (1,) for all rows.
            step: diffusion step per row (B,), 0 to T - 1.
            noise: standard normal, `latent_shape`.
        """
        rows, size = len(images), images.shape[-2:]
        maps = self.encode_images(images)
        # One pass through the encoder, so that all latents are standardised alike.
        clean, *conditions = self.encode(torch.cat([target[:, None], coarse], dim=1))
        goal = clean.detach()
        noisy = self.noisy(goal, step, noise.to(goal))
        denoised = self.denoiser(noisy, step, conditions, maps, self.embed_guidance(guidance, rows))
        twice = [torch.cat([level, level]) for level in maps[:3]]
        both = self.decode(torch.cat([denoised, clean]), twice, size)
        return Transported(both[:rows], both[rows:], F.mse_loss(denoised, goal))

    @torch.no_grad()
    def rectify(
        self,
        images: Tensor,
        coarse: Tensor,
        guidance: Tensor,
        noise: Tensor,
        weight: float = 0.0,
        decoded: float = 0.25,
    ) -> Tensor:
        """Return logits (B, classes, H, W) of the corrected label, sampled with DDIM.

        The label decoded from a latent is less sharp than the coarse one, and errs in other places.
        So the corrected label is a product of two experts (Hinton, Neural Computation 2002): the
        weighted mean of the logarithms of their probabilities. With `weight`, the coarse label
        changes first by the difference of the logits decoded from the sampled latent and from its
        own, in which the decoder's error cancels.

        Args:
            images: as in `transport`.
            coarse: (B, labels, classes, H, W) probabilities, in the order of `transport`.
            guidance: calibration guidance in [0, 1], (B,) or (1,) for all rows.
            noise: standard normal, `latent_shape`, from which sampling starts.
            weight: of the difference.
            decoded: share of the decoded label, from 0 to 1.
        """
        maps, conditions = self.encode_images(images), self.encode(self.colouring.mix(coarse))
        latent = self.sample(maps, conditions, guidance, noise)
        return self.correct(coarse[:, 0], latent, conditions[0], maps, weight, decoded)

    def sample(
        self, maps: Sequence[Tensor], conditions: Sequence[Tensor], guidance: Tensor, noise: Tensor
    ) -> Tensor:
        """Return the rectified label's latent.

        Args:
            maps: of the images, see `encode_images`.
            conditions: latents of the coarse labels, see `encode`.
            guidance: calibration guidance in [0, 1], (B,) or (1,) for all rows.
            noise: standard normal, `latent_shape`, from which sampling starts.
        """
        guided = self.embed_guidance(guidance, len(noise))
        return self.denoised(
            lambda noisy, step: self.denoiser(noisy, step, conditions, maps, guided), noise
        )

    def correct(
        self,
        own: Tensor,
        latent: Tensor,
        condition: Tensor,
        maps: Sequence[Tensor],
        weight: float,
        decoded: float,
    ) -> Tensor:
        """Return logits of the coarse label corrected by a latent, see `rectify`.

        Args:
            own: probabilities (B, classes, H, W) of the coarse label.
            latent: the latent to move to.
            condition: the coarse label's own latent.
            maps: of the images, see `encode_images`.
            weight: of the difference.
            decoded: share of the label decoded from the latent, from 0 to 1.
        """
        size = own.shape[-2:]
        rectified = self.decode(latent, maps[:3], size)
        coarse = own.clamp(min=LEAST_SHARE).log()
        if weight:
            coarse = coarse + weight * (rectified - self.decode(condition, maps[:3], size))
        return (1 - decoded) * coarse + decoded * rectified.log_softmax(dim=1)

    def encode_images(self, images: Tensor) -> list[Tensor]:
        """Return the maps of padded images, fine to coarse."""
        images = images if self.sees_image else torch.zeros_like(images)
        maps: list[Tensor] = self.image_encoder(pad_to_multiple(images, MULTIPLE))
        return maps

    def encode(self, coloured: Tensor) -> list[Tensor]:
        """Return the latents of coloured labels (B, count, 3, H, W): `count` of (B, C, h, w)."""
        rows, count = coloured.shape[:2]
        latents = self.label_encoder(pad_to_multiple(coloured.flatten(0, 1), MULTIPLE))
        return list(latents.unflatten(0, (rows, count)).unbind(1))

    def decode(self, latent: Tensor, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits (B, classes, *size) from a latent and the image's three finest maps."""
        logits: Tensor = self.decoder([*maps, latent])[..., : size[0], : size[1]]
        return logits
