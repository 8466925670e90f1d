"""The search space: which settings of a method are tuned, and over which values.

A space is YAML of sections: `all` concerns every method, `strong_views` those that read a strong
view, and a section with a method's name that method. Each setting has a range of numbers,
{low, high, log}, or a list of values; a later section replaces the ranges of an earlier one, and
null takes a setting out. Settings are the options of methods and views, and learning_rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from diffrect.checks import update_dataclass
from diffrect.config import TrainConfig
from diffrect.errors import InputError, brief
from diffrect.methods.registry import METHODS, complete, find_method, resolve
from diffrect.plugins.settings import VIEW_OPTIONS
from diffrect.text_files import parse_yaml, read_yaml

SHIPPED = "spaces.yaml"
ALL, STRONG_VIEWS = "all", "strong_views"
RATE = "learning_rate"
_WHERE = "the shipped search space"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: the smallest number.
        high: the largest number.
        log: whether factors count instead of differences, as for a learning rate.
    """

    low: float
    high: float
    log: bool = False


Values = tuple[Any, ...]
Space = Mapping[str, Range | Values]


def read_sections(file: Path | None) -> Mapping[str, Any]:
    """Return the sections of a file, or of the space that the package ships.

    Raises:
        InputError: no such file, or no mapping of sections.
    """
    if file is None:
        shipped = resources.files("diffrect.comparison") / SHIPPED
        content: Any = parse_yaml(shipped.read_text("utf-8"))
    else:
        content = read_yaml(file)
    if not isinstance(content, Mapping) or not content:
        expected = "sections of settings: all, strong_views or a method"
        raise InputError(file or _WHERE, expected, got=type(content).__name__)
    return content


def space_of(config: TrainConfig, sections: Mapping[str, Any], file: Path | None) -> Space:
    """Return what is tuned of a method.

    Args:
        config: the training whose method it is, with the settings that are not tuned.
        sections: see `read_sections`.
        file: the file that they come from, for messages; None if the package ships them.

    Raises:
        InputError: a setting that the method does not have, a range or a list that is none, a value
            that the method refuses, or nothing to tune.
    """
    where = str(file or _WHERE)
    chosen = [ALL, config.method]
    if find_method(config.method).strong_views:
        chosen.insert(1, STRONG_VIEWS)
    _check_names(sections, config.method, where)
    given: dict[str, Any] = {}
    for section in chosen:
        part = sections.get(section) or {}
        if not isinstance(part, Mapping):
            raise InputError(f"{where}: {section}", "settings with their ranges", got=repr(part))
        given = {**given, **part}
    space = {
        str(name): _parsed(value, f"{where}: {name}")
        for name, value in given.items()
        if value is not None
    }
    if not space:
        raise InputError(where, f"something to tune of {config.method}", found="nothing")
    for name, values in space.items():
        _check(config, name, values, where)
    return space


def with_values(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration with values of a space set."""
    options = {name: value for name, value in values.items() if name != RATE}
    rate = values.get(RATE, config.learning_rate)
    return replace(config, learning_rate=rate, options={**config.options, **options})


def own_values(config: TrainConfig, space: Space) -> dict[str, Any]:
    """Return the values that the settings of a space have before anything is tuned."""
    known = {**complete(config).options, RATE: config.learning_rate}
    return {name: known[name] for name in space}


def holds(values: Range | Values, value: Any) -> bool:
    """Return whether a value is in a range, or in a list."""
    if isinstance(values, Range):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and values.low <= value <= values.high
    return value in values


def space_text(space: Space) -> dict[str, Any]:
    """Return a space as plain values, for a file."""
    return {
        name: {"low": each.low, "high": each.high, "log": each.log}
        if isinstance(each, Range)
        else list(each)
        for name, each in space.items()
    }


def _check_names(sections: Mapping[str, Any], method: str, where: str) -> None:
    known = {ALL, STRONG_VIEWS, method, *METHODS}
    for name in sections:
        if name not in known and ":" not in str(name):
            expected = f"all, strong_views, or one of {', '.join(METHODS)}"
            raise InputError(f"{where}: {brief(str(name))}", expected)


def _parsed(value: Any, where: str) -> Range | Values:
    """Return a range or a list of values as YAML gives it."""
    if isinstance(value, list):
        if len(value) < 2 or not all(isinstance(v, bool | int | float | str) for v in value):
            raise InputError(where, "a list of two values or more", got=brief(repr(value)))
        return tuple(value)
    if not isinstance(value, Mapping) or not {"low", "high"} <= value.keys():
        raise InputError(where, "{low, high, log} or a list of values", got=brief(repr(value)))
    found = update_dataclass(Range(0.0, 0.0), value, where)
    if not found.low < found.high or (found.log and found.low <= 0):
        expected = "low below high" + (", both above 0 with log" if found.log else "")
        raise InputError(where, expected, got=f"{found.low:g} and {found.high:g}")
    return found


def _check(config: TrainConfig, name: str, values: Range | Values, where: str) -> None:
    """Check that the method has a setting, and takes the ends of its range or all its values."""
    known = {**complete(config).options, RATE: config.learning_rate}
    for code in VIEW_OPTIONS:  # files do not choose what code runs
        known.pop(code, None)
    if name not in known:
        expected = f"learning_rate or an option of {config.method} or the views"
        raise InputError(f"{where}: {brief(name)}", expected, hint="diffrect options lists them")
    tried = (values.low, values.high) if isinstance(values, Range) else values
    whole = isinstance(known[name], int) and not isinstance(known[name], bool)
    for value in tried:
        if whole and isinstance(value, float) and not value.is_integer():
            raise InputError(f"{where}: {name}", "whole numbers", got=f"{value:g}")
        try:
            resolve(with_values(config, {name: int(value) if whole else value}))
        except InputError as error:
            raise error.about(f"{where}: {config.method}: {error.subject}") from None
