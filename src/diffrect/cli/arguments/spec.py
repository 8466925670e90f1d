"""The arguments of a command: what the fields of its dataclass say."""

import dataclasses
import types
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diffrect.checks import field_texts
from diffrect.config import Role, Shown

T = TypeVar("T")


class Mark(Enum):
    """What an annotation says of a field beside its type."""

    PLACE = "given by its place on the command line, not by a name"
    FIXED = "not on the command line"


Place = Annotated[T, Mark.PLACE]
Fixed = Annotated[T, Mark.FIXED]

_WORDS = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}
_TITLES = {Role.MACHINE: "machine", Role.PATIENTS: "patients"}


@dataclass(frozen=True)
class Argument:
    """One argument of a command.

    Attributes:
        name: of the field.
        kind: type of each value: bool, int, float, str, Path or a Literal.
        number: how many values it takes: 0 for a flag; None for a place that takes all the rest,
            or an option that can be repeated.
        place: whether it is given by its place.
        default: value if it is not given; `dataclasses.MISSING` if it has to be.
        shown: how the help shows it.
        group: the command's field that holds the dataclass of this one; None for the command's.
        owner: the dataclass that has the field.
        title: under which the help lists it.
    """

    name: str
    kind: Any
    number: int | None
    place: bool
    default: Any
    shown: Shown
    group: str | None
    owner: type
    title: str

    @property
    def label(self) -> str:
        """How messages name it: RUN, or --batch-labelled."""
        if self.place:
            return (self.shown.metavar or self.name.upper()).split("...")[0]
        return flag_of(self.name)

    @property
    def metavar(self) -> str:
        """What stands for its value in the help; empty for a flag."""
        if self.number == 0:
            return ""
        if self.shown.metavar is not None:
            return self.shown.metavar
        if get_origin(self.kind) is Literal:
            return f"{{{','.join(self.choices)}}}"
        return self.name.upper() if self.place else _WORDS[self.kind]

    @property
    def spelling(self) -> str:
        """How it is written, for the help: RUN, --quiet, --size INT."""
        return self.metavar if self.place else f"{self.label} {self.metavar}".rstrip()

    @property
    def choices(self) -> tuple[str, ...]:
        """Values of a choice; empty for another kind."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def required(self) -> bool:
        """Whether there is no value for it unless it is given."""
        return self.default is dataclasses.MISSING

    @property
    def text(self) -> str:
        """One or two sentences: what stands below the field in the source."""
        return " ".join(field_texts(self.owner).get(self.name, "").split())

    @property
    def note(self) -> str:
        """What the help adds in brackets: the default."""
        if self.shown.default is not None:
            return f"default: {self.shown.default}" if self.shown.default else ""
        if not self.place and self.number is None:
            return "repeatable"
        if self.required or self.number == 0 or self.default is None or self.default == ():
            return ""
        return f"default: {self.default}"


def flag_of(name: str) -> str:
    """Return the option of a field: `--batch-labelled` of `batch_labelled`."""
    return f"--{name.replace('_', '-')}"


@cache
def arguments_of(command: type) -> tuple[Argument, ...]:
    """Return the arguments of a command, in the order of its fields.

    A field that holds another dataclass stands for the fields of its default value.

    Raises:
        TypeError: a field has a type that no words on a command line can say.
    """
    found: list[Argument] = []
    hints = get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        held = group_of(field)
        if held is None:
            found += _argument(field, hints[field.name], None, command)
            continue
        inside = get_type_hints(held, include_extras=True)
        for each in dataclasses.fields(held):
            found += _argument(each, inside[each.name], field.name, held)
    return tuple(found)


def group_of(field: "dataclasses.Field[Any]") -> type | None:
    """Return the dataclass that a field holds by default; None if it holds a plain value."""
    make = field.default_factory
    if make is dataclasses.MISSING:
        return None
    return make if isinstance(make, type) and dataclasses.is_dataclass(make) else None


def _argument(
    field: "dataclasses.Field[Any]", hint: Any, group: str | None, owner: type
) -> Sequence[Argument]:
    """Return the argument of a field, or none for a field that is not on the command line."""
    hint, marks = _taken_apart(hint)
    shown = next((mark for mark in marks if isinstance(mark, Shown)), Shown())
    if Mark.FIXED in marks or shown.hidden:
        return ()
    kind, number = _kind(hint)
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    place = Mark.PLACE in marks
    title = "arguments" if place else "options"
    if "role" in field.metadata:
        title = _TITLES.get(field.metadata["role"], "training")
    return (Argument(field.name, kind, number, place, default, shown, group, owner, title),)


def _taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type and what its annotation says beside it."""
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _kind(hint: Any) -> tuple[Any, int | None]:
    """Return the type of each value, and how many there are; None may always be left out."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
        hint, _ = _taken_apart(hint)
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        return kinds[0], None if kinds[-1] is Ellipsis else len(kinds)
    if hint is bool:
        return bool, 0
    if hint not in _WORDS and get_origin(hint) is not Literal:
        raise TypeError(f"no words on a command line can say {hint}")
    return hint, 1
