"""LABELS of the command line: which file is a label, or a map, of which case."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffrect.console import count
from diffrect.errors import InputError
from diffrect.imaging.find import find_images
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.kinds import EXPECTED, kind_of, stem_of, visible
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume
from diffrect.inference.inputs import FIRST_CHANNEL
from diffrect.viewing.confine import check_within, keep_within
from diffrect.viewing.gallery import Kind, Layer

MAPS = ("entropy", "uncertainty", "confidence")
"""Words that the names of maps end in, or of the folders that hold them."""
CHANGES = "changes"
_PASSED_OVER = ("probabilities",)  # a volume per class: too much for a page
_FIRST = (
    *("truth", "label", "labels", "gt", "prediction", "teacher", "pseudo_label", "rectified"),
    *(CHANGES, *MAPS),
)
_HIGHEST = 255


class Named(NamedTuple):
    """A file that lies over a scan: what the page calls it, and the folder that it must lie in."""

    name: str
    file: Path
    folder: Path | None


class Matched(NamedTuple):
    """The layers of each case by its name, and what was left out, one line each."""

    layers: dict[str, list[Layer]]
    remarks: list[str]


def match_labels(labels: Sequence[Path], cases: Sequence[str]) -> Matched:
    """Return the layers that files and folders give to cases.

    A file belongs to the case whose name it has, or whose name and a word it has: `heart.nii.gz`,
    `heart_entropy.nii.gz`. What is in a folder is named after the word or, without one, after the
    folder; folders in it count as well. A file that is given by its name belongs to the only case.

    Args:
        labels: files or folders.
        cases: names of the cases.

    Raises:
        InputError: something that does not exist, is no image, or belongs to no case.
    """
    named: dict[str, list[Named]] = {}
    remarks: list[str] = []
    for path in labels:
        if path.is_dir() and kind_of(path) is None:
            found = _in_folder(path, cases, remarks)
        else:
            found = [(cases[0], _given(path))] if len(cases) == 1 else _of_case(path, cases)
        for case, one in found:
            named.setdefault(case, []).append(one)
    return Matched({case: _layers(files) for case, files in named.items()}, remarks)


def read_over(image: Volume, one: Named, kind: Kind) -> np.ndarray:
    """Return the values (X, Y, Z) of a file on the grid of a scan, uint8 unless it is a map.

    Raises:
        InputError: it is unreadable, lies elsewhere, or holds codes above 255.
    """
    if one.folder is not None:
        check_within(one.file, one.folder)
    found = read_image(one.file) if kind == "map" else read_label(one.file)
    turned = turn_onto(image, found)
    shape = image.array.shape[:3]
    if turned.array.shape != shape:
        expected = f"the shape of its scan {image.path}, {shape}"
        raise InputError(one.file, expected, got=turned.array.shape)
    check_geometry(image, turned, "its scan", hint=None)
    if kind == "map":
        return turned.array
    highest = int(turned.array.max())
    if highest > _HIGHEST:
        raise InputError(one.file, f"label codes up to {_HIGHEST} to show", found=highest)
    return turned.array.astype(np.uint8, copy=False)


def _given(path: Path) -> Named:
    if not path.exists():
        raise InputError(path, "a label file or a folder of them", found="nothing")
    if kind_of(path) is None:
        raise InputError(path, f"a label by its name ({EXPECTED})")
    return Named(stem_of(path), path, None)


def _of_case(path: Path, cases: Sequence[str]) -> list[tuple[str, Named]]:
    """Return the only case that a file given by its name can belong to."""
    one = _given(path)
    match = _match(one.name, cases)
    if match is None:
        expected = f"the name of one of the {len(cases)} cases, such as {cases[0]}"
        raise InputError(path, expected)
    return [(match[0], one._replace(name=match[1] or "label"))]


def _in_folder(
    folder: Path, cases: Sequence[str], remarks: list[str]
) -> Iterable[tuple[str, Named]]:
    """Return the files of a folder, and of the folders in it, with the case of each.

    Raises:
        InputError: none belongs to a case.
    """
    root = folder.resolve()
    inner = [path for path in visible(folder) if path.is_dir() and kind_of(path) is None]
    within, left_out = keep_within(inner, root)
    files: list[tuple[Path, str]] = []
    for place, name in ((folder, root.name), *((path, path.name) for path in within)):
        found, more = keep_within(find_images(place, recursive=False), root)
        files += [(file, name) for file in found]
        left_out += more
    matches = [(file, name, _match(stem_of(file), cases)) for file, name in files]
    own = [
        (match[0], Named(match[1] or name, file, root))
        for file, name, match in matches
        if match is not None and not match[1].endswith(_PASSED_OVER)
    ]
    if not own:
        expected = f"labels named like the cases, such as {cases[0]}.nii.gz"
        raise InputError(folder, expected, found="; ".join(left_out) or "none")
    alone = sum(match is None for _, _, match in matches)
    remarks += left_out
    if alone:
        remarks.append(f"{folder}: {count(alone, 'file')} of no case that is shown")
    return own


def _match(stem: str, cases: Sequence[str]) -> tuple[str, str] | None:
    """Return the case that a file belongs to and the word after its name, or None if to none."""
    best: tuple[str, str] | None = None
    for case in cases:
        for name in {case, case.removesuffix(FIRST_CHANNEL)}:
            if stem == name:
                return case, ""
            longer = best is None or len(name) > len(best[0])
            if name and stem.startswith(f"{name}_") and longer:
                best = case, stem[len(name) + 1 :]
    return best


def _layers(files: Sequence[Named]) -> list[Layer]:
    """Return the layers of a case, each under a name of its own."""
    taken = [one.name for one in files]
    layers: list[Layer] = []
    for one in files:
        name = one.name
        if taken.count(name) > 1:
            name = f"{one.file.parent.name}/{name if one.folder is None else stem_of(one.file)}"
        while any(layer.name == name for layer in layers):
            name += "'"
        kind = _kind(one)
        layers.append(Layer(name, kind, partial(read_over, one=one, kind=kind)))
    return sorted(layers, key=lambda layer: _rank(layer.name))


def _kind(one: Named) -> Kind:
    word = one.name.lower()
    if word.endswith(MAPS):
        return "map"
    return "changes" if word.endswith(CHANGES) else "label"


def _rank(name: str) -> int:
    return _FIRST.index(name.lower()) if name.lower() in _FIRST else _FIRST.index("prediction")
