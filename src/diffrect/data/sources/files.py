"""Files and ids: what the layouts have in common."""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from diffrect.data.case import Case
from diffrect.data.sources.base import Report
from diffrect.errors import InputError
from diffrect.imaging import kinds as formats
from diffrect.imaging.channels import only_channel, stack_channels
from diffrect.imaging.volume import Volume, read_image, read_label

# A DICOM file is a slice of the scan that its folder is.
SUFFIXES = tuple(suffix for suffix, kind in formats.SUFFIXES.items() if kind != "dicom")


@dataclass(frozen=True)
class FileCase:
    """A case of one image file, or of one file for each channel, and maybe a label file.

    Attributes:
        id, patient: as in `Case`.
        images: the files; several are stacked as channels.
        label: None for an unlabelled case.
        channels: how many the data set has, where `channel` is chosen.
        channel: the one to keep of a file with several; None keeps all.
        trusting: all channels are taken to lie where the first one lies.
        codes: label code in the file -> class code or `IGNORED`; empty: they are the class codes.
    """

    id: str
    patient: str
    images: tuple[Path, ...]
    label: Path | None
    channels: int = 1
    channel: int | None = None
    trusting: bool = False
    codes: Mapping[int, int] = field(default_factory=dict)

    def load(self) -> Case:
        """Read image and label."""
        image = self.load_image()
        return Case(self.id, self.patient, image, self.load_label())

    def load_image(self) -> Volume:
        """The image with the channels that are wanted."""
        image = stack_channels([read_image(file) for file in self.images], self.trusting)
        if self.channel is None:
            return image
        return only_channel(image, self.channel, self.channels)

    def load_label(self) -> Volume | None:
        """The label map in class codes."""
        return None if self.label is None else map_codes(read_label(self.label), self.codes)


def map_codes(volume: Volume, codes: Mapping[int, int]) -> Volume:
    """Label codes of a file as class codes.

    Raises:
        InputError: a code that is not in the list.
    """
    if not codes:
        return volume
    array = volume.array
    table = np.full(max(codes) + 1, -1, dtype=np.int16)
    for code, ours in codes.items():
        table[code] = ours
    highest = int(array.max(initial=0))
    if highest < len(table):
        mapped = table[array]
        if mapped.min(initial=0) >= 0:
            return replace(volume, array=mapped.astype(np.uint8))
        highest = int(array[mapped < 0].max())
    raise InputError(f"{volume.path}: expected label codes {_spell(codes)}, found {highest}")


def _spell(codes: Mapping[int, int]) -> str:
    names = sorted(codes)
    if names == list(range(len(names))):
        return f"0 to {len(names) - 1} ({len(names)} classes)"
    return ", ".join(map(str, names))


def image_stem(path: Path) -> str:
    """The name without its suffix, which may have two parts; a folder's name as it is."""
    lower = path.name.lower()
    suffix = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def find_scans(folder: Path, report: Report) -> list[Path]:
    """Image files and folders of DICOM files directly inside, sorted by name; hidden ones not.

    A link with the name of an image that leads nowhere, or round in circles, is a problem.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if is_dicom_folder(path):
                found.append(path)
        elif path.name.lower().endswith(SUFFIXES):
            if path.exists():
                found.append(path)
            else:
                report(f"{path}: expected a file, found a link that leads nowhere")
    return found


def is_dicom_folder(path: Path) -> bool:
    """Whether it is a folder with DICOM files, which are one scan together."""
    return path.is_dir() and formats.kind_of(path) == "dicom"


def by_stem(files: list[Path], kind: str, report: Report) -> dict[str, Path]:
    """Files by `image_stem`; two of one stem are a problem."""
    found: dict[str, Path] = {}
    for file in files:
        other = found.setdefault(image_stem(file), file)
        if other != file:
            report(f"{file}: expected one {kind} for each case, found {other.name} too")
    return found


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, links followed once, in a fixed order; hidden ones not."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)  # Path.resolve may raise at loops
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith("."))


def path_inside(root: Path, name: str, where: str) -> Path:
    """The path of a file that a list names, which must lie in the list's folder.

    A leading slash means the folder too, as in the Decathlon's lists; ``where`` names the list.

    Raises:
        InputError: the path leaves the folder, or there is nothing.
    """
    relative = posixpath.normpath(name.replace("\\", "/").lstrip("/"))
    outside = relative == ".." or relative.startswith("../") or re.match(r"[A-Za-z]:", relative)
    if outside or "\0" in name:
        raise InputError(f"{where}: expected paths inside its folder, got {name!r}")
    return root / relative


def choose_patient(pattern: str | None, case: str) -> str:
    """The patient of a case: what the pattern's first group matches in its id, else the id.

    Raises:
        InputError: not a regular expression with a group, or one that does not match.
    """
    if pattern is None:
        return case
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"--patients: expected a regular expression, got {pattern!r}: {error}"
        ) from None
    if not expression.groups:
        raise InputError(f"--patients: expected a pattern with a group (...), got {pattern!r}")
    match = expression.search(case)
    if match is None or not match[1]:
        raise InputError(f"--patients: expected {pattern!r} to match every id, not so for {case!r}")
    return str(match[1])
