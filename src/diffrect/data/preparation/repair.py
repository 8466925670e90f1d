"""Find the cases of a store that must be written again because their files are damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffrect.data.integrity import find_fault, seal_case
from diffrect.data.record import STORE_FILE, case_records
from diffrect.data.sources.base import Reference
from diffrect.data.store import read_settings
from diffrect.data.task import Symmetries, Task
from diffrect.errors import InputError

# Settings that the cases that stay must share with those that are written again.
_COMMON = ("format", "classes", "channels", "intensity")


def find_damaged(
    store: Path, references: Sequence[Reference], settings: dict[str, Any]
) -> list[Reference]:
    """Return the source's cases whose files in the store are missing or damaged.

    The source may have moved since the store was made. A damaged store.json is no obstacle: it is
    written again from the source and the cases. Intact cases of a version 1 store get the checksums
    of their descriptions that they lack.

    Raises:
        InputError: a store of another source.
    """
    try:
        before = read_settings(store)
    except InputError:  # damaged, or of an unknown version
        before = {}
    if before:
        _check_source(store, before, references, settings)
    sealed = before.get("version") != 1
    damaged = [one for one in references if find_fault(store, one.id, sealed=sealed) is not None]
    if not sealed:
        for case_id in {one.id for one in references} - {one.id for one in damaged}:
            seal_case(store, case_id)
    return damaged


def known_symmetries(store: Path, others: Symmetries | None) -> Symmetries | None:
    """Return the symmetries that a store states; `others` if it states none or is damaged."""
    try:
        return Task.from_dict(read_settings(store)).symmetries or others
    except InputError:
        return others


def _check_source(
    store: Path, before: dict[str, Any], references: Sequence[Reference], settings: dict[str, Any]
) -> None:
    """Check that a store was made from this source.

    Args:
        store: folder of the store.
        before: content of its store.json.
        references: the source's cases.
        settings: what its store.json would say now.

    Raises:
        InputError: the settings or the cases differ.
    """
    for name in _COMMON:
        if before.get(name) != settings[name]:
            problem = f"--repair expected a source with the {name} {before.get(name)}"
            raise InputError(store, problem=problem, got=settings[name])
    old = case_records(before, store / STORE_FILE).keys()
    new = {one.id for one in references}
    if old != new:
        one = sorted(old ^ new)[0]
        difference = f"it {'lacks' if one in old else 'adds'} {one}"
        problem = f"--repair expected a source of the same cases, {difference}"
        raise InputError(store, problem=problem)
