"""Who is trained on, who is labelled, who is held out: always whole patients."""

import json
from dataclasses import asdict, dataclass
from typing import Any


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
        """The split written by ``to_json``."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, parts: dict[str, Any]) -> "Split":
        """The split whose parts are lists of ids."""
        return cls(**{name: tuple(patients) for name, patients in parts.items()})
