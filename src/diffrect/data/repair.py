"""Which cases of a store have to be written again because their files are damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffrect.data.integrity import find_fault, seal_case
from diffrect.data.sources.base import Reference
from diffrect.data.store import STORE_FILE, read_settings
from diffrect.errors import InputError

# What the cases that stay have in common with those that are written again.
_COMMON = ("format", "classes", "channels", "intensity")


def find_damaged(
    store: Path, references: Sequence[Reference], settings: dict[str, Any]
) -> list[Reference]:
    """The source's cases whose files in the store are missing or not what `prepare` wrote.

    Everything else stays as it is; the source may have moved meanwhile. A damaged store.json is
    written anew from the source and the cases. The cases of a store of version 1 get the checksums
    that they lack.

    Raises:
        InputError: not a finished store, or one of another source.
    """
    if not (store / STORE_FILE).is_file():
        raise InputError(f"{store}: --repair expected a finished store, found no {STORE_FILE}")
    try:
        before = read_settings(store)
    except InputError:  # damaged, or as good as
        before = {}
    if before:
        _check_source(store, before, references, settings)
    sealed = before.get("version") != 1
    damaged = [one for one in references if find_fault(store, one.id, sealed=sealed) is not None]
    if not sealed:
        for case_id in {one.id for one in references} - {one.id for one in damaged}:
            seal_case(store, case_id)
    return damaged


def _check_source(
    store: Path, before: dict[str, Any], references: Sequence[Reference], settings: dict[str, Any]
) -> None:
    for name in _COMMON:
        if before.get(name) != settings[name]:
            raise InputError(
                f"{store}: --repair expected a source with the {name} {before.get(name)}, "
                f"got {settings[name]}"
            )
    old, new = {case["id"] for case in before["cases"]}, {one.id for one in references}
    if old != new:
        one = sorted(old ^ new)[0]
        found = "lacks" if one in old else "adds"
        raise InputError(f"{store}: --repair expected a source of the same cases, it {found} {one}")
