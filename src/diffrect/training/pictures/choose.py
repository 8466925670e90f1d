"""Which slices a training shows: the same ones throughout, spread over the cases."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from diffrect.data.record import SliceIndex
from diffrect.data.splits.blocks import Block
from diffrect.data.store import Store
from diffrect.imaging.label_codes import IGNORED

Item = TypeVar("Item")


def spread(items: int, wanted: int) -> list[int]:
    """Return the positions of at most `wanted` of some items, evenly spread from first to last."""
    places = np.linspace(0, items - 1, min(items, wanted)) if items else np.empty(0)
    return [int(place) for place in places.round()]


def choose_by_label(store: Store, blocks: Sequence[Block], wanted: int) -> list[SliceIndex]:
    """Return slices of labelled cases, or of blocks of them: of each those that show the most.

    The label of every case that is chosen is read. Of a case of which only one slice is wanted, it
    is the one with the most foreground; of others, slices are spread over those with any.

    Args:
        store: the prepared data.
        blocks: whole cases or parts of them.
        wanted: number of slices, at most.

    Raises:
        InputError: a file of the store is damaged.
    """
    found: list[SliceIndex] = []
    for block, own in _shares(blocks, wanted):
        label = store.label(block.case)[block.part]
        sizes = ((label > 0) & (label != IGNORED)).sum(axis=(1, 2))
        shown = np.flatnonzero(sizes) if sizes.any() else np.arange(len(sizes))
        positions = [int(sizes.argmax())] if own == 1 else shown[spread(len(shown), own)].tolist()
        found += [SliceIndex(block.case, block.start + position) for position in positions]
    return found


def choose_middle(slices: Sequence[SliceIndex], wanted: int) -> list[SliceIndex]:
    """Return at most `wanted` of some slices: those in the middle of cases that are spread.

    Labels are not read. Of few cases, several slices each are taken.
    """
    cases = list(dict.fromkeys(index.case for index in slices))
    found: list[SliceIndex] = []
    for name, own in _shares(cases, wanted):
        of_case = [index for index in slices if index.case == name]
        own = min(own, len(of_case))
        found += [of_case[place - 1] for place in spread(len(of_case) + 2, own + 2)[1:-1]]
    return found


def _shares(cases: Sequence[Item], wanted: int) -> Iterator[tuple[Item, int]]:
    """Yield the cases that are chosen, each with its number of slices."""
    chosen = spread(len(cases), wanted)
    for rank, place in enumerate(chosen):
        yield cases[place], wanted // len(chosen) + (rank < wanted % len(chosen))
