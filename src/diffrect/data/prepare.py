"""Convert data sets into stores; the only reader of foreign layouts.

A `prepare` that is interrupted at any moment, even killed, leaves an unfinished store, and `resume`
continues with the cases that are missing.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from diffrect.atomic import remove_unfinished
from diffrect.checks import at_least, folder_to_make, one_of
from diffrect.console import progress_bar, tell
from diffrect.data.case import Conversion
from diffrect.data.integrity import write_sealed
from diffrect.data.preparation.construction import (
    check_room,
    construction,
    finished_store,
    remove_partial_cases,
    remove_unfinished_cases,
)
from diffrect.data.preparation.repair import find_damaged, known_symmetries
from diffrect.data.preparation.write_case import write_case
from diffrect.data.record import PROGRESS_FILE, STORE_FILE, can_name_folder, read_record
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import find_source, list_cases
from diffrect.data.sources.base import Reference, SourceListing
from diffrect.data.store import FORMAT_VERSION, Store
from diffrect.data.task import SYMMETRIES, Symmetries
from diffrect.data.workers import in_parallel
from diffrect.distributed.locks import sole_writer
from diffrect.errors import InputError
from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import check_policy

_LONGEST_ID = 200  # so that names made of it stay within the 255 bytes of most file systems


def prepare(
    source: Path | str,
    store: Path | str,
    *,
    format: str = "auto",
    options: SourceOptions | None = None,
    axis: str | None = None,
    intensity: str | Intensity = "minmax",
    symmetries: Symmetries | None = None,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    repair: bool = False,
    progress: bool = True,
) -> Store:
    """Convert a data set into a store.

    A prepare that fails on bad input leaves nothing behind (with `overwrite`, the old store); one
    that is interrupted or killed keeps its finished cases for `resume`.

    Example:
        >>> import diffrect
        >>> store = diffrect.prepare("ACDC", "new-store", progress=False)
        >>> store.format, store.channels
        ('acdc', 1)

    Args:
        source: folder in one of the layouts of `diffrect.data.sources`.
        store: folder to make.
        format: name of the layout, or "auto" to recognise it.
        options: options of the layout.
        axis: along which axis volumes are cut, see `choose_slicing`; None takes the layout's own.
        intensity: "minmax", "percentile" (or "percentile:LOW:HIGH"), "zscore" or
            "window:LEVEL:WIDTH", see `diffrect.imaging.intensity`.
        symmetries: what may be done to slices so that their labels stay right: "none", "flips" or
            "turns", see `diffrect.data.task.Symmetries`; None takes what the layout tells, if it
            does. It changes nothing but what models remember for `predict`.
        workers: number of processes; 1 works in this one.
        overwrite: replace a store that exists already; any other folder is left alone.
        resume: continue an interrupted prepare of the same source.
        repair: write the damaged cases of a finished store again, and no others.
        progress: show a progress bar, missing patients of an official list, and remarks on files.

    Returns:
        The finished store.

    Raises:
        InputError: bad input, in one line that names it.
    """
    folder_to_make(Path(store), "a folder for the store")
    source, store, options = Path(source), Path(store).resolve(), options or SourceOptions()
    _check_options(workers, axis, symmetries, overwrite=overwrite, resume=resume, repair=repair)

    # List the cases without reading any image, and settle how they are converted.
    normalisation = intensity if isinstance(intensity, Intensity) else Intensity.parse(intensity)
    layout = find_source(source, format, options)
    listing = list_cases(layout, source, options)
    how = Conversion(axis or listing.axis, normalisation)
    _check_ids(source, listing.references)
    _check_classes(source, listing.classes)
    settings = {
        **_settings(source, layout.name, listing, how),
        "symmetries": symmetries or listing.symmetries,
        "options": options.to_dict(),
    }

    check = partial(check_room, store, overwrite=overwrite, resume=resume, repair=repair)
    with sole_writer(store, check) as lock:
        check()

        # A finished store has nothing to resume; a repair writes only its damaged cases.
        if resume and (store / STORE_FILE).is_file():
            return finished_store(store, settings)
        if repair:
            remove_partial_cases(store)
            damaged = find_damaged(store, listing.references, settings)
            settings["symmetries"] = symmetries or known_symmetries(store, listing.symmetries)
            _write_cases(store, listing, how, damaged, workers, progress)
            _write_store(store, listing, settings)
            return Store(store)

        # Write the cases that are missing, all of them unless resumed; store.json comes last.
        with construction(store, settings, lock, resume=resume):
            todo = remove_unfinished_cases(store, listing.references)
            _write_cases(store, listing, how, todo, workers, progress)
            _write_store(store, listing, settings)
    if progress:
        _tell_unusual(store, listing)
    return Store(store)


def _check_options(workers: int, axis: str | None, symmetries: str | None, **flags: bool) -> None:
    at_least("--workers", workers, 1, 512, why="no machine has as many")
    given = [f"--{name}" for name, value in flags.items() if value]
    if len(given) > 1:
        raise InputError(" and ".join(given), "one of them", got=len(given))
    if axis is not None:
        check_policy(axis)
    if symmetries is not None:
        one_of("--symmetries", symmetries, SYMMETRIES)


def _check_ids(source: Path, references: Sequence[Reference]) -> None:
    if not references:
        raise InputError(source, "at least one case", found="none")
    seen: set[str] = set()
    for reference in references:
        if reference.id in seen:
            raise InputError(source, "unique case ids", found=f"{reference.id} twice")
        if not can_name_folder(reference.id):
            raise InputError(source, "ids usable as names", got=repr(reference.id))
        if len(reference.id.encode()) > _LONGEST_ID:
            expected = f"ids of at most {_LONGEST_ID} bytes, which name folders and files"
            raise InputError(source, expected, got=repr(reference.id))
        seen.add(reference.id)


def _check_classes(source: Path, classes: Sequence[str]) -> None:
    """Refuse classes that uint8 codes (255 is kept free) or their own names cannot tell apart."""
    if not 2 <= len(classes) <= 255:
        raise InputError(source, "2 to 255 classes", got=len(classes))
    strange = [name for name in classes if not name.isprintable()]
    if strange:
        raise InputError(source, "class names that can be shown", got=repr(strange[0]))
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise InputError(source, "classes of different names", got=f"{twice[0]} twice")


def _settings(source: Path, format: str, listing: SourceListing, how: Conversion) -> dict[str, Any]:
    """Return what store.json says besides cases and options; a resumed prepare must agree on it."""
    split = listing.official_split
    return {
        "version": FORMAT_VERSION,
        "source": str(source.resolve()),
        "format": format,
        "classes": list(listing.classes),
        "channels": listing.channels,
        "intensity": str(how.intensity),
        "axis": how.axis,
        "official_split": None if split is None else split.to_dict(),
        "missing_patients": listing.missing_patients,
    }


def _write_cases(
    store: Path,
    listing: SourceListing,
    how: Conversion,
    todo: list[Reference],
    workers: int,
    progress: bool,
) -> None:
    """Convert some cases of a source.

    Args:
        store: folder of the store.
        listing: what the source holds.
        how: how volumes become slices.
        todo: the cases to convert.
        workers: number of processes; 1 works in this one.
        progress: show a progress bar.
    """
    settings = store, len(listing.classes), listing.channels, how
    if workers == 1:
        done: Generator[str, None, None] = (_convert(*settings, one) for one in todo)
    else:
        done = in_parallel(_convert, [(*settings, one) for one in todo], workers)
    try:
        with closing(done):  # at once, also when interrupted
            for _ in progress_bar(done, "preparing", progress, total=len(todo)):
                pass
    finally:
        remove_partial_cases(store)  # of processes that had to be ended


def _convert(
    store: Path, classes: int, channels: int, how: Conversion, reference: Reference
) -> str:
    """Load a case and write it, see `write_case`; return its id."""
    write_case(store, reference.load(), classes, channels, how)
    return reference.id


def _write_store(store: Path, listing: SourceListing, settings: dict[str, Any]) -> None:
    """Write store.json, which makes the folder a store."""
    remove_unfinished(store, STORE_FILE, PROGRESS_FILE)
    cases = [asdict(read_record(store, reference.id)) for reference in listing.references]
    write_sealed(store / STORE_FILE, {**settings, "cases": cases})


def _tell_unusual(store: Path, listing: SourceListing) -> None:
    """Print which patients of the official lists are missing, and what is unusual about files."""
    missing = listing.describe_missing()
    if missing is not None:
        tell(missing)
    for line in listing.remarks:
        tell(line)
    for reference in listing.references:
        for line in read_record(store, reference.id).remarks:
            tell(line)
