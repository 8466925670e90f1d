"""Check the values of settings against the types and ranges of dataclass fields, and files.

What the fields say of themselves in the source is here too, for the help.
"""

import ast
import dataclasses
import inspect
import re
import stat
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diffrect.errors import InputError, brief

T = TypeVar("T")


def update_dataclass(instance: T, values: Mapping[str, Any], where: str) -> T:
    """Return a copy of a dataclass instance with `values` put in.

    The values are checked against the types of the fields.

    Raises:
        InputError: an unknown name or a value of the wrong type; `where` says where it comes from.
    """
    hints = get_type_hints(type(instance))
    for name in values:
        if name not in hints:
            known = ", ".join(sorted(hints))
            raise InputError(
                where, problem=f"unknown option {name}", hint=f"expected one of {known}"
            )
    checked = {name: _coerce(value, hints[name], where, name) for name, value in values.items()}
    try:
        return dataclasses.replace(instance, **checked)  # type: ignore[type-var]
    except InputError as error:
        raise error.about(f"{_of(where)}{error.subject}") from None


def field_texts(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass and of its bases, as it is written.

    Where Python has no source, as in a program that was frozen into one file, there is none.
    """
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        for field, after in _neighbours(base):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                texts[ast.unparse(field.target)] = ast.literal_eval(after.value)
    return texts


def _neighbours(kind: type) -> list[tuple[ast.stmt, ast.stmt]]:
    """Return each statement in the body of a class with the one after it."""
    try:
        tree = _parsed(inspect.getsourcefile(kind) or "")
    except (OSError, TypeError, ValueError, SyntaxError):
        return []
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    body = next((node.body for node in classes if node.name == kind.__name__), [])
    return list(pairwise(body))


@cache
def _parsed(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text("utf-8"))


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Check that the value of an option or field is one of several.

    Args:
        name: what the message calls it, for example `--axis`.
        value: what the user gave.
        choices: what is accepted, in the order in which the message lists it.

    Raises:
        InputError: it is none of them.
    """
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise InputError(name, f"one of {listed}", got=repr(value))


def at_least(
    name: str, value: int, least: int, most: int = 10**9, *, why: str | None = None
) -> None:
    """Refuse a setting below `least` or above `most`.

    Args:
        name: the field or option that holds the setting.
        value: its value.
        least: the smallest value allowed.
        most: the largest value allowed.
        why: why there can be no more, for the message.

    Raises:
        InputError: the value is smaller or larger.
    """
    if value < least:
        raise InputError(name, f"at least {least}", got=value, setting=name)
    if value > most:
        raise InputError(name, f"at most {most}", got=value, hint=why, setting=name)


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside `low` to `high`, both allowed, and NaN.

    Args:
        name: the field that holds the setting.
        value: its value.
        low: the smallest value allowed.
        high: the largest value allowed.

    Raises:
        InputError: the value lies outside.
    """
    if not low <= value <= high:  # NaN is nowhere
        expected = f"a number from {low:g} to {high:g}"
        got = value if isinstance(value, int) else f"{value:g}"
        raise InputError(name, expected, got=got, setting=name)


def check_device(name: str, value: str) -> None:
    """Check that a name is one that a device can have, on this machine or another.

    Args:
        name: the field or option that holds it.
        value: auto, which is a GPU if there is one, cpu, cuda, one of several GPUs such as cuda:1,
            or mps, an Apple GPU.

    Raises:
        InputError: it is another.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?", value):
        expected = "auto, cpu, cuda, cuda:1 (one of several) or mps"
        raise InputError(name, expected, got=repr(value), setting="device")


def folder_to_make(path: Path, expected: str = "a folder to make") -> None:
    """Check that a path is a folder, or nothing yet and can become one.

    Args:
        path: the folder.
        expected: what it should be.

    Raises:
        InputError: it is a file, or it or a folder that it lies in is a link that leads nowhere.
    """
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise InputError(place, expected, found="a symbolic link that leads nowhere")
    if path.exists() and not path.is_dir():
        raise InputError(path, expected, found="a file")


def regular_file(path: Path, expected: str) -> None:
    """Check that a path is a regular file, or a link to one, before it is opened.

    A named pipe or a device may never come to an end.

    Args:
        path: the file.
        expected: what it should be, such as "a NIfTI file".

    Raises:
        InputError: nothing is there, or it is no regular file.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(path, expected, found="no such file") from None
    except (OSError, ValueError) as error:  # a loop of links; a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(path, expected, reason=reason) from None
    if not stat.S_ISREG(mode):
        found = next((name for test, name in _NO_FILES if test(mode)), "a device")
        raise InputError(path, expected, found=found)


_NO_FILES: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def _of(where: str) -> str:
    """Return what precedes the name of a field: its option, or the file that holds it."""
    return f"{where} " if where.startswith("--") else f"{where}: "


def _coerce(value: Any, hint: Any, where: str, name: str) -> Any:
    """Return `value` as the type of a field; int becomes float, text becomes Path where asked."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return value
            continue
        accepted, convert = _CONVERSIONS.get(get_origin(kind) or kind, ((), lambda v: v))
        if isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)):
            if isinstance(value, int | float) and not abs(value) <= _LARGEST:  # NaN is nowhere
                expected = f"a number from {-_LARGEST:g} to {_LARGEST:g}"
                raise InputError(f"{_of(where)}{name}", expected, got=value, setting=name)
            return convert(value)
    got = brief(repr(value))
    raise InputError(f"{_of(where)}{name}", _describe(kinds), got=got, setting=name)


_LARGEST = 1e30  # of a number; those that compute with it still have room


# Type of a field -> the types that YAML gives it as, and how they become it.
_CONVERSIONS: dict[Any, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    bool: ((bool,), bool),
    int: ((int,), int),
    float: ((int, float), float),
    str: ((str, int, float), str),
    Path: ((str, Path), Path),
    Mapping: ((Mapping,), dict),
    types.NoneType: ((types.NoneType,), lambda value: value),
}


def _describe(kinds: tuple[Any, ...]) -> str:
    words: list[str] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            words += [str(choice) for choice in get_args(kind)]
        else:
            words.append(_KIND_NAMES.get(get_origin(kind) or kind, str(kind)))
    return " or ".join(words)


_KIND_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Mapping: "names with values",
    types.NoneType: "null",
}
