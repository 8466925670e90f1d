"""Read dataset.json, which has the same facts in the Decathlon's words and in those of nnU-Net.

            Decathlon, nnU-Net 1                 nnU-Net 2
channels    modality: number -> name             channel_names: number -> name
classes     labels: code -> name                 labels: name -> code; "ignore" is not a class
cases       training: image and label of each    none: by the names in imagesTr and labelsTr;
                                                 or dataset: case -> images and label

MONAI's lists have validation beside training, and test with labels.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from diffrect import json_files
from diffrect.checks import regular_file
from diffrect.data.sources.base import OnProblem
from diffrect.data.sources.files import (
    SCAN_SUFFIXES,
    as_spelt,
    image_stem,
    one_spelling,
    path_inside,
)
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED, IGNORED_NAMES

Given = TypeVar("Given")

_PARTS = {
    "training": "train",
    "validation": "val",
    "val": "val",
    "test": "test",
    "testing": "test",
}
"""The keys that list cases, and the parts of the split that these are."""
_DEEPEST = 16
"""Levels of lists within lists that are searched for cases."""
_DESCRIPTIONS = ("labels", "modality", "channel_names")


@dataclass(frozen=True)
class Entry:
    """One case as the file lists it.

    Attributes:
        id: the case's id.
        image: the file with all channels; None if there is one file per channel, or no list.
        label: None for an unlabelled case.
        files: the files of the channels, where the file lists them.
        part: the part of the split.
    """

    id: str
    image: Path | None
    label: Path | None
    files: tuple[Path, ...] = ()
    part: str = "train"


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in the file.

    Raises:
        InputError: there is no such file, or it is not a JSON object.
    """
    regular_file(file, "a Decathlon dataset.json")
    return json_files.read_json(file, finite=False)


def channel_names(file: Path, settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the image channels in their order.

    Raises:
        InputError: there are none, or their numbers are not 0, 1, 2 and so on.
    """
    key = "channel_names" if "channel_names" in settings else "modality"
    names = settings.get(key)
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    if not isinstance(names, dict) or not names:
        raise InputError(file, f"one entry under '{key}' or more", found=repr(names))
    numbers = [str(number) for number in range(len(names))]
    if sorted(names) != sorted(numbers):
        found = ", ".join(map(str, names))
        raise InputError(file, f"channels 0, 1, ... under '{key}'", found=found)
    return tuple(str(names[number]) for number in numbers)


def read_labels(file: Path, labels: Any) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the class names in the order of their codes, and file code -> class code.

    Args:
        file: dataset.json, for messages.
        labels: its entry `labels`.

    Raises:
        InputError: the codes are not 0, 1, 2 and so on, or classes overlap.
    """
    names = _names_by_code(file, labels if isinstance(labels, dict) else {})
    ignored = [code for code, name in names.items() if name.casefold() in IGNORED_NAMES]
    classes = {code: name for code, name in names.items() if code not in ignored}
    if len(classes) < 2 or sorted(classes) != list(range(len(classes))):
        found = ", ".join(map(str, sorted(classes))) or "none"
        raise InputError(file, "codes 0, 1, ... under 'labels'", found=found)
    codes = {code: IGNORED if code in ignored else code for code in names}
    return ("background", *(classes[code] for code in range(1, len(classes)))), codes


def _names_by_code(file: Path, labels: dict[str, Any]) -> dict[int, str]:
    """Return code -> name, whichever of the two is the key in the file."""
    found: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, list):
            expected = "one code for each class under 'labels', which must not overlap"
            raise InputError(file, expected, got=f"{value} for {key!r}")
        turned = type(value) is int or (str(value).isdecimal() and not key.isdecimal())
        code, name = (value, key) if turned else (key, value)
        if (
            not re.fullmatch(r"\d{1,9}", str(code))
            or int(code) > 65535
            or not isinstance(name, str)
        ):
            expected = "whole codes from 0 up under 'labels'"
            raise InputError(file, expected, got=f"{key!r}: {value!r}")
        if int(code) in found:
            raise InputError(file, "each code once under 'labels'", got=f"{code} twice")
        found[int(code)] = name
    return found


