"""Which files are images: their kinds by name, and the images below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["nifti", "itk", "dicom", "picture"]

SUFFIXES: dict[str, Kind] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr": "nifti",  # its voxels are in the .img beside it
    ".nrrd": "itk",
    ".nhdr": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".dcm": "dicom",
    ".ima": "dicom",
    ".png": "picture",
    ".tif": "picture",
    ".tiff": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
}
EXPECTED = "NIfTI, NRRD, MHA, DICOM series, PNG, TIFF or JPEG"


def kind_of(path: Path) -> Kind | None:
    """The kind of an image by its name, a folder of DICOM files being one; None if it is none."""
    if path.is_dir():
        return "dicom" if series_files(path) else None
    suffix = suffix_of(path)
    return SUFFIXES[suffix.lower()] if suffix else None


def suffix_of(path: Path) -> str:
    """The suffix that says what the image is, as it is spelled; empty if there is none."""
    lower = path.name.lower()
    known = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    return path.name[len(path.name) - len(known) :]


def stem_of(path: Path) -> str:
    """The name without the suffix of an image; a series is named like its folder."""
    if path.is_dir():
        return path.resolve().name
    return path.name.removesuffix(suffix_of(path))


def find_images(path: Path, *, recursive: bool = True) -> list[Path]:
    """The images in a folder: files of known names and folders with a DICOM series, sorted.

    A folder that holds a DICOM series counts as that series, and `path` itself may be one. Hidden
    files are left out; symbolic links are followed, each folder once. Without ``recursive`` only
    what lies directly in ``path`` is listed. A file is itself, if it is an image by its name.
    """
    if not path.is_dir():
        return [path] if path.is_file() and kind_of(path) else []
    return list(_images_in(path, recursive, set()))


def series_files(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder, by name: *.dcm, *.ima, or by what they begin with."""
    files = [path for path in _entries(folder) if path.is_file()]
    return [file for file in files if _is_dicom(file)]


def _images_in(folder: Path, recursive: bool, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    if series_files(folder):
        yield folder
    for path in _entries(folder):
        if path.is_dir():
            if recursive:
                yield from _images_in(path, recursive, seen)
            elif series_files(path):
                yield path
        elif path.is_file() and kind_of(path) not in (None, "dicom"):
            yield path


def _entries(folder: Path) -> list[Path]:
    # Hidden files are not scans: unfinished files, and macOS's "._scan.nii.gz".
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_dicom(file: Path) -> bool:
    suffix = suffix_of(file)
    if suffix:
        return SUFFIXES[suffix.lower()] == "dicom"
    # Scanners write names without a suffix, or with the last number of an identifier as one.
    if file.name.upper() == "DICOMDIR":  # lists files and is no image
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
