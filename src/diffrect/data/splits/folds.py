"""The folds of a cross-validation: each labelled patient is held out once."""

import numpy as np

from diffrect.data.split import Split
from diffrect.errors import InputError


def make_folds(split: Split, folds: int, seed: int) -> list[Split]:
    """Return a split for each fold, whose test patients are those that it does not train on.

    The labelled patients, and those that would validate, are dealt out; nobody validates, so that
    the score of a fold is of patients who had no part in it. Unlabelled patients train in all
    folds, and the test patients of `split` stay out.

    Args:
        split: the patients of a training without folds.
        folds: how many.
        seed: deals the patients out.

    Raises:
        InputError: fewer than two folds, or more than there are patients to deal out.
    """
    pool = [*split.labelled, *split.val]
    if not 2 <= folds <= len(pool):
        most = "patients with labels to hold out by turns"
        if len(pool) < 2:
            raise InputError("--cross-validate", f"at least 2 {most}", got=len(pool))
        raise InputError("--cross-validate", f"from 2 to {len(pool)} folds, the {most}", got=folds)
    dealt = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    everyone = (*split.train, *split.val)
    splits = []
    for fold in range(folds):
        held_out = tuple(dealt[fold::folds])
        splits.append(
            Split(
                train=tuple(p for p in everyone if p not in held_out),
                test=held_out,
                labelled=tuple(p for p in pool if p not in held_out),
            )
        )
    return splits
