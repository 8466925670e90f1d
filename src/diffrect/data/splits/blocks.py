"""Blocks of slices of labelled scans that choose a checkpoint where no patient can be spared.

A block is contiguous, because single slices between those that are trained on would be nearly the
same as these. All scans of a patient lose the same part, because two frames of one heart show the
same anatomy. The slices are in no batch, neither as labelled ones nor as unlabelled ones.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.errors import InputError

_BLOCK = re.compile(r"(?P<case>.+):(?P<first>\d{1,9})-(?P<last>\d{1,9})")


class Block(NamedTuple):
    """Some slices of a case, one after another."""

    case: str
    start: int
    """Position of the first, from 0."""
    stop: int
    """Position after the last."""

    @property
    def part(self) -> slice:
        """Return which slices they are."""
        return slice(self.start, self.stop)

    def __str__(self) -> str:
        """Return the block as a split holds it."""
        return f"{self.case}:{self.start + 1}-{self.stop}"


def blocks_of(split: Split) -> tuple[Block, ...]:
    """Return the blocks that a split leaves out of the training.

    Raises:
        InputError: a text is no block.
    """
    blocks = []
    for text in split.val_slices:
        match = _BLOCK.fullmatch(text)
        if match is None:
            raise InputError("val_slices", "blocks such as CASE:3-5", got=repr(text))
        blocks.append(Block(match["case"], int(match["first"]) - 1, int(match["last"])))
    return tuple(blocks)


def choose_blocks(
    patients: Sequence[str], cases: Iterable[CaseRecord], share: float
) -> tuple[Block, ...]:
    """Return a block of each labelled scan of some patients.

    The blocks of several patients lie at different heights, spread over the scans.

    Args:
        patients: the labelled patients.
        cases: the cases of the store.
        share: of the slices of a scan, above 0 and up to 0.5; at least one slice is taken.

    Raises:
        InputError: a scan has one slice only.
    """
    height = {patient: (k + 0.5) / len(patients) for k, patient in enumerate(patients)}
    blocks = []
    for case in cases:
        if not case.labelled or case.patient not in height:
            continue
        if case.slices < 2:
            expected = "labelled scans of at least 2 slices"
            got = f"1 slice of {case.id}"
            raise InputError("--validate-slices", expected, got=got, setting="validate_slices")
        length = max(1, round(share * case.slices))
        start = int((case.slices - length) * height[case.patient])
        blocks.append(Block(case.id, start, start + length))
    return tuple(blocks)


def check_blocks(split: Split, cases: Mapping[str, CaseRecord], origin: str) -> None:
    """Check the blocks of a split against the cases of a store.

    Args:
        split: the split.
        cases: the cases, by id.
        origin: where the split comes from, for messages.

    Raises:
        InputError: a block is not of a labelled scan that trains, or leaves none of its slices.
    """
    try:
        blocks = blocks_of(split)
    except InputError as error:
        raise error.about(f"{origin}: {error.subject}") from None
    if blocks and split.val:
        got = f"{len(split.val)} under 'val'"
        raise InputError(origin, "slices or patients that validate", got=f"slices and {got}")
    for block in blocks:
        case = cases.get(block.case)
        if case is None or not case.labelled or case.patient not in split.labelled:
            expected = "slices of labelled scans of labelled patients under 'val_slices'"
            raise InputError(origin, expected, got=block)
        length = block.stop - block.start
        if not (block.start >= 0 < length < case.slices >= block.stop):
            raise InputError(origin, f"a part of the {case.slices} slices of {case.id}", got=block)
    if len({block.case for block in blocks}) < len(blocks):
        raise InputError(origin, "one block of each scan under 'val_slices'", got="two of one")
