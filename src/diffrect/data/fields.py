"""Read the fields of an object from outside, such as a JSON file's; each by its kind and range."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from diffrect.errors import InputError, brief

Value = TypeVar("Value")

LARGEST = 10**9
_LONGEST_TEXT = 4096  # as the longest path
_REQUIRED: Any = object()


class Fields:
    """An object whose fields are refused by name if they are of another kind than expected.

    Attributes:
        where: what messages call the object, such as its file.
        values: its fields by name.
    """

    def __init__(self, values: Any, where: object, name: str = "") -> None:
        """Take an object.

        Args:
            values: its fields by name.
            where: what messages call it.
            name: its own name within another object, "" if it is the whole.

        Raises:
            InputError: it is no object with names.
        """
        self.where, self.name = where, name
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            expected = f"names with values under '{name}'" if name else "names with values"
            raise InputError(where, expected, got=brief(repr(values)))
        self.values = values

    def refuse(self, name: str, expected: str, **parts: object) -> InputError:
        """Return the error about a field that is not as expected."""
        parts = parts or {"got": brief(repr(self.values[name]))}
        return InputError(self.where, f"{expected} under '{self.path(name)}'", **parts)  # type: ignore[arg-type]  # names of parts

    def path(self, name: str) -> str:
        """Return the name of a field with those of the objects that it lies in."""
        return f"{self.name}.{name}" if self.name else name

    def get(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a field of any kind.

        Raises:
            InputError: it is not there and has no default.
        """
        if name in self.values:
            return self.values[name]
        if default is _REQUIRED:
            raise self.refuse(name, "a value", found="none")
        return default

    def whole(self, name: str, low: int, high: int = LARGEST, default: Any = _REQUIRED) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(name, f"a whole number from {low} to {high}")
        return value

    def number(
        self,
        name: str,
        low: float,
        high: float,
        default: Any = _REQUIRED,
        also: float | None = None,
    ) -> float:
        """Return a number from `low` to `high`, or the one `also` allowed, such as NaN."""
        value = self.get(name, default)
        if not is_number(value) or not (low <= value <= high or _same(value, also)):
            raise self.refuse(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        """Return true or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.refuse(name, "true or false")
        return value

    def text(self, name: str, default: Any = _REQUIRED, longest: int = _LONGEST_TEXT) -> str:
        """Return text of at most `longest` characters."""
        value = self.get(name, default)
        if not isinstance(value, str) or len(value) > longest:
            raise self.refuse(name, f"text of at most {longest} characters")
        return value

    def texts(self, name: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.get(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise self.refuse(name, "a list of texts")
        return tuple(value)

    def numbers(self, name: str, number: int, low: float, high: float) -> tuple[float, ...]:
        """Return a list of `number` numbers from `low` to `high`."""
        value = self.get(name)
        right = isinstance(value, list | tuple) and len(value) == number
        if not right or not all(is_number(one) and low <= one <= high for one in value):
            raise self.refuse(name, f"{number} numbers from {low:g} to {high:g}")
        return tuple(value)

    def fields(self, name: str, default: Any = _REQUIRED) -> "Fields":
        """Return an object within this one."""
        return Fields(self.get(name, default), self.where, self.path(name))

    def each(self, name: str) -> list["Fields"]:
        """Return the objects of a list."""
        value = self.get(name)
        if not isinstance(value, list | tuple):
            raise self.refuse(name, "a list")
        return [
            Fields(one, self.where, f"{self.path(name)}[{place}]")
            for place, one in enumerate(value)
        ]


def is_number(value: Any) -> bool:
    """Return whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: float, also: float | None) -> bool:
    return also is not None and (value == also or (math.isnan(value) and math.isnan(also)))
