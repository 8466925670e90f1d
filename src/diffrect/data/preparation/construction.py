"""The folder of a store under construction: made, resumed, taken back, or put in a store's place.

An unfinished store has a prepare.json with the settings of its `prepare` and no store.json, so
nothing mistakes it for a finished one.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffrect.atomic import SUFFIX, remove_unfinished
from diffrect.data.integrity import find_fault
from diffrect.data.record import CASE_FILE, CASES_FOLDER, PROGRESS_FILE, STORE_FILE
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources.base import Reference
from diffrect.data.store import Store
from diffrect.data.workers import WorkerDiedError
from diffrect.distributed.locks import LOCK_FILE, Lock
from diffrect.errors import InputError
from diffrect.imaging.slicing import THIRD_AXIS
from diffrect.json_files import read_json, write_json


def check_room(store: Path, *, overwrite: bool, resume: bool, repair: bool) -> None:
    """Check that a store may be made, resumed or repaired in this folder.

    Raises:
        InputError: something is there already that may not be replaced or resumed, or there is no
            finished store to repair.
    """
    finished = (store / STORE_FILE).is_file()
    if repair:
        if not finished:
            problem = "--repair expected a finished store"
            raise InputError(store, problem=problem, found=f"no {STORE_FILE}")
        return
    if not store.exists() or (store.is_dir() and _is_empty(store)):
        return
    if not _is_store(store):
        found = "something else" if store.is_dir() else "a file"
        raise InputError(store, "a new folder or a store", found=found)
    if not (resume or overwrite):
        found = "a store (give --overwrite)" if finished else "an interrupted one (give --resume)"
        raise InputError(store, "a new folder", found=found)


@contextmanager
def construction(
    store: Path, settings: dict[str, Any], lock: Lock, *, resume: bool
) -> Iterator[None]:
    """Make or find the store's folder, marked as unfinished until the block has ended well.

    If the block raises InputError, a new folder is removed, and a store that it was to replace is
    put back; any other exception leaves the finished cases for `resume`.

    Args:
        store: the folder, which `check_room` has accepted.
        settings: what store.json will say besides the cases.
        lock: the lock of the folder.
        resume: continue an unfinished store that is there; without it, any store is replaced.

    Raises:
        InputError: the store was begun with other settings.
    """
    marker = store / PROGRESS_FILE
    resuming = resume and marker.is_file()
    if resuming:
        _check_settings(store, _read_progress(store), settings)
    else:
        _make_room(store, lock)
        write_json(marker, settings)
    (store / CASES_FOLDER).mkdir(exist_ok=True)
    try:
        yield
    except InputError as error:
        if not (resuming or isinstance(error, WorkerDiedError)) and lock.is_mine():
            _remove_store(store)
            _take_back(store)
        raise
    marker.unlink(missing_ok=True)
    forget_replaced(store)


def _make_room(store: Path, lock: Lock) -> None:
    """Clear the way for a new store: a finished one waits beside it until the new one is complete.

    Args:
        store: the folder.
        lock: its lock.
    """
    if (store / STORE_FILE).is_file():
        forget_replaced(store)
        lock.move_folder(_replaced(store))
    else:
        for name in (PROGRESS_FILE, STORE_FILE):
            remove_unfinished(store, name)
        shutil.rmtree(store / CASES_FOLDER, ignore_errors=True)
        (store / PROGRESS_FILE).unlink(missing_ok=True)


def _replaced(store: Path) -> Path:
    """Return where a store waits until the one that replaces it is complete."""
    return store.with_name(f".{store.name}.replaced")


def _take_back(store: Path) -> None:
    """Put the store that was to be replaced back into its place."""
    if (_replaced(store) / STORE_FILE).is_file():
        with contextlib.suppress(OSError):  # another command has begun a store there
            _replaced(store).replace(store)


def forget_replaced(store: Path) -> None:
    """Remove what an earlier `prepare` has put aside, also if it was killed while it did that."""
    replaced = _replaced(store)
    names = {path.name for path in replaced.iterdir()} if replaced.is_dir() else set()
    if replaced.is_dir() and names <= {STORE_FILE, PROGRESS_FILE, CASES_FOLDER, LOCK_FILE}:
        _remove_store(replaced)


def _remove_store(store: Path) -> None:
    """Remove a store; what marks it as one goes last, so that a kill leaves something to remove."""
    shutil.rmtree(store / CASES_FOLDER, ignore_errors=True)
    shutil.rmtree(store, ignore_errors=True)


def _is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing, or what a prepare left that was killed at once."""
    begun = (LOCK_FILE, f".{PROGRESS_FILE}.", f".{STORE_FILE}.")
    return all(path.name.startswith(begun) for path in folder.iterdir())


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
    # These are there if prepare was killed at its very end.
    (store / PROGRESS_FILE).unlink(missing_ok=True)
    forget_replaced(store)
    return finished


def _check_settings(store: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    # A store that does not name a setting was made before there was a choice.
    known = {"axis": THIRD_AXIS, "options": SourceOptions().to_dict()}
    before = {**known, "symmetries": settings.get("symmetries"), **before}
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


def remove_partial_cases(store: Path) -> None:
    """Remove what processes that were killed or ended left of cases that they were writing."""
    for partial in (store / CASES_FOLDER).glob(f".*{SUFFIX}"):
        shutil.rmtree(partial, ignore_errors=True)
    for folder in (store / CASES_FOLDER).iterdir():
        remove_unfinished(folder, CASE_FILE)
