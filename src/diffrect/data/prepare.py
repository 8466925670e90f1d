"""Foreign files in, a store out; the only reader of foreign layouts.

Interrupted at any moment, even killed, the store is left without its store.json: nothing mistakes
it for a finished one, and `resume` goes on with the cases that are missing.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffrect.atomic import remove_unfinished
from diffrect.console import progress_bar, tell
from diffrect.data.case import Conversion
from diffrect.data.integrity import plain_name, write_sealed
from diffrect.data.repair import find_damaged
from diffrect.data.sources import (
    Reference,
    SourceListing,
    SourceOptions,
    find_source,
    list_cases,
)
from diffrect.data.store import (
    CASES_FOLDER,
    FORMAT_VERSION,
    PROGRESS_FILE,
    STORE_FILE,
    Store,
    find_fault,
    read_record,
    write_case,
)
from diffrect.data.workers import WorkerDiedError, in_parallel
from diffrect.errors import InputError
from diffrect.imaging.intensity import Intensity
from diffrect.imaging.slicing import THIRD_AXIS, check_policy
from diffrect.json_files import write_json


def prepare(
    source: Path | str,
    store: Path | str,
    *,
    format: str = "auto",
    options: SourceOptions | None = None,
    axis: str | None = None,
    intensity: str | Intensity = "minmax",
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    repair: bool = False,
    progress: bool = True,
) -> Store:
    """Convert a data set into a store.

    A prepare that fails on bad input leaves nothing behind (with ``overwrite``, the old store); one
    that is interrupted or killed keeps its finished cases for ``resume``.

    Args:
        source: folder in one of the layouts of `diffrect.data.sources`.
        store: folder to make.
        format: name of the layout, or "auto" to recognise it.
        options: what else there is to say about the layout.
        axis: along which axis volumes are cut, see `choose_slicing`; None is the layout's own way.
        intensity: "minmax", "percentile" (or "percentile:LOW:HIGH"), "zscore" or
            "window:LEVEL:WIDTH", see `diffrect.imaging.intensity`.
        workers: processes; 1 works in this one.
        overwrite: replace a store that exists already; any other folder is left alone.
        resume: go on with an interrupted prepare of the same source.
        repair: write the cases of a finished store again whose files are damaged, and no others.
        progress: show a bar, and say which patients of an official list are missing.

    Raises:
        InputError: bad input, in one line that names it.
    """
    source, store = Path(source), Path(store).resolve()
    if workers < 1:
        raise InputError(f"--workers: expected at least 1, got {workers}")
    flags = {"--overwrite": overwrite, "--resume": resume, "--repair": repair}
    given = [name for name, value in flags.items() if value]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: expected one of them, got {len(given)}")
    options = options or SourceOptions()
    if axis is not None:
        check_policy(axis)
    normalisation = intensity if isinstance(intensity, Intensity) else Intensity.parse(intensity)
    layout = find_source(source, format, options)
    listing = list_cases(layout, source, options)
    how = Conversion(axis or listing.axis, normalisation)
    _check_ids(source, listing.references)
    _check_classes(source, listing.classes)
    settings = {**_settings(source, layout.name, listing, how), "options": options.to_dict()}
    if resume and (store / STORE_FILE).is_file():
        return _finished(store, settings)
    if repair:
        damaged = find_damaged(store, listing.references, settings)
        _write_cases(store, listing, how, damaged, workers, progress)
        _write_store(store, listing, settings)
        return Store(store)
    with _construction(store, settings, overwrite=overwrite, resume=resume):
        todo = _unfinished(store, listing.references)
        _write_cases(store, listing, how, todo, workers, progress)
        _write_store(store, listing, settings)
    if progress:
        _tell_missing(listing)
        records = (read_record(store, reference.id) for reference in listing.references)
        for line in (line for record in records for line in record.remarks):
            tell(line)
    return Store(store)


def _write_store(store: Path, listing: SourceListing, settings: dict[str, Any]) -> None:
    """store.json, which makes the folder a store."""
    remove_unfinished(store, STORE_FILE, PROGRESS_FILE)
    cases = [asdict(read_record(store, reference.id)) for reference in listing.references]
    write_sealed(store / STORE_FILE, {**settings, "cases": cases})


def _check_ids(source: Path, references: Sequence[Reference]) -> None:
    if not references:
        raise InputError(f"{source}: expected at least one case, found none")
    seen: set[str] = set()
    for reference in references:
        if reference.id in seen:
            raise InputError(f"{source}: expected unique case ids, found {reference.id} twice")
        if not plain_name(reference.id):
            raise InputError(f"{source}: expected ids usable as names, got {reference.id!r}")
        seen.add(reference.id)


def _check_classes(source: Path, classes: Sequence[str]) -> None:
    """Codes are stored as uint8, where 255 is kept free; scores are told apart by their names."""
    if not 2 <= len(classes) <= 255:
        raise InputError(f"{source}: expected 2 to 255 classes, got {len(classes)}")
    strange = [name for name in classes if not name.isprintable()]
    if strange:
        raise InputError(f"{source}: expected class names that can be shown, got {strange[0]!r}")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise InputError(f"{source}: expected classes of different names, got {twice[0]} twice")


def _settings(source: Path, format: str, listing: SourceListing, how: Conversion) -> dict[str, Any]:
    """What store.json says besides the cases; an interrupted prepare must agree on all of it."""
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


def _tell_missing(listing: SourceListing) -> None:
    missing = listing.missing_patients
    if missing:
        tell(f"{len(missing)} patients of the official lists are missing: {', '.join(missing)}")


def _finished(store: Path, settings: dict[str, Any]) -> Store:
    """The store of an earlier prepare that had nothing left to do."""
    finished = Store(store)
    content = json.loads((store / STORE_FILE).read_text(encoding="utf-8"))
    _check_settings(store, content, settings)
    (store / PROGRESS_FILE).unlink(missing_ok=True)  # killed at its very end
    return finished


def _check_settings(store: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    # what a store does not say yet is what was done before there was a choice
    before = {"axis": THIRD_AXIS, "options": SourceOptions().to_dict(), **before}
    for name, value in settings.items():
        if name == "version":  # its cases are checked one by one
            continue
        if before.get(name) != value:
            old, new = _brief(before.get(name)), _brief(value)
            raise InputError(f"{store}: --resume expected the {name} as before, {old}, got {new}")


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


@contextmanager
def _construction(
    store: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool
) -> Iterator[None]:
    """Make or find the store's folder, marked as being prepared until the block has ended well."""
    marker = store / PROGRESS_FILE
    # A store that is replaced waits beside the new one until that is complete.
    replaced = store.with_name(f".{store.name}.replaced")
    resuming = _make_room(store, settings, replaced, overwrite=overwrite, resume=resume)
    if not resuming:
        store.mkdir(parents=True, exist_ok=True)
        write_json(marker, settings)
    (store / CASES_FOLDER).mkdir(exist_ok=True)
    try:
        yield
    except InputError as error:
        if not (resuming or isinstance(error, WorkerDiedError)):
            shutil.rmtree(store)
            if _is_store(replaced):
                replaced.replace(store)
        raise
    marker.unlink(missing_ok=True)
    if _is_store(replaced):
        shutil.rmtree(replaced)


