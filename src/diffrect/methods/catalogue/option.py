"""What is known of an option, and of a method."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option of a method or of the views.

    Attributes:
        name: as `--option NAME=VALUE` takes it.
        kind: what values it takes, in words; for a choice, all of them.
        choices: the words among its values.
        text: what it does, in some sentences.
        values: its value in each preset, by the preset's name.
    """

    name: str
    kind: str
    choices: tuple[str, ...]
    text: str
    values: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """The first sentence of the text."""
        return re.split(r"(?<=\w[.`)])\s+(?=[A-Z])", self.text, maxsplit=1)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them."""
        return {**asdict(self), "choices": list(self.choices)}


@dataclass(frozen=True)
class Description:
    """A method with its options.

    Attributes:
        method: its name.
        title: what it does, in a sentence.
        options: its own.
        views: those of the views, with the values of the method's presets.
    """

    method: str
    title: str
    options: tuple[Option, ...]
    views: tuple[Option, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them."""
        return {
            "method": self.method,
            "title": self.title,
            "options": [option.to_dict() for option in self.options],
            "views": [option.to_dict() for option in self.views],
        }
