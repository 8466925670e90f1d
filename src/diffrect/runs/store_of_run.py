"""The store of a run: the one that it was trained on, or another that is given in its place."""

from pathlib import Path

from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.runs.names import STORE_LINK_FILE
from diffrect.text_files import read_text

_OF_PREPARE = ("intensity", "axis")  # parts of a task that are options of prepare


def open_store(run: Path, task: Task, given: Path | None = None) -> Store:
    """Open the store given, or the one that a run was trained on, and compare the tasks.

    Args:
        run: the RUN folder.
        task: what its model segments.
        given: a store to open in place of the remembered one.

    Raises:
        InputError: no such store, or the model was trained for another task than it holds.
    """
    store = Store(given or remembered_store(run))
    name = task.difference(store.task)
    if name is not None:
        wanted, found = (getattr(one, name) for one in (task, store.task))
        hint = f"prepare it with --{name} {wanted}" if name in _OF_PREPARE else None
        raise InputError(store.path, f"the {name} of {run}, {wanted}", got=found, hint=hint)
    return store


def remembered_store(run: Path) -> Path:
    """Return the store that a run was trained on, as its folder names it.

    Raises:
        InputError: the folder does not say, or the store is not there.
    """
    file = run / STORE_LINK_FILE
    text = ""
    if file.is_file():
        text = read_text(file, "the path of a store", longest=2**16, errors="surrogateescape")
    path = Path(text.strip()) if text.strip() and "\0" not in text else None
    if path is None or not path.is_dir():
        reason = f"{STORE_LINK_FILE} does not say where" if path is None else f"{path} is not there"
        raise InputError(run, f"the store it was trained on, {reason}", hint="give --store")
    return path
