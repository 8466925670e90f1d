"""Scans in files, with the labels that belong to them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from diffrect.errors import InputError
from diffrect.imaging.kinds import kind_of
from diffrect.imaging.volume import Volume
from diffrect.inference.inputs import list_scans, read_scan
from diffrect.viewing.confine import check_within, keep_within
from diffrect.viewing.gallery import Gallery, ShownCase
from diffrect.viewing.label_files import match_labels
from diffrect.viewing.tables import mean_entropies


def gallery_of_files(source: Path, labels: Sequence[Path]) -> Gallery:
    """Return the scans of a file, a folder or a pattern.

    Args:
        source: see `list_images`.
        labels: see `match_labels`.

    Raises:
        InputError: a file that is not there, or that no label belongs to.
    """
    folder = source.resolve() if source.is_dir() and kind_of(source) is None else None
    named = list_scans([source], 1)
    files = {
        stem if len(scans) == 1 else file.name: file
        for stem, scans in named.items()
        for (file,) in scans
    }
    remarks: list[str] = []
    if folder is not None:
        kept, remarks = keep_within(files.values(), folder)
        files = {name: file for name, file in files.items() if file in kept}
        if not files:
            raise InputError(source, "scans in it", found="; ".join(remarks))
    matched = match_labels(labels, list(files))
    entropies = mean_entropies(labels)
    cases = tuple(
        ShownCase(
            name,
            partial(_read, file, folder),
            tuple(matched.layers.get(name, ())),
            entropy=entropies.get(name),
        )
        for name, file in files.items()
    )
    title = source.resolve().name
    return Gallery(title, cases, remarks=(*remarks, *matched.remarks))


def _read(file: Path, folder: Path | None) -> Volume:
    if folder is not None:
        check_within(file, folder)
    return read_scan((file,))
