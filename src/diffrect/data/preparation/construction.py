"""The folder of a store under construction: made, resumed, taken back, or put in a store's place.

An unfinished store has a prepare.json with the settings of its `prepare` and no store.json, so
nothing mistakes it for a finished one.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffrect.data.integrity import find_fault
from diffrect.data.record import CASES_FOLDER, PROGRESS_FILE, STORE_FILE
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import Reference
from diffrect.data.store import Store
from diffrect.data.workers import WorkerDiedError
from diffrect.errors import InputError
from diffrect.imaging.slicing import THIRD_AXIS
from diffrect.json_files import read_json, write_json


@contextmanager
def construction(
    store: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool
) -> Iterator[None]:
    """Make or find the store's folder, marked as unfinished until the block has ended well.

    If the block raises InputError, a new folder is removed, and a store that it was to replace is
    put back; any other exception leaves the finished cases for `resume`.

    Args:
        store: the folder.
        settings: what store.json will say besides the cases.
        overwrite: replace a store that is there.
        resume: continue an unfinished store that is there.

    Raises:
        InputError: something is there already that may not be replaced or resumed.
    """
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
    """Clear the way for a new store.

    Args:
        store: the folder.
        settings: what store.json will say besides the cases.
        replaced: where a finished store waits until the new one is complete.
        overwrite: replace a store that is there.
        resume: continue an unfinished store that is there.

    Returns:
        Whether there is an unfinished store to resume.

    Raises:
        InputError: something is there already that may not be replaced or resumed.
    """
    if not store.exists() or (store.is_dir() and _is_empty(store)):
        return False
    if not _is_store(store):
        found = "something else" if store.is_dir() else "a file"
        raise InputError(store, "a new folder or a store", found=found)
    finished = (store / STORE_FILE).is_file()
    if resume:
        _check_settings(store, _read_progress(store), settings)
        return True
    if not overwrite:
        found = "a store (give --overwrite)" if finished else "an interrupted one (give --resume)"
        raise InputError(store, "a new folder", found=found)
    if not finished:
        shutil.rmtree(store)
        return False
    if _is_store(replaced):
        shutil.rmtree(replaced)
    store.replace(replaced)
    return False


def _is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing, or what a prepare left that was killed at once."""
    return all(path.name.startswith(f".{PROGRESS_FILE}.") for path in folder.iterdir())


def _is_store(folder: Path) -> bool:
    """Return whether a folder is a store, finished or not; no other folder is ever removed."""
    return (folder / STORE_FILE).is_file() or (folder / PROGRESS_FILE).is_file()


def _read_progress(store: Path) -> dict[str, Any]:
    """Return the settings of the interrupted prepare."""
    try:
        return read_json(store / PROGRESS_FILE, "the settings of the interrupted prepare")
    except InputError as error:
        error.parts["hint"] = "start again with --overwrite"
        raise


def finished_store(store: Path, settings: dict[str, Any]) -> Store:
    """Return the store of an earlier prepare that has nothing left to resume.

    Raises:
        InputError: it was made with other settings.
    """
    finished = Store(store)
    _check_settings(store, read_json(store / STORE_FILE), settings)
    (store / PROGRESS_FILE).unlink(missing_ok=True)  # there if prepare was killed at its very end
    return finished


def _check_settings(store: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    # A store that does not name a setting was made before there was a choice.
    before = {"axis": THIRD_AXIS, "options": SourceOptions().to_dict(), **before}
    for name, value in settings.items():
        if name == "version":  # its cases are checked one by one
            continue
        if before.get(name) != value:
            problem = f"--resume expected the {name} as before, {_brief(before.get(name))}"
            raise InputError(store, problem=problem, got=_brief(value))


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def remove_unfinished_cases(store: Path, references: Sequence[Reference]) -> list[Reference]:
    """Remove what is half-written or damaged; return the references of the cases still to write."""
    wanted = {reference.id for reference in references}
    kept = set()
    for folder in (store / CASES_FOLDER).iterdir():
        if folder.name in wanted and find_fault(store, folder.name) is None:
            kept.add(folder.name)
        else:
            shutil.rmtree(folder)
    return [reference for reference in references if reference.id not in kept]
