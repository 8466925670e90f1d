"""The patients that a tuning is judged by: some of the training list, which no table reports."""

from collections.abc import Sequence
from dataclasses import replace

from diffrect.config import TrainConfig
from diffrect.data.choose_split import patients_by_label, split_of
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.errors import InputError


def hold_out(store: Store, config: TrainConfig, count: int) -> Split:
    """Return a split that validates on training patients, and leaves all others alone.

    The patients are taken evenly from those of the training list that are not labelled and whose
    labels the store has; where there are none, from the labelled ones, of which one stays. The
    validation and test patients of the configuration's own split are in no part.

    Args:
        store: the prepared data.
        config: the training, with its own split.
        count: number of patients to judge by, at least 1.

    Raises:
        InputError: there are fewer, or the configuration asks for blocks of slices.
    """
    if config.validate_slices is not None:
        got = f"{config.validate_slices:g} of each scan"
        raise InputError("--validate-slices", "none in a tuning", got=got)
    split = split_of(store, config)
    has_labels = patients_by_label(store)
    spare = [patient for patient in split.unlabelled if has_labels[patient]]
    if not spare:
        spare = list(split.labelled[1:])
    elif len(spare) == len(split.unlabelled):
        spare = spare if len(spare) > count else spare[:-1]  # one stays to learn from
    if len(spare) < count:
        expected = f"at most {len(spare)}, the training patients with labels that can be spared"
        raise InputError("--held-out", expected, got=count, setting="held_out")
    chosen = [spare[index * len(spare) // count] for index in range(count)]
    return judged_by(split, chosen)


def judged_by(split: Split, chosen: Sequence[str]) -> Split:
    """Return a split in which some of its training patients validate, and nobody else.

    Args:
        split: the split that they are taken from.
        chosen: the patients who judge.
    """
    return replace(
        split,
        train=tuple(patient for patient in split.train if patient not in chosen),
        val=tuple(chosen),
        test=(),
        labelled=tuple(patient for patient in split.labelled if patient not in chosen),
        val_slices=(),
    )