def entries(file: Path, settings: dict[str, Any], on_problem: OnProblem) -> list[Entry] | None:
    """Return the training cases that the file lists, or None if it leaves them to the folders.

    Args:
        file: dataset.json, for messages.
        settings: its content.
        on_problem: called with the problem of each case.

    Raises:
        InputError: the list is empty or of another form.
    """
    if isinstance(settings.get("dataset"), dict):
        if settings.get("training"):
            expected = "cases under 'training' or under 'dataset'"
            on_problem(InputError(file, expected, found="both"))
        return _kept(file, settings["dataset"].items(), _named_entry, on_problem)
    training = settings.get("training")
    if training is None and "channel_names" in settings:
        return None
    if not isinstance(training, list) or not training:
        raise InputError(file, "a list of images under 'training'", found="none")
    return _kept(file, training, _training_entry, on_problem)


def held_out_entries(file: Path, settings: dict[str, Any], on_problem: OnProblem) -> list[Entry]:
    """Return the cases that the file lists for validation and for testing.

    Args:
        file: dataset.json, for messages.
        settings: its content.
        on_problem: called with the problem of each case, and with other keys that hold cases.
    """
    found: list[Entry] = []
    for key, value in settings.items():
        known = key in {*_PARTS, *_DESCRIPTIONS} or (key == "dataset" and isinstance(value, dict))
        if not known and isinstance(value, list | dict) and _lists_cases(value):
            expected = f"cases under {', '.join(map(repr, _PARTS))} or 'dataset'"
            on_problem(InputError(file, expected, found=f"{len(value)} under {key!r}"))
        part = _PARTS.get(key, "train")
        if part == "train" or not value:
            continue
        if not isinstance(value, list):
            on_problem(InputError(file, f"a list of images under {key!r}", got=repr(value)))
            continue
        listed = _kept(file, value, _training_entry, on_problem)
        found += [replace(entry, part=part) for entry in listed]
    return found


def _lists_cases(value: Any, depth: int = 0) -> bool:
    """Return whether a list or an object holds images, as paths or in entries of their own."""
    if isinstance(value, str):
        return value.lower().endswith(SCAN_SUFFIXES) and value.lower() not in SCAN_SUFFIXES
    if isinstance(value, dict):
        if {"image", "images"} & value.keys():
            return True
        value = list(value.values())
    deeper = isinstance(value, list) and depth < _DEEPEST
    return deeper and any(_lists_cases(one, depth + 1) for one in value)


def _kept(
    file: Path,
    given: Iterable[Given],
    read: Callable[[Path, Given], Entry],
    on_problem: OnProblem,
) -> list[Entry]:
    """Return the entries that can be read.

    Args:
        file: dataset.json, for messages.
        given: what it lists.
        read: makes an entry of one item.
        on_problem: called with the problem of each other item.
    """
    found = []
    for one in given:
        try:
            found.append(read(file, one))
        except InputError as error:
            on_problem(error)
    return found


def _training_entry(file: Path, entry: Any) -> Entry:
    record = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        raise InputError(file, "an 'image' in each entry", got=repr(entry))
    image = as_spelt(path_inside(file.parent, record["image"], str(file)))
    label = record.get("label")
    return Entry(one_spelling(image_stem(image)), image, _label(file, label) if label else None)


def _named_entry(file: Path, item: tuple[str, Any]) -> Entry:
    case, record = item
    images = record.get("images") if isinstance(record, dict) else None
    if not isinstance(images, list) or not images or not all(isinstance(i, str) for i in images):
        raise InputError(file, f"'images' of {case} under 'dataset'", got=repr(record))
    files = tuple(as_spelt(path_inside(file.parent, name, str(file))) for name in images)
    label = record.get("label")
    only = files[0] if len(files) == 1 else None
    return Entry(one_spelling(case), only, _label(file, label) if label else None, files)


def _label(file: Path, name: Any) -> Path:
    return as_spelt(path_inside(file.parent, str(name), str(file)))
