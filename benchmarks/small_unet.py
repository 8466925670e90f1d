"""A U-Net of half width for benchmarks of many trainings, loaded as a user's own."""

from diffrect.networks.unet import UNet


class SmallUNet(UNet):
    """The package's U-Net with 8 to 128 channels, a quarter of its weights."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, widths=(8, 16, 32, 64, 128))
