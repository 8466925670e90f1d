"""Scans to read -> the files to write for them, checked before anything is read or written."""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from diffrect.checks import folder_to_make, one_of
from diffrect.errors import InputError
from diffrect.imaging.kinds import kind_of, suffix_of
from diffrect.inference.inputs import Scan

Format = Literal["nifti", "same", "dicom-seg"]
"""Whether label files are NIfTI, in the format of their image, or DICOM segmentations."""

SEGMENTATION_SUFFIX = ".dcm"
"""Suffix of a DICOM segmentation."""

STATISTICS_FILE = "statistics.csv"
"""Name of the table of all scans."""
PSEUDO_LABELS_FILE = "pseudo_labels.csv"
"""Name of the table of all cases whose pseudo-labels are written."""


class Output(NamedTuple):
    """The files to write for a scan.

    Attributes:
        labels: the label file.
        probabilities: the file of the probabilities; None if they are not wanted.
        entropy: the file of the entropy map; None if it is not wanted.
    """

    labels: Path
    probabilities: Path | None = None
    entropy: Path | None = None

    @property
    def files(self) -> Iterable[Path]:
        """All files to write."""
        return (file for file in self if file is not None)

    @property
    def stem(self) -> str:
        """Name of the label file without its suffix."""
        return self.labels.name.removesuffix(suffix_of(self.labels))


def name_outputs(
    out: Path,
    scans: Mapping[str, Sequence[Scan]],
    format: Format,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    statistics: bool = False,
    overwrite: bool = False,
) -> dict[Scan, Output]:
    """Return the files to write for every scan.

    Args:
        out: folder for them.
        scans: the scans by the names of their label files, see `list_scans`.
        format: of the label files.
        probabilities: whether probabilities are wanted too.
        uncertainty: whether entropy maps are wanted too.
        statistics: whether a table of all scans is wanted too.
        overwrite: whether files that exist already are replaced.

    Raises:
        InputError: two scans of the same name, or a file that would replace one of the scans or,
            without `overwrite`, any other.
    """
    check_format(format)
    folder_to_make(out, "a folder for the label files")
    outputs = {
        scan: Output(
            out / f"{stem}{label_suffix(scan[0], format)}",
            out / probabilities_name(stem) if probabilities else None,
            out / entropy_name(stem) if uncertainty else None,
        )
        for stem, named in scans.items()
        for scan in named
    }
    images = {os.path.realpath(file) for scan in outputs for file in scan}
    sources: dict[Path, Path] = {}
    for scan, output in outputs.items():
        for file in output.files:
            if file in sources:
                clash = f"{sources[file]} would be written to {file} too"
                raise InputError(scan[0], f"inputs of different names, {clash}")
            if os.path.realpath(file) in images:
                raise InputError(out, "another folder than that of the inputs")
            if file.exists() and not overwrite:
                raise InputError(file, problem="exists already", hint="--overwrite replaces it")
            sources[file] = scan[0]
    table = out / STATISTICS_FILE
    if statistics and table.exists() and not overwrite:
        raise InputError(table, problem="exists already", hint="--overwrite replaces it")
    return outputs


def entropy_name(stem: str) -> str:
    """Return the name of the entropy map beside a label file."""
    return f"{stem}_entropy.nii.gz"


def probabilities_name(stem: str) -> str:
    """Return the name of the file of probabilities beside a label file."""
    return f"{stem}_probabilities.nii.gz"


def check_format(format: Format) -> None:
    """Refuse a format that there is not, or whose package is not installed.

    Raises:
        InputError: naming it.
    """
    one_of("--format", format, get_args(Format))
    if format == "dicom-seg" and find_spec("highdicom") is None:
        found, hint = "that it is not installed", "pip install highdicom"
        raise InputError("--format dicom-seg", "the package highdicom", found=found, hint=hint)


def label_suffix(file: Path, format: Format) -> str:
    """Return the suffix of the label file of an image.

    Raises:
        InputError: labels of this image cannot have that format.
    """
    if format == "nifti":
        return ".nii.gz"
    if format == "dicom-seg":
        if kind_of(file) != "dicom":
            expected = "a DICOM series for --format dicom-seg"
            raise InputError(file, expected, hint="give --format nifti or same")
        return SEGMENTATION_SUFFIX
    unwritten = {"dicom": "DICOM", "freesurfer": "FreeSurfer"}.get(kind_of(file) or "")
    if unwritten is not None:
        expected = f"another format than {unwritten} for --format same"
        hint = "--format nifti or dicom-seg" if unwritten == "DICOM" else "--format nifti"
        raise InputError(file, expected, hint=f"give {hint}")
    suffix = suffix_of(file)
    if suffix.lower() == ".hdr":
        return ".nii"
    # JPEG changes values, which turns labels into other classes.
    return ".png" if suffix.lower() in (".jpg", ".jpeg") else suffix
