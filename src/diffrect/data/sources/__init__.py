"""Layouts of data sets that `prepare` can read, one module each."""

from dataclasses import replace
from pathlib import Path

from diffrect.checks import one_of
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.acdc import Acdc
from diffrect.data.sources.base import (
    NO_OPTIONS,
    OnImageGrid,
    Reference,
    Report,
    Source,
    SourceListing,
    refuse,
)
from diffrect.data.sources.decathlon import Decathlon
from diffrect.data.sources.files import FileCase
from diffrect.data.sources.folder import Folder
from diffrect.data.sources.mscmr19 import Mscmr19
from diffrect.data.sources.ssl4mis import Ssl4mis
from diffrect.errors import InputError

__all__ = [
    "SOURCES",
    "Reference",
    "Source",
    "SourceListing",
    "SourceOptions",
    "detect",
    "find_source",
    "list_cases",
]

# In the order in which they are tried: the more a layout asks for, the earlier.
_ALL: tuple[Source, ...] = (Decathlon(), Acdc(), Ssl4mis(), Mscmr19(), Folder())
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def find_source(path: Path, format: str = "auto", options: SourceOptions = NO_OPTIONS) -> Source:
    """The source called ``format``, or for "auto" the one that recognises the folder.

    A table of cases is enough for "auto" to take the folder as one's own.

    Raises:
        InputError: no such folder, an empty one, an unknown format or none that fits.
    """
    one_of("--format", format, ("auto", *SOURCES))
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(f"{path}: expected a folder with a data set, found {found}")
    if not any(path.iterdir()):
        raise InputError(f"{path}: expected a folder with a data set, found an empty folder")
    if format == "auto":
        format = Folder.name if options.table is not None else detect(path)
    return SOURCES[format]


def list_cases(
    source: Source, path: Path, options: SourceOptions = NO_OPTIONS, report: Report = refuse
) -> SourceListing:
    """What the source lists, with the options that hold for every layout.

    Raises:
        InputError: as `Source.list`, or an option that the layout does not take.
    """
    options.check(source.name, source.accepted)
    listing = source.list(path, options, report)
    if not options.trust_image_geometry:
        return listing
    trusting = [
        replace(one, trusting=True) if isinstance(one, FileCase) else one
        for one in listing.references
    ]
    return replace(listing, references=[OnImageGrid(one) for one in trusting])


def detect(path: Path) -> str:
    """The name of the first source that recognises the folder.

    Raises:
        InputError: none does.
    """
    for name, source in SOURCES.items():
        if source.detect(path):
            return name
    layouts = (
        "Decathlon (dataset.json), ACDC (patient folders), SSL4MIS (data/*.h5), "
        "MS-CMRSeg (subjectN_DE.nii.gz) or a folder images/"
    )
    raise InputError(f"{path}: expected the layout of {layouts}, found none of them")
