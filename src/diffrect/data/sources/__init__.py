"""Layouts of data sets that `prepare` can read, one module each."""

from pathlib import Path

from diffrect.data.sources.acdc import Acdc
from diffrect.data.sources.base import Reference, Source, SourceListing
from diffrect.data.sources.decathlon import Decathlon
from diffrect.data.sources.ssl4mis import Ssl4mis
from diffrect.errors import InputError

__all__ = ["SOURCES", "Reference", "Source", "SourceListing", "detect", "find_source"]

_ALL: tuple[Source, ...] = (Decathlon(), Acdc(), Ssl4mis())
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def find_source(path: Path, format: str = "auto") -> Source:
    """The source called ``format``, or for "auto" the one that recognises the folder.

    Raises:
        InputError: no such folder, an empty one, an unknown format or none that fits.
    """
    if format != "auto" and format not in SOURCES:
        names = ", ".join(["auto", *SOURCES])
        raise InputError(f"--format: expected one of {names}, got {format!r}")
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(f"{path}: expected a folder with a data set, found {found}")
    if not any(path.iterdir()):
        raise InputError(f"{path}: expected a folder with a data set, found an empty folder")
    return SOURCES[detect(path) if format == "auto" else format]


def detect(path: Path) -> str:
    """The name of the first source that recognises the folder.

    Raises:
        InputError: none does.
    """
    for name, source in SOURCES.items():
        if source.detect(path):
            return name
    layouts = "Decathlon (dataset.json), ACDC (patient folders) or SSL4MIS (data/*.h5)"
    raise InputError(f"{path}: expected the layout of {layouts}, found none of them")
