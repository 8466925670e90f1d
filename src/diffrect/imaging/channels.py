"""Images of several channels: one file with all of them, or one file for each, as in nnU-Net."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from diffrect.data.case import check_geometry
from diffrect.errors import InputError
from diffrect.imaging.volume import Volume

File = TypeVar("File")

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>\d{4})$")


def group_channels(images: Mapping[str, File]) -> dict[str, dict[int | None, File]]:
    """What there is of each case by the number of the channel; None: one file holds all of them.

    ``images`` are files, or whatever stands for them, by their names without suffixes.
    """
    groups: dict[str, dict[int | None, File]] = {}
    for stem, file in images.items():
        match = _CHANNEL.match(stem)
        # An id may end in four digits itself; channels are counted from 0000.
        if match and f"{match['case']}_0000" in images:
            groups.setdefault(match["case"], {})[int(match["number"])] = file
        else:
            groups.setdefault(stem, {})[None] = file
    return groups


def only_channel(image: Volume, channel: int, channels: int | None = None) -> Volume:
    """One channel, from 0, of an image (X, Y, Z, C), which is to have so many ``channels``.

    Raises:
        InputError: it has another number, or no such channel.
    """
    found = image.array.shape[3] if image.array.ndim == 4 else 1
    if channels is not None and found != channels:
        raise InputError(f"{image.path}: expected {channels} channel(s), got {found}")
    if channel >= found:
        raise InputError(f"{image.path}: expected a channel {channel}, it has {found}, from 0")
    array = image.array if image.array.ndim == 3 else image.array[..., channel]
    return replace(image, array=array)


def stack_channels(volumes: Sequence[Volume], trusting: bool = False) -> Volume:
    """Images (X, Y, Z) of one grid as one (X, Y, Z, C).

    Raises:
        InputError: one of another shape or with several channels; or, unless ``trusting``, one that
            lies elsewhere than the first.
    """
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for volume in volumes:
        if volume.array.ndim != 3 or volume.array.shape != first.array.shape:
            expected = f"expected one channel of {first.array.shape} voxels as in {first.path}"
            raise InputError(f"{volume.path}: {expected}, got shape {volume.array.shape}")
        if not trusting:
            check_geometry(first, volume, "the first channel")
    array = np.stack([volume.array for volume in volumes], axis=-1)
    return replace(first, array=array)
