"""What dataset.json says, in the Decathlon's words and in those of nnU-Net.

            Decathlon, nnU-Net 1                 nnU-Net 2
channels    modality: number -> name             channel_names: number -> name
classes     labels: code -> name                 labels: name -> code; "ignore" is no class
cases       training: image and label of each    none: by the names in imagesTr and labelsTr;
                                                 or dataset: case -> images and label
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrect.data.sources.base import Report
from diffrect.data.sources.files import image_stem, path_inside
from diffrect.errors import InputError
from diffrect.labels import IGNORED

IGNORED_NAMES = ("ignore", "ignored")


@dataclass(frozen=True)
class Entry:
    """One case as the file lists it; ``files`` where it names one file a channel."""

    id: str
    image: Path | None
    label: Path | None
    files: tuple[Path, ...] = ()


def read_json(file: Path) -> dict[str, Any]:
    """The object in the file.

    Raises:
        InputError: no such file, or no JSON object.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        settings = json.loads(text, object_pairs_hook=_each_once)
    except FileNotFoundError:
        raise InputError(f"{file}: expected a Decathlon dataset.json, found no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: expected readable JSON: {error}") from None
    if not isinstance(settings, dict):
        raise InputError(f"{file}: expected a JSON object, got {type(settings).__name__}")
    return settings


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name comes twice, instead of the last one counting."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def channel_names(file: Path, settings: dict[str, Any]) -> tuple[str, ...]:
    """Names of the image channels in their order.

    Raises:
        InputError: none, or numbers that are not 0, 1, 2 and so on.
    """
    key = "channel_names" if "channel_names" in settings else "modality"
    names = settings.get(key)
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    if not isinstance(names, dict) or not names:
        raise InputError(f"{file}: expected one entry under '{key}' or more, found {names!r}")
    numbers = [str(number) for number in range(len(names))]
    if sorted(names) != sorted(numbers):
        found = ", ".join(map(str, names))
        raise InputError(f"{file}: expected channels 0, 1, ... under '{key}', found {found}")
    return tuple(str(names[number]) for number in numbers)


def read_labels(file: Path, labels: Any) -> tuple[tuple[str, ...], dict[int, int]]:
    """Class names in the order of their codes, and what to make of each code in the files.

    Raises:
        InputError: codes that are not 0, 1, 2 and so on, or classes that overlap.
    """
    names = _names_by_code(file, labels if isinstance(labels, dict) else {})
    ignored = [code for code, name in names.items() if name.casefold() in IGNORED_NAMES]
    classes = {code: name for code, name in names.items() if code not in ignored}
    if len(classes) < 2 or sorted(classes) != list(range(len(classes))):
        found = ", ".join(map(str, sorted(classes))) or "none"
        raise InputError(f"{file}: expected codes 0, 1, ... under 'labels', found {found}")
    codes = {code: IGNORED if code in ignored else code for code in names}
    return ("background", *(classes[code] for code in range(1, len(classes)))), codes


def _names_by_code(file: Path, labels: dict[str, Any]) -> dict[int, str]:
    """Either way of writing, as code -> name."""
    found: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, list):
            expected = "expected one code for each class under 'labels', which must not overlap"
            raise InputError(f"{file}: {expected}, got {value} for {key!r}")
        turned = type(value) is int or (str(value).isdecimal() and not key.isdecimal())
        code, name = (value, key) if turned else (key, value)
        if not str(code).isdecimal() or int(code) > 65535 or not isinstance(name, str):
            expected = "expected whole codes from 0 up under 'labels'"
            raise InputError(f"{file}: {expected}, got {key!r}: {value!r}")
        if int(code) in found:
            raise InputError(f"{file}: expected each code once under 'labels', got {code} twice")
        found[int(code)] = name
    return found


def entries(file: Path, settings: dict[str, Any], report: Report) -> list[Entry] | None:
    """The cases that the file lists; None where it leaves them to the folders.

    Raises:
        InputError: an empty list, or entries of another form.
    """
    if isinstance(settings.get("dataset"), dict):
        return _kept(file, list(settings["dataset"].items()), _named_entry, report)
    training = settings.get("training")
    if training is None and "channel_names" in settings:
        return None
    if not isinstance(training, list) or not training:
        raise InputError(f"{file}: expected a list of images under 'training', found none")
    return _kept(file, training, _training_entry, report)


def _kept(file: Path, given: list[Any], read: Any, report: Report) -> list[Entry]:
    found = []
    for one in given:
        try:
            found.append(read(file, one))
        except InputError as error:
            report(str(error))
    return found


def _training_entry(file: Path, entry: Any) -> Entry:
    record = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        raise InputError(f"{file}: expected an 'image' in each training entry, got {entry!r}")
    image = path_inside(file.parent, record["image"], str(file))
    label = record.get("label")
    return Entry(image_stem(image), image, _label(file, label) if label else None)


def _named_entry(file: Path, item: tuple[str, Any]) -> Entry:
    case, record = item
    images = record.get("images") if isinstance(record, dict) else None
    if not isinstance(images, list) or not images or not all(isinstance(i, str) for i in images):
        raise InputError(f"{file}: expected 'images' of {case} under 'dataset', got {record!r}")
    files = tuple(path_inside(file.parent, name, str(file)) for name in images)
    label = record.get("label")
    only = files[0] if len(files) == 1 else None
    return Entry(case, only, _label(file, label) if label else None, files)


def _label(file: Path, name: Any) -> Path:
    return path_inside(file.parent, str(name), str(file))
