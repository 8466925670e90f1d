"""The split of a data set: patients to train on, to choose a checkpoint by, and to test on."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from diffrect.console import count, summary
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.json_files import parse_json

_PARTS = ("train", "val", "test", "labelled", "val_slices")


@dataclass(frozen=True)
class Split:
    """Patient ids of each part; the scans of one patient are never in two parts.

    Example:
        >>> import diffrect
        >>> split = diffrect.Split(train=("a", "b", "c"), val=("d",), labelled=("a",))
        >>> split.unlabelled
        ('b', 'c')
        >>> diffrect.Split.from_json(split.to_json()) == split
        True

    Attributes:
        train: in the order in which labelled patients are chosen.
        val: the patients by which a checkpoint is chosen; may be empty, then the last is taken.
        test: the patients on which a result is reported, once, at the end; may be empty.
        labelled: the part of `train` whose labels are used.
        val_slices: blocks of slices of labelled scans that are left out of the training to choose a
            checkpoint by, each as CASE:FIRST-LAST, counted from 1; see `data.splits.blocks`.
    """

    train: tuple[str, ...]
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    labelled: tuple[str, ...] = ()
    val_slices: tuple[str, ...] = ()

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """The patients of `train` that are not labelled."""
        labelled = set(self.labelled)
        return tuple(patient for patient in self.train if patient not in labelled)

    def __repr__(self) -> str:
        """Return the numbers of patients in one line."""
        parts = [
            f"{len(self.labelled)} labelled",
            f"{len(self.unlabelled)} unlabelled",
            f"{len(self.val)} to validate",
            f"{len(self.test)} to test",
        ]
        if self.val_slices:
            parts.append(f"{count(len(self.val_slices), 'block')} of slices to validate")
        return summary(self, ", ".join(parts))

    def to_json(self) -> str:
        """Return JSON text with one list per part."""
        return json.dumps(self.to_dict(), indent=1)

    def to_dict(self) -> dict[str, list[str]]:
        """Return the parts by name, as JSON holds them.

        `val_slices` is there only if it is not empty, so that earlier versions read the others.
        """
        return {
            name: list(part) for name, part in asdict(self).items() if part or name != "val_slices"
        }

    @classmethod
    def from_json(cls, text: str) -> "Split":
        """Return the split that `to_json` wrote; all but "train" may be left out.

        Raises:
            InputError: the text is not JSON, has another part, or a part is not a list of ids.
        """
        try:
            parts = parse_json(text)
        except ValueError as error:
            raise InputError("split", "a split as JSON", reason=error) from None
        if not isinstance(parts, dict) or not {"train"} <= parts.keys() <= set(_PARTS):
            got = ", ".join(parts) if isinstance(parts, dict) else type(parts).__name__
            raise InputError("split", "the lists train, val, test and labelled", got=got)
        for name, patients in parts.items():
            if not isinstance(patients, list) or not all(isinstance(p, str) for p in patients):
                expected = f"a list of patient ids under '{name}'"
                raise InputError("split", expected, got=repr(patients))
        return cls.from_dict(parts)

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> "Split":
        """Return the split whose parts are lists of ids, as `to_dict` returns them."""
        return cls(**{name: tuple(patients) for name, patients in parts.items()})

    @classmethod
    def from_fields(cls, fields: Fields) -> "Split":
        """Return the split that a store or a checkpoint remembers.

        Raises:
            InputError: a part is no list of ids, or has a name that no part has.
        """
        strange = [name for name in fields.values if name not in _PARTS]
        if strange:
            raise fields.refuse(strange[0], "nothing but train, val, test and labelled")
        given = {name: fields.texts(name) for name in ("train", "val")}
        rest = {name: fields.texts(name, ()) for name in ("test", "labelled", "val_slices")}
        return cls(**given, **rest)


@cache
def acdc_split() -> Split:
    """Return ACDC's official lists in the order of the SSL4MIS benchmark: 70, 10 and 20 patients.

    With 1, 3 or 7 labelled patients they are the first of `train`.
    """
    file = resources.files("diffrect.data").joinpath("acdc_split.json")
    return Split.from_json(file.read_text(encoding="utf-8"))


def restrict_to(split: Split, present: Collection[str]) -> tuple[Split | None, list[str]]:
    """Restrict a split to the patients that a data set holds.

    Args:
        split: an official split.
        present: the patients of the data set.

    Returns:
        The restricted split, None if no patient of its training or of its validation part is
        present; and the sorted ids of its patients that are missing. If no patient at all is
        present, none counts as missing: this is another data set.
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
