"""The inputs of `predict` -> the scans to read.

An input is a file, a folder or a pattern; a scan is one file, or one file per channel.
"""

import glob
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from diffrect.errors import InputError
from diffrect.imaging.channels import (
    group_channels,
    holds_channels,
    name_constant_channels,
    only_channel,
    stack_channels,
)
from diffrect.imaging.find import find_images
from diffrect.imaging.kinds import EXPECTED, kind_of, stem_of, suffix_of
from diffrect.imaging.read import read_image
from diffrect.imaging.volume import Volume

FIRST_CHANNEL = "_0000"
"""nnU-Net names the only channel of CASE so, and its label CASE."""
Scan = tuple[Path, ...]
"""The file of a scan, or the files of its channels, one each."""


def list_scans(inputs: Sequence[Path], channels: int) -> dict[str, list[Scan]]:
    """Return the scans by the names of their label files; several of one name if inputs clash.

    Args:
        inputs: see `list_images`.
        channels: image channels of the model. With several, CASE_0000, CASE_0001 and so on in one
            folder are the scan CASE, as in nnU-Net.

    Raises:
        InputError: see `list_images`; or a channel that is missing.
    """
    files = list_images(inputs)
    if channels == 1:
        return _by_name([(stem_of(file), (file,)) for file in files])
    folders: dict[Path, dict[str, list[Path]]] = {}
    for file in files:
        folders.setdefault(file.parent, {}).setdefault(stem_of(file), []).append(file)
    scans: list[tuple[str, Scan]] = []
    for stems in folders.values():
        for name, group in _groups(stems, channels).items():
            if None in group:
                scans += [(name, (file,)) for file in group[None]]
            else:
                scans.append((name, _complete(name, group, channels)))
    return _by_name(scans)


def _groups(stems: dict[str, list[Path]], channels: int) -> dict[str, dict[int | None, list[Path]]]:
    """Return the files of a folder by scan and channel, as `group_channels`.

    Whether NAME_0000 is a channel of NAME or a scan of its own is seen from how many channels it
    holds, which is looked up once per folder.
    """
    groups = group_channels(stems, channels)
    first = next((group[0][0] for group in groups.values() if 0 in group), None)
    if first is not None and holds_channels(first, channels):
        return {stem: {None: files} for stem, files in stems.items()}
    return groups


def _by_name(scans: Sequence[tuple[str, Scan]]) -> dict[str, list[Scan]]:
    named: dict[str, list[Scan]] = {}
    for name, scan in scans:
        named.setdefault(name, []).append(scan)
    return named


def _complete(name: str, group: dict[int | None, list[Path]], channels: int) -> Scan:
    """Return the files of a scan's channels in their order, once they are all there, and once."""
    (first, *_) = group[0]
    if sorted(group, key=lambda number: number or 0) != list(range(channels)):
        found = ", ".join(f"{number:04d}" for number in sorted(n or 0 for n in group))
        raise InputError(first, f"channels 0000 to {channels - 1:04d} of {name}", found=found)
    twice = next((files for files in group.values() if len(files) > 1), None)
    if twice is not None:
        raise InputError(twice[1], "one file for each channel", found=f"{twice[0]} too")
    return tuple(group[number][0] for number in range(channels))


def read_scan(scan: Scan, channel: int | None = None) -> Volume:
    """Read the image of all files of a scan.

    Args:
        scan: its files.
        channel: read only this channel, from 0; None reads all.

    Returns:
        The image (X, Y, Z[, C]).

    Raises:
        InputError: see `read_image`; or files that do not lie in the same place, or no such
            channel.
    """
    image = stack_channels([read_image(file) for file in scan], hint=None)
    return name_constant_channels(image) if channel is None else only_channel(image, channel)


def list_images(inputs: Sequence[Path]) -> list[Path]:
    """Return the images that are named, matched, or directly inside a folder named, each once.

    Two names of one file, such as links to it, are two images; one name that is given twice, in
    whatever words, is one.

    Args:
        inputs: image files, folders of images or of a DICOM series, or patterns.

    Raises:
        InputError: an input that does not exist or is not an image by its name, or a folder without
            images.
    """
    if not inputs:
        raise InputError("INPUT", "at least one image file or folder", got="none")
    files: dict[tuple[str, str], Path] = {}
    for path in inputs:
        for file in _images_of(path):
            name = stem_of(file) + suffix_of(file)
            files.setdefault((os.path.realpath(file), name), file)
    return list(files.values())


def _images_of(path: Path) -> list[Path]:
    if path.is_dir():
        found = find_images(path, recursive=False)
        names = {file.name for file in found}
        found = [file for file in found if not _is_label_beside(file.name, names)]
        if not found:
            raise InputError(path, f"images ({EXPECTED}) in it", found="none")
        return found
    if path.is_file():
        if kind_of(path) is None:
            raise InputError(path, f"an image by its name ({EXPECTED})")
        return [path]
    if glob.has_magic(str(path)):
        matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
        images = [match for match in matches if kind_of(match)]
        if not images:
            raise InputError(path, f"images ({EXPECTED}) to match", found="none")
        return images
    raise InputError(path, "an image file or a folder of them", found="neither")


def _is_label_beside(name: str, files: Collection[str]) -> bool:
    """Return whether a file is the truth of an image in its folder, as ACDC names them."""
    return "_gt.nii" in name and name.replace("_gt.nii", ".nii") in files
