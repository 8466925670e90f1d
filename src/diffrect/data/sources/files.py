"""Files, case ids and patients: the parts that several layouts use."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diffrect.data.case import Case
from diffrect.data.sources.base import OnProblem
from diffrect.errors import InputError
from diffrect.imaging.channels import name_constant_channels, only_channel, stack_channels
from diffrect.imaging.dicom_header import read_slices
from diffrect.imaging.kinds import SUFFIXES, kind_of, visible
from diffrect.imaging.label_codes import map_codes
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume

SCAN_SUFFIXES = tuple(suffix for suffix, kind in SUFFIXES.items() if kind != "dicom")
"""Suffixes of files that are a whole scan; a DICOM file is a slice of the scan in its folder."""


@dataclass(frozen=True)
class FileCase:
    """A case of one image file, or of one file per channel, and maybe a label file.

    Attributes:
        id, patient: as in `Case`.
        images: the files; several are stacked as channels.
        label: None for an unlabelled case.
        channels: number of channels of the data set, where `channel` selects one.
        channel: the channel to keep of a file with several; None keeps all.
        trusting: all channels are taken to lie where the first one lies.
        codes: label code in the file -> class code or `IGNORED`; empty if they are the same.
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
        """Read the image with the channels that are wanted."""
        image = stack_channels([read_image(file) for file in self.images], self.trusting)
        if self.channel is None:
            return name_constant_channels(image)
        return only_channel(image, self.channel, self.channels)

    def load_label(self) -> Volume | None:
        """Read the label map in class codes; None for an unlabelled case."""
        return None if self.label is None else map_codes(read_label(self.label), self.codes)


def image_stem(path: Path) -> str:
    """Return the name without the suffix of an image; a folder keeps all of its name."""
    lower = path.name.lower()
    suffix = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    if not suffix or (SUFFIXES[suffix] == "dicom" and path.is_dir()):
        return path.name
    return path.name[: len(path.name) - len(suffix)]


def one_spelling(name: str) -> str:
    """Return a name with letters such as "é" as one character (NFC), which some disks keep as two.

    Copies between disks change one spelling for the other, so both are the same name here.
    """
    return unicodedata.normalize("NFC", name)


def as_spelt(path: Path) -> Path:
    """Return the path as it is spelt on the disk, or unchanged if there is nothing of that name."""
    if path.exists() or path == path.parent:
        return path
    folder = as_spelt(path.parent)
    if not folder.is_dir():
        return path
    name = one_spelling(path.name)
    twins = (other for other in folder.iterdir() if one_spelling(other.name) == name)
    return next(twins, path)


def find_scans(folder: Path, on_problem: OnProblem) -> tuple[list[Path], tuple[str, ...]]:
    """Return the images directly in a folder, and a line about what else lies there.

    Images are files of known names, DICOM files and folders of DICOM files, sorted. Hidden files
    are no part of either. A link with the name of an image that leads nowhere, or round in circles,
    is a problem.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in visible(folder):
        if path.name.lower().endswith(tuple(SUFFIXES)) and not path.exists():
            on_problem(InputError(path, "a file", found="a link that leads nowhere"))
        elif kind_of(path) is not None:
            found.append(path)
        else:
            others.append(path)
    return found, passed_over(folder, [path for path in others if not _has_header(path)])


def _has_header(path: Path) -> bool:
    """Return whether a file holds the voxels of a header that is beside it."""
    headers = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}
    known = headers.get(path.suffix.lower(), (".nhdr",) if path.name.endswith(".raw.gz") else ())
    stem = path.name.split(".raw")[0] if path.name.endswith(".raw.gz") else path.stem
    return any(path.with_name(stem + suffix).exists() for suffix in known)


def passed_over(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    """Say how many files or folders of a folder are passed over, and which; nothing if none is."""
    if not paths:
        return ()
    names = ", ".join(path.name + ("/" if path.is_dir() else "") for path in paths)
    kind = "entry" if len(paths) == 1 else "entries"
    are = "is" if len(paths) == 1 else "are"
    return (f"{folder}: {len(paths)} {kind} that no reader knows {are} passed over: {names}",)


def check_loose_slices(files: Mapping[str, Path], labels: Collection[str]) -> None:
    """Refuse slices of one DICOM series that lie beside each other as if each were a scan.

    Args:
        files: images by their names.
        labels: names that have a label, and so are cases.

    Raises:
        InputError: two files without labels belong to one series.
    """
    series: dict[str, Path] = {}
    for name, file in files.items():
        if name in labels or file.is_dir() or kind_of(file) != "dicom":
            continue
        try:
            found = read_slices(file)[0].series
        except InputError:  # which is told when the case is read
            continue
        other = series.setdefault(found, file)
        if found and other != file:
            hint = "put each series into a folder of its own"
            expected = "one DICOM file for each scan"
            raise InputError(file, expected, found=f"the series of {other.name}", hint=hint)


def is_dicom_folder(path: Path) -> bool:
    """Return whether the path is a folder with DICOM files, which together are one scan."""
    return path.is_dir() and kind_of(path) == "dicom"


def by_stem(files: list[Path], kind: str, on_problem: OnProblem) -> dict[str, Path]:
    """Return the files by their `image_stem` in one spelling; two of one stem are a problem.

    Args:
        files: images or labels.
        kind: which of the two, for messages.
        on_problem: called with each problem.
    """
    found: dict[str, Path] = {}
    for file in files:
        other = found.setdefault(one_spelling(image_stem(file)), file)
        if other != file:
            expected = f"one {kind} for each case"
            on_problem(InputError(file, expected, found=f"{other.name} too"))
    return found


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder in a fixed order, without hidden ones; links count once."""
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
    """Return the path of a file that a list names.

    Args:
        root: the folder of the list, in which the file must lie.
        name: the path as listed; a leading slash means `root` too, as in the Decathlon's lists.
        where: the list and the place in it, for messages.

    Raises:
        InputError: the path leads out of the folder.
    """
    relative = posixpath.normpath(name.replace("\\", "/").lstrip("/"))
    outside = relative == ".." or relative.startswith("../") or re.match(r"[A-Za-z]:", relative)
    if outside or "\0" in name:
        raise InputError(where, "paths inside its folder", got=repr(name))
    return root / relative


def choose_patient(pattern: str | None, case: str) -> str:
    """Return the patient of a case: the first group of the pattern in its id, else the id.

    Args:
        pattern: a regular expression with a group; None if each case is a patient.
        case: the case's id.

    Raises:
        InputError: the pattern is not a regular expression, has no group or does not match.
    """
    if pattern is None:
        return case
    try:
        expression = re.compile(pattern)
    except re.error as error:
        expected = "a regular expression"
        raise InputError("--patients", expected, got=repr(pattern), reason=str(error)) from None
    if not expression.groups:
        raise InputError("--patients", "a pattern with a group (...)", got=repr(pattern))
    match = expression.search(case)
    if match is None or not match[1]:
        expected = f"{pattern!r} to match every id"
        raise InputError("--patients", expected, found=f"{case!r}, which it does not match")
    return str(match[1])