def _make_room(
    store: Path, settings: dict[str, Any], replaced: Path, *, overwrite: bool, resume: bool
) -> bool:
    """Clear the way for a new store; True if an interrupted one is there to go on with."""
    if not store.exists() or (store.is_dir() and _is_empty(store)):
        return False
    if not _is_store(store):
        found = "something else" if store.is_dir() else "a file"
        raise InputError(f"{store}: expected a new folder or a store, found {found}")
    finished = (store / STORE_FILE).is_file()
    if resume:
        _check_settings(store, _read_progress(store), settings)
        return True
    if not overwrite:
        found = "a store (give --overwrite)" if finished else "an interrupted one (give --resume)"
        raise InputError(f"{store}: expected a new folder, found {found}")
    if not finished:
        shutil.rmtree(store)
        return False
    if _is_store(replaced):
        shutil.rmtree(replaced)
    store.replace(replaced)
    return False


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in it, or what a prepare left that was killed at its very beginning."""
    return all(path.name.startswith(f".{PROGRESS_FILE}.") for path in folder.iterdir())


def _read_progress(store: Path) -> dict[str, Any]:
    """What the interrupted prepare was told."""
    file = store / PROGRESS_FILE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{file}: expected the settings of the interrupted prepare ({error}); start again "
            "with --overwrite"
        ) from None


def _is_store(folder: Path) -> bool:
    """Whether the folder is ours, finished or not; no other folder is ever removed."""
    return (folder / STORE_FILE).is_file() or (folder / PROGRESS_FILE).is_file()


def _unfinished(store: Path, references: Sequence[Reference]) -> list[Reference]:
    """Remove what is half-written or damaged; the references of the cases still to write."""
    wanted = {reference.id for reference in references}
    kept = set()
    for folder in (store / CASES_FOLDER).iterdir():
        if folder.name in wanted and find_fault(store, folder.name) is None:
            kept.add(folder.name)
        else:
            shutil.rmtree(folder)
    return [reference for reference in references if reference.id not in kept]


def _write_cases(
    store: Path,
    listing: SourceListing,
    how: Conversion,
    todo: list[Reference],
    workers: int,
    progress: bool,
) -> None:
    settings = store, len(listing.classes), listing.channels, how
    if workers == 1:
        done: Iterator[str] = (_convert(*settings, one) for one in todo)
    else:
        done = in_parallel(_convert, [(*settings, one) for one in todo], workers)
    for _ in progress_bar(done, "preparing", progress, total=len(todo)):
        pass


def _convert(
    store: Path, classes: int, channels: int, how: Conversion, reference: Reference
) -> str:
    write_case(store, reference.load(), classes, channels, how)
    return reference.id
