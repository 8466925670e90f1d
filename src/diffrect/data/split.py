"""The split of a data set: patients to train on, to choose a checkpoint by, and to test on."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from diffrect.errors import InputError

_PARTS = ("train", "val", "test", "labelled")


@dataclass(frozen=True)
class Split:
    """Patient ids of each part.

    Attributes:
        train: in the order in which labelled patients are chosen.
        val: the patients by which a checkpoint is chosen.
        test: reported once, at the end; may be empty.
        labelled: the part of ``train`` whose labels are used.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()
    labelled: tuple[str, ...] = ()

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """The patients of ``train`` that are not labelled."""
        labelled = set(self.labelled)
        return tuple(patient for patient in self.train if patient not in labelled)

    def to_json(self) -> str:
        """JSON text with one list per part."""
        return json.dumps(self.to_dict(), indent=1)

    def to_dict(self) -> dict[str, list[str]]:
        """The parts by name, as JSON knows them."""
        return {name: list(patients) for name, patients in asdict(self).items()}

    @classmethod
    def from_json(cls, text: str) -> "Split":
        """The split written by ``to_json``; "test" and "labelled" may be left out.

        Raises:
            InputError: not JSON, another part, or a part that is not a list of ids.
        """
        try:
            parts = json.loads(text)
        except ValueError as error:
            raise InputError(f"expected a split as JSON: {error}") from None
        if not isinstance(parts, dict) or not {"train", "val"} <= parts.keys() <= set(_PARTS):
            found = ", ".join(parts) if isinstance(parts, dict) else type(parts).__name__
            raise InputError(f"expected the lists train, val, test and labelled, got {found}")
        for name, patients in parts.items():
            if not isinstance(patients, list) or not all(isinstance(p, str) for p in patients):
                raise InputError(f"expected a list of patient ids under '{name}', got {patients!r}")
        return cls.from_dict(parts)

    @classmethod
    def from_dict(cls, parts: dict[str, Any]) -> "Split":
        """The split whose parts are lists of ids."""
        return cls(**{name: tuple(patients) for name, patients in parts.items()})


@cache
def acdc_split() -> Split:
    """ACDC's official lists in the order of the SSL4MIS benchmark: 70, 10 and 20 patients.

    With 1, 3 or 7 labelled patients they are the first ones of ``train``.
    """
    file = resources.files("diffrect.data").joinpath("acdc_split.json")
    return Split.from_json(file.read_text(encoding="utf-8"))


def restrict_to(split: Split, present: Collection[str]) -> tuple[Split | None, list[str]]:
    """The part of a split that is there, and the sorted ids of the patients that are not.

    The split is None where its training or its validation part is not there at all; then, and
    where no patient of it is there, it is of no use. In the latter case nothing counts as missing:
    the data set is another one.
    """
    kept = {
        name: [patient for patient in patients if patient in present]
        for name, patients in split.to_dict().items()
    }
    everyone = {*split.train, *split.val, *split.test}
    if everyone.isdisjoint(present):
        return None, []
    usable = kept["train"] and kept["val"]
    return Split.from_dict(kept) if usable else None, sorted(everyone.difference(present))
