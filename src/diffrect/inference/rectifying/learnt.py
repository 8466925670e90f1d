"""What a training has learnt of labels: its rectifier, and which classes are one part."""

from pathlib import Path
from typing import TypeGuard

from diffrect.data.store import Store
from diffrect.data.volumes import training_volumes
from diffrect.errors import InputError
from diffrect.inference.load import LoadedMethod
from diffrect.methods.base import Method
from diffrect.methods.diffrect.largest_parts import LargestParts
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.registry import resolve
from diffrect.runs.folder import read_split
from diffrect.runs.store_of_run import remembered_store


def has_rectifier(method: Method) -> TypeGuard[DiffRect]:
    """Return whether a method has something that corrects labels."""
    options = method.options if isinstance(method, DiffRect) else None
    return options is not None and (options.learns_rectifier or options.of_volumes)


def with_rectifier(loaded: LoadedMethod, run: Path) -> DiffRect:
    """Return the method of a training if it has a rectifier.

    Raises:
        InputError: it has none.
    """
    method = loaded.method
    if not has_rectifier(method):
        found = f"method {loaded.config.method}"
        if isinstance(method, DiffRect):
            found += f" with rectifier {method.options.rectifier}"
        raise InputError(run, "a training with a rectifier, as diffrect has one", found=found)
    return method


def parts_of(
    method: DiffRect, loaded: LoadedMethod, run: Path, store: Store | None
) -> LargestParts:
    """Return of which classes smaller parts are removed, as in the training.

    With `largest_part` = auto, labels of the training's store decide it; without them, of none.

    Args:
        method: the method of the training.
        loaded: the training.
        run: its folder.
        store: its store, if that is not where the folder says.
    """
    options, classes = method.options, len(loaded.task.classes)
    least = options.least_part
    if not options.of_volumes:
        return LargestParts(False, classes, ())
    wanted, joined = options.largest_part, options.joined_foreground
    if "auto" not in (wanted, joined):
        return LargestParts(wanted, classes, (), least, joined)
    try:
        store = store or Store(remembered_store(run))
        interpolation = resolve(loaded.config).view_options.interpolation
        volumes = training_volumes(store, read_split(run), loaded.config, interpolation)
    except (InputError, OSError):
        return LargestParts(wanted is True, classes, (), least, joined is True)
    known = [volumes.labels[rows] for rows in volumes.cases() if volumes.labelled[rows[0]]]
    return LargestParts(wanted, classes, known, least, joined)
