"""Layouts of data sets that `prepare` can read, one module each.

To add a layout, write `NAME.py` in this folder and add NAME to `Layout` in
`diffrect/data/source_options.py`. The module defines a class that offers what `Source` in base.py
asks for, and ends with one instance of it: `SOURCE: Source = Name()`. The command line, `detect`
and every message find it there.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import get_args

from diffrect.checks import one_of
from diffrect.data.source_options import Layout, SourceOptions
from diffrect.data.sources.base import (
    NO_OPTIONS,
    OnImageGrid,
    OnProblem,
    Source,
    SourceListing,
    refuse,
)
from diffrect.data.sources.files import FileCase
from diffrect.errors import InputError

SOURCES: dict[str, Source] = {
    name: import_module(f"{__name__}.{name}").SOURCE for name in get_args(Layout)
}
"""The layouts by name, in the order in which they are tried."""


def find_source(path: Path, format: str = "auto", options: SourceOptions = NO_OPTIONS) -> Source:
    """Return the source called `format`, or for "auto" the one that recognises the folder.

    If the options name a table of cases, "auto" is the layout "folder".

    Args:
        path: folder of the data set.
        format: the name of a layout, or "auto".
        options: what the user says about the layout.

    Raises:
        InputError: the folder is missing or empty, the format is unknown, or no layout fits.
    """
    one_of("--format", format, ("auto", *SOURCES))
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(path, "a folder with a data set", found=found)
    if not any(path.iterdir()):
        raise InputError(path, "a folder with a data set", found="an empty folder")
    if format == "auto":
        format = "folder" if options.table is not None else detect(path)
    return SOURCES[format]


def list_cases(
    source: Source,
    path: Path,
    options: SourceOptions = NO_OPTIONS,
    on_problem: OnProblem = refuse,
) -> SourceListing:
    """List the cases of a folder, with the options that hold for every layout.

    Args:
        source: the layout of the folder.
        path: folder of the data set.
        options: what the user says about the layout.
        on_problem: called with the problem of each case that cannot be listed.

    Raises:
        InputError: as `Source.list`; or the layout does not take an option.
    """
    options.check(source.name, source.accepted)
    listing = source.list(path, options, on_problem)
    if not options.trust_image_geometry:
        return listing
    trusting = [
        replace(one, trusting=True) if isinstance(one, FileCase) else one
        for one in listing.references
    ]
    return replace(listing, references=[OnImageGrid(one) for one in trusting])


def detect(path: Path) -> str:
    """Return the name of the first layout that recognises the folder.

    Raises:
        InputError: none does.
    """
    for name, source in SOURCES.items():
        if source.detect(path):
            return name
    *layouts, last = (source.recognised_by for source in SOURCES.values())
    expected = f"the layout of {', '.join(layouts)} or {last}"
    raise InputError(path, expected, found="none of them")
