"""Images of several channels: one file with all of them, or one file per channel as in nnU-Net."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffrect.console import count
from diffrect.errors import InputError
from diffrect.imaging.geometry import TRUST, check_geometry, turn_onto
from diffrect.imaging.read import read_image
from diffrect.imaging.volume import Volume

File = TypeVar("File")

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>\d{4})$")


def group_channels(
    images: Mapping[str, File],
    channels: int,
    cases: Collection[str] = (),
    *,
    numbered: bool = False,
) -> dict[str, dict[int | None, File]]:
    """Return case -> channel number -> file; the number is None if one file holds all channels.

    A case's id may end in four digits itself. NAME_0000, NAME_0001 and so on are channels of NAME
    if NAME is known to be a case; if nothing is known about them, they are channels if they are as
    many as the channels, or, for one channel, if the layout numbers all files.

    Args:
        images: files, or whatever represents them, by their names without suffixes.
        channels: image channels of the data set or of the model.
        cases: names that are known to be cases, as by their labels or by a list.
        numbered: the layout has a file per channel, even of a single one.
    """
    known = set(cases)
    matches = {stem: match for stem in images if (match := _CHANNEL.match(stem))}
    numbers: dict[str, set[int]] = {}
    for match in matches.values():
        numbers.setdefault(match["case"], set()).add(int(match["number"]))
    # A name whose own numbers are cases has no channels in files of their own.
    are_cases = {match["case"] for stem, match in matches.items() if stem in known}
    whole = not known.isdisjoint(images) and known.isdisjoint(numbers)

    def are_channels(name: str) -> bool:
        if name in images:  # one file with all channels, of the same name
            return False
        if name in known:
            return True
        if name in are_cases or whole:
            return False
        if channels == 1:
            return numbers[name] == {0} and numbered
        return 0 in numbers[name] and max(numbers[name]) < channels

    groups: dict[str, dict[int | None, File]] = {}
    for stem, file in images.items():
        found = matches.get(stem)
        if found and stem not in known and are_channels(found["case"]):
            groups.setdefault(found["case"], {})[int(found["number"])] = file
        else:
            groups.setdefault(stem, {})[None] = file
    return groups


def holds_channels(file: Path, channels: int) -> bool:
    """Return whether a readable file holds that many channels itself, as an RGB picture has 3."""
    try:
        array = read_image(file).array
    except InputError:
        return False
    return array.ndim == 4 and array.shape[3] == channels


def name_constant_channels(image: Volume) -> Volume:
    """Return an image with a remark for each channel that is constant while another is not."""
    if image.array.ndim != 4:
        return image
    channels = np.moveaxis(image.array, 3, 0)
    constant = {n: one.min() for n, one in enumerate(channels) if one.min() == one.max()}
    if len(constant) == len(channels):  # which is refused
        return image
    remarks = [
        f"every voxel of channel {number} is {value:g}; the channel is kept, as zeros"
        for number, value in constant.items()
    ]
    return replace(image, remarks=(*image.remarks, *remarks))


def only_channel(image: Volume, channel: int, channels: int | None = None) -> Volume:
    """Return an image (X, Y, Z, C) with only one of its channels, as (X, Y, Z).

    Args:
        image: the image; one channel may also be (X, Y, Z).
        channel: the number of the channel, from 0.
        channels: how many the image must have; None allows any number.

    Raises:
        InputError: the image has another number of channels, or no such channel.
    """
    found = image.array.shape[3] if image.array.ndim == 4 else 1
    if channels is not None and found != channels:
        raise InputError(image.path, count(channels, "channel"), got=found)
    if channel >= found:
        has = f"{count(found, 'channel')}, numbered from 0"
        raise InputError(image.path, f"a channel {channel}", found=has)
    array = image.array if image.array.ndim == 3 else image.array[..., channel]
    return replace(image, array=array)


def stack_channels(
    volumes: Sequence[Volume], trusting: bool = False, hint: str | None = TRUST
) -> Volume:
    """Return images (X, Y, Z) of one grid as one image (X, Y, Z, C), stored as the first one is.

    Args:
        volumes: the channels in their order; a single one is returned as it is.
        trusting: take all channels to lie where the first one lies.
        hint: what the user can do if only the header of a channel is wrong.

    Raises:
        InputError: an image has another shape or several channels; or, unless `trusting`, it lies
            elsewhere than the first.
    """
    first = volumes[0]
    if len(volumes) == 1:
        return first
    channels = [turn_onto(first, volume) for volume in volumes]
    for volume in channels:
        if volume.array.ndim != 3 or volume.array.shape != first.array.shape:
            expected = f"one channel of {first.array.shape} voxels as in {first.path}"
            raise InputError(volume.path, expected, got=f"shape {volume.array.shape}")
        if not trusting:
            check_geometry(first, volume, "the first channel", hint)
    array = np.stack([volume.array for volume in channels], axis=-1)
    return replace(first, array=array)
