"""What a user is told of a split, in one line."""

from collections.abc import Mapping

from diffrect.data.split import Split


def describe_split(split: Split, patients: Mapping[str, bool], origin: str) -> str:
    """Return how many patients are labelled, unlabelled, validate and test, and who says so.

    Args:
        split: the patients of each part.
        patients: whether each patient of the data set has labels.
        origin: where the split comes from.

    Example:
        `2 labelled, 20 unlabelled, 1 to validate, 1 to test (drawn, seed 1337)`
    """
    unread = sum(patients.get(patient, False) for patient in split.unlabelled)
    parts = [
        f"{len(split.labelled)} labelled",
        f"{_number(split.unlabelled)} unlabelled",
        f"{_number(split.val)} to validate",
        f"{_number(split.test)} to test",
    ]
    if unread:
        parts[1] += f" (the labels of {unread} are not read)"
    left_out = len(set(patients).difference(split.train, split.val, split.test))
    if left_out:
        parts.append(f"{left_out} left out")
    return f"{', '.join(parts)} ({origin})"


def _number(patients: tuple[str, ...]) -> str:
    return str(len(patients)) if patients else "none"
