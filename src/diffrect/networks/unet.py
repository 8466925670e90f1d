"""The segmenter: a 2-D U-Net, and the blocks that the rectifier shares with it.

Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, in the variant of the SSL4MIS benchmark that
DiffRect (MICCAI 2024) trains: 16 to 256 channels, LeakyReLU, dropout inside the encoder's blocks.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.networks.quick import Dropout, at_least_single, convolve_both

WIDTHS = (16, 32, 64, 128, 256)
ENCODER_DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5)
DECODER_DROPOUT = (0.0, 0.0, 0.0, 0.0)
Upsampling = Literal["bilinear", "nearest", "transposed"]


class ConvHalf(nn.Module):
    """conv3x3, batch norm, LeakyReLU(0.01); `beside` brings the input's last channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        x = self.conv(x) if beside is None else convolve_both(self.conv, x, beside)
        return F.leaky_relu(self.norm(x), 0.01, inplace=True)


class ConvBlock(nn.Module):
    """Two `ConvHalf`s with dropout between them.

    With `guidance_width` the block also takes a guidance vector (B, guidance_width) and adds
    linear(swish(vector)) to every pixel after its first half, before the dropout. `beside` is
    a second map that is concatenated behind the first one.
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
        x = self.first(x, beside)
        if self.guidance is not None:
            assert guidance is not None
            x = x + self.guidance(F.silu(guidance))[:, :, None, None]
        return self.second(self.dropout(x))


class Encoder(nn.Module):
    """One block per level, each level at half the resolution of the one before (max-pool 2)."""

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
        """Feature maps from fine to coarse: level k is (B, widths[k], H/2^k, W/2^k).

        `added` holds a map per level that is added to the level's own; the sum feeds the next one.
        """
        maps: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            x = block(x if level == 0 else F.max_pool2d(x, 2), guidance)
            if added is not None:
                x = x + added[level]
            maps.append(x)
        return maps


class Up(nn.Module):
    """conv1x1 to the skip's width, x2 (bilinear: aligned corners), concatenate skip first, block.

    "transposed" is one transposed convolution 2x2 instead of both.
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
        x = self.reduce(x)
        if self.upsampling == "bilinear":
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        elif self.upsampling == "nearest":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.block(skip, guidance, beside=x)


class Decoder(nn.Module):
    """From the encoder's maps to class logits at the finest level."""

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
        """Logits (B, classes, H, W) from `maps`, fine to coarse as `Encoder` gives them."""
        return self.logits(self.features(maps, guidance)[-1])

    def logits(self, finest: Tensor) -> Tensor:
        """Logits of the last of `features`, in single precision at least, as losses need them."""
        return at_least_single(self.head(finest))

    def features(self, maps: Sequence[Tensor], guidance: Tensor | None = None) -> list[Tensor]:
        """The decoder's own maps, coarse to fine; the head reads the last."""
        x = maps[-1]
        features = []
        for up, skip in zip(self.ups, reversed(maps[:-1]), strict=True):
            x = up(x, skip, guidance)
            features.append(x)
        return features


class UNet(nn.Module):
    """The segmenter: images (B, channels, H, W) -> logits (B, classes, H, W).

    Any H and W: the image is padded with zeros at the bottom and right to the next multiple of 16
    and the logits are cropped back.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.channels, self.classes = channels, classes
        self.encoder = Encoder(channels, widths)
        self.decoder = Decoder(classes, widths)

    def forward(self, images: Tensor) -> Tensor:
        return crop_like(self.decoder(self.encode(images)), images)

    def encode(self, images: Tensor) -> list[Tensor]:
        """The encoder's maps, fine to coarse, of the padded images."""
        return self.encoder(pad_to_multiple(images, 16))


def crop_like(x: Tensor, images: Tensor) -> Tensor:
    """(..., H', W') without the padding that `images` (..., H, W) got."""
    height, width = images.shape[-2:]
    return x[..., :height, :width]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Zero-pads (..., H, W) at the bottom and right so that both are multiples of `multiple`."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x
