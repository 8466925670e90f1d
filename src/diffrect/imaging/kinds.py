"""The table of image files: which suffix means which kind of file."""

from pathlib import Path
from typing import Literal

Kind = Literal["nifti", "freesurfer", "itk", "dicom", "picture"]
"""Files that one module reads, such as nifti.py."""

SUFFIXES: dict[str, Kind] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr": "nifti",  # its voxels are in the .img beside it
    ".mgz": "freesurfer",
    ".mgh": "freesurfer",
    ".seg.nrrd": "itk",
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
EXPECTED = "NIfTI, FreeSurfer, NRRD, MHA, DICOM series, PNG, TIFF or JPEG"
"""The table in words, for messages."""


def kind_of(path: Path) -> Kind | None:
    """Return the kind of an image by its name, or None for another file.

    A folder of DICOM files is of the kind "dicom", as is a file of another name that begins as
    DICOM does.
    """
    if path.is_dir():
        return "dicom" if series_files(path) else None
    suffix = suffix_of(path)
    if suffix:
        return SUFFIXES[suffix.lower()]
    return "dicom" if path.is_file() and _is_dicom(path) else None


def suffix_of(path: Path) -> str:
    """Return the suffix that says what the image is, as it is spelled; empty if there is none."""
    lower = path.name.lower()
    known = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")
    return path.name[len(path.name) - len(known) :]


def stem_of(path: Path) -> str:
    """Return the name without the suffix of an image; a series is named after its folder.

    A link is called as it is, not as what it leads to. Only "." and ".." have to be looked up.
    """
    if path.is_dir():
        return path.resolve().name if path.name in ("", "..") else path.name
    return path.name.removesuffix(suffix_of(path))


def series_files(folder: Path) -> list[Path]:
    """Return the DICOM files directly in a folder, sorted by name.

    They are recognised by their suffix or by how they begin.
    """
    return [file for file in visible(folder) if file.is_file() and _is_dicom(file)]


def pictures_beside(folder: Path) -> list[Path]:
    """Return the pictures directly in the folder of a DICOM series, which are previews of it."""
    return [
        file
        for file in visible(folder)
        if file.is_file() and SUFFIXES.get(suffix_of(file).lower()) == "picture"
    ]


def visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without hidden files.

    Hidden files are not scans: they are unfinished files, or macOS's "._scan.nii.gz".
    """
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_dicom(file: Path) -> bool:
    suffix = suffix_of(file)
    if suffix:
        return SUFFIXES[suffix.lower()] == "dicom"
    # Scanners write names without a suffix, or with the last number of an identifier as one.
    if file.name.upper() == "DICOMDIR":  # it lists files and holds no image
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
