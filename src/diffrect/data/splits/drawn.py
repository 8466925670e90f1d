"""Draw the patients who validate and test from those who have labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diffrect.data.split import Split
from diffrect.errors import InputError


@dataclass(frozen=True)
class HeldOut:
    """How many patients with labels a drawn split keeps from the training; None: as it sees fit.

    Attributes:
        val: to choose a checkpoint by.
        test: to report a result on.
    """

    val: int | None = None
    test: int | None = None

    def of(self, count: int) -> tuple[int, int]:
        """Return how many of `count` patients with labels validate, and how many test.

        Unless it is said, 10 per cent validate and 20 per cent test, at least one each; but nobody
        tests of fewer than four, and nobody validates of fewer than three: their labels are worth
        more in the training.

        Raises:
            InputError: no patient would be left to train on.
        """
        val, test = self.val, self.test
        if val is None:
            val = 0 if count < 3 else max(1, round(0.1 * count))
        if test is None:
            test = 0 if count < 4 else max(1, round(0.2 * count))
        if val + test >= count:
            given = "val_patients" if self.val is not None else "test_patients"
            raise InputError(
                f"--{given.replace('_', '-')}",
                f"a patient with labels left to train on, of {count}",
                got=f"{val} to validate and {test} to test",
                setting=given,
            )
        return val, test


DRAWN_AS_USUAL = HeldOut()


def draw_split(store: str, patients: Mapping[str, bool], held_out: HeldOut, seed: int) -> Split:
    """Return a split that depends only on the seed and on who has labels.

    Args:
        store: what messages call the data set.
        patients: whether each patient has labels; those without train.
        held_out: how many validate and test.
        seed: draws them.

    Raises:
        InputError: nobody has labels, or nobody with labels is left to train on.
    """
    with_labels = sorted(patient for patient, labelled in patients.items() if labelled)
    if not with_labels:
        raise InputError(store, "at least 1 patient with labels", got=0)
    val, test = held_out.of(len(with_labels))
    order = np.random.default_rng(seed).permutation(len(with_labels))
    shuffled = [with_labels[i] for i in order]
    without_labels = sorted(set(patients).difference(with_labels))
    return Split(
        train=(*shuffled[val + test :], *without_labels),
        val=tuple(shuffled[:val]),
        test=tuple(shuffled[val : val + test]),
    )
