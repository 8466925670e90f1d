"""Medical Segmentation Decathlon: a folder with dataset.json, imagesTr and labelsTr.

The entries under "training" are read; one without a label is an unlabelled case. Every image is
taken as a patient of its own.
"""

import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrect.data.case import Case
from diffrect.data.sources.base import SourceListing
from diffrect.data.volume import read_image, read_label
from diffrect.errors import InputError


@dataclass(frozen=True)
class DecathlonCase:
    """One entry of "training"."""

    id: str
    patient: str
    image: Path
    label: Path | None

    def load(self) -> Case:
        """Read image and label."""
        label = None if self.label is None else read_label(self.label)
        return Case(self.id, self.patient, read_image(self.image), label)


class Decathlon:
    """The Decathlon layout with one modality."""

    name = "decathlon"

    def detect(self, path: Path) -> bool:
        """Whether there is a dataset.json."""
        return (path / "dataset.json").is_file()

    def list(self, path: Path) -> SourceListing:
        """List the training entries, in the order of their ids."""
        file = path / "dataset.json"
        settings = _read_settings(file)
        modalities = settings.get("modality")
        if not isinstance(modalities, dict) or len(modalities) != 1:
            raise InputError(f"{file}: expected one entry under 'modality', found {modalities!r}")
        entries = settings.get("training")
        if not isinstance(entries, list) or not entries:
            raise InputError(f"{file}: expected a list of images under 'training', found none")
        cases = [_entry(file, entry) for entry in entries]
        return SourceListing(
            references=sorted(cases, key=lambda case: case.id),
            classes=_classes(file, settings.get("labels")),
            channels=1,
        )


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{file}: expected a Decathlon dataset.json, found no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: expected readable JSON: {error}") from None
    if not isinstance(settings, dict):
        raise InputError(f"{file}: expected a JSON object, got {type(settings).__name__}")
    return settings


def _classes(file: Path, labels: Any) -> tuple[str, ...]:
    """Class names in the order of their codes, which must be 0, 1, 2 and so on."""
    names = labels if isinstance(labels, dict) else {}
    codes = [str(code) for code in range(len(names))]
    if len(names) < 2 or sorted(names) != sorted(codes):
        found = ", ".join(map(str, names)) or "none"
        raise InputError(f"{file}: expected codes 0, 1, ... under 'labels', found {found}")
    return ("background", *(str(names[code]) for code in codes[1:]))


def _entry(file: Path, entry: Any) -> DecathlonCase:
    record = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        raise InputError(f"{file}: expected an 'image' in each training entry, got {entry!r}")
    image = _inside(file, record["image"])
    label = _inside(file, record["label"]) if record.get("label") else None
    name = image.name.removesuffix(".gz").removesuffix(".nii")
    return DecathlonCase(name, name, image, label)


def _inside(file: Path, name: str) -> Path:
    """The path of a file named in dataset.json; a leading slash means the data set's folder."""
    relative = posixpath.normpath(str(name).replace("\\", "/").lstrip("/"))
    if relative == ".." or relative.startswith("../"):
        raise InputError(f"{file}: expected paths inside its folder, got {name!r}")
    path = file.parent / relative
    if not path.is_file():
        raise InputError(f"{path}: expected the file named in {file.name}, found no such file")
    return path
