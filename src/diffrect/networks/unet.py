"""The segmenter: a 2-D U-Net, and the blocks that the rectifier shares with it.

Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, in the variant of the SSL4MIS benchmark that
DiffRect (MICCAI 2024) trains: 16 to 256 channels, LeakyReLU, dropout inside the encoder's blocks.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.networks.quick import Dropout, at_least_single, convolve_both, max_pool

WIDTHS = (16, 32, 64, 128, 256)
ENCODER_DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5)
DECODER_DROPOUT = (0.0, 0.0, 0.0, 0.0)
Upsampling = Literal["bilinear", "nearest", "transposed"]


class ConvHalf(nn.Module):
    """conv3x3, batch norm, LeakyReLU(0.01)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return (B, out_channels, H, W); `beside` holds the last channels of the input."""
        x = self.conv(x) if beside is None else convolve_both(self.conv, x, beside)
        return F.leaky_relu(self.norm(x), 0.01, inplace=True)


class ConvBlock(nn.Module):
    """Two `ConvHalf`s with dropout between them.

    Args:
        in_channels: channels of the input, of both maps if there are two.
        out_channels: channels of the output.
        dropout: probability.
        guidance_width: width of the guidance vector whose linear(swish(vector)) is added to every
            pixel after the first half, before the dropout; 0 = the block takes none.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dropout: float, guidance_width: int = 0
    ) -> None:
        super().__init__()
        self.first = ConvHalf(in_channels, out_channels)
        self.dropout = Dropout(dropout)
        self.second = ConvHalf(out_channels, out_channels)
        self.guidance = nn.Linear(guidance_width, out_channels) if guidance_width else None

    def forward(
        self, x: Tensor, guidance: Tensor | None = None, beside: Tensor | None = None
    ) -> Tensor:
        """Return a map (B, out_channels, H, W).

        Args:
            x: map (B, C, H, W).
            guidance: vectors (B, guidance_width).
            beside: a second map, concatenated behind the first one.
        """
        x = self.first(x, beside)
        if self.guidance is not None:
            assert guidance is not None
            x = x + self.guidance(F.silu(guidance))[:, :, None, None]
        x = self.second(self.dropout(x))
        return x


class Encoder(nn.Module):
    """One block per level, each level at half the resolution of the one before (max-pool 2).

    Args:
        in_channels: channels of the input.
        widths: channels of each level.
        dropout: probability in the block of each level.
        guidance_width: see `ConvBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = WIDTHS,
        dropout: Sequence[float] = ENCODER_DROPOUT,
        guidance_width: int = 0,
    ) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.blocks = nn.ModuleList(
            ConvBlock(i, o, p, guidance_width)
            for i, o, p in zip(inputs, widths, dropout, strict=True)
        )

    def forward(
        self, x: Tensor, guidance: Tensor | None = None, added: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Return feature maps from fine to coarse: level k is (B, widths[k], H/2^k, W/2^k).

        Args:
            x: (B, in_channels, H, W).
            guidance: vectors (B, guidance_width).
            added: a map per level, added to the level's own before it feeds the next level.
        """
        maps: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            x = block(x if level == 0 else max_pool(x), guidance)
            if added is not None:
                x = x + added[level]
            maps.append(x)
        return maps


class Up(nn.Module):
    """conv1x1 to the skip's width, x2 (bilinear: aligned corners), concatenate skip first, block.

    Args:
        in_channels: channels of the coarse map.
        out_channels: channels of the skip and of the output.
        dropout: probability in the block.
        guidance_width: see `ConvBlock`.
        upsampling: how the map is enlarged; "transposed" is one transposed convolution 2x2 in place
            of conv1x1 and enlarging.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dropout: float,
        guidance_width: int = 0,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.reduce: nn.Module = (
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
            if upsampling == "transposed"
            else nn.Conv2d(in_channels, out_channels, 1)
        )
        self.block = ConvBlock(2 * out_channels, out_channels, dropout, guidance_width)

    def forward(self, x: Tensor, skip: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Return a map of the skip's shape.

        Args:
            x: map (B, in_channels, H/2, W/2).
            skip: the encoder's map (B, out_channels, H, W).
            guidance: vectors (B, guidance_width).
        """
        x = self.reduce(x)
        if self.upsampling == "bilinear":
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        elif self.upsampling == "nearest":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = self.block(skip, guidance, beside=x)
        return x


class Decoder(nn.Module):
    """From the encoder's maps to class logits at the finest level.

    Args:
        classes: number of classes, background included.
        widths: channels of the encoder's levels.
        dropout: probability in each block, coarse to fine.
        guidance_width: see `ConvBlock`.
        upsampling: see `Up`.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = WIDTHS,
        dropout: Sequence[float] = DECODER_DROPOUT,
        guidance_width: int = 0,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        coarse_to_fine = tuple(reversed(widths))
        self.ups = nn.ModuleList(
            Up(i, o, p, guidance_width, upsampling)
            for i, o, p in zip(coarse_to_fine[:-1], coarse_to_fine[1:], dropout, strict=True)
        )
        self.head = nn.Conv2d(widths[0], classes, 3, padding=1)

    def forward(self, maps: Sequence[Tensor], guidance: Tensor | None = None) -> Tensor:
        """Return logits (B, classes, H, W) of `maps`, fine to coarse as `Encoder` returns them."""
        return self.logits(self.features(maps, guidance)[-1])

    def logits(self, finest: Tensor) -> Tensor:
        """Return the logits of the last of `features`, in at least single precision for losses."""
        return at_least_single(self.head(finest))

    def features(self, maps: Sequence[Tensor], guidance: Tensor | None = None) -> list[Tensor]:
        """Return the decoder's own maps, coarse to fine; the head reads the last."""
        x = maps[-1]
        features = []
        for up, skip in zip(self.ups, reversed(maps[:-1]), strict=True):
            x = up(x, skip, guidance)
            features.append(x)
        return features


class UNet(nn.Module):
    """The segmenter: images (B, channels, H, W) -> logits (B, classes, H, W).

    H and W may be any numbers: the image is padded with zeros at the bottom and right to the next
    multiple of 16, and the logits are cropped back.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.channels, self.classes, self.widths = channels, classes, tuple(widths)
        self.encoder = Encoder(channels, widths)
        self.decoder = Decoder(classes, widths)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes, H, W)."""
        return crop_like(self.decoder(self.encode(images)), images)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's maps, fine to coarse, of the padded images."""
        maps: list[Tensor] = self.encoder(pad_to_multiple(images, 16))
        return maps


def crop_like(x: Tensor, images: Tensor) -> Tensor:
    """Crop (..., H', W') to `images` (..., H, W), whose padding it still has."""
    height, width = images.shape[-2:]
    return x[..., :height, :width]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad (..., H, W) with zeros at the bottom and right so that both are multiples."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x
