"""Read text and YAML from outside: regular files of bounded length, values within bounds; make CSV.

Text may be longer, deeper or stranger than anybody writes by hand, also on purpose. Whatever is
wrong with it is one `InputError` that names the file.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from diffrect.checks import regular_file
from diffrect.console import visible
from diffrect.errors import InputError

LONGEST_TEXT = 2**28
"""Bytes of a text file; a store of 500,000 cases has so long a store.json."""
LONGEST_YAML = 2**18
"""Bytes of a YAML file: thousands of lines, and seconds of reading."""
DEEPEST = 64
"""Levels of lists and mappings within each other."""
_MOST_VALUES = 20_000  # of YAML, counted as often as aliases repeat them
_LARGEST_INTEGER = 2**64
_LONGEST_NUMBER = 64  # characters
# What yaml raises for text that it takes for a date, a number or the like, and then cannot convert.
_UNREADABLE = (ValueError, OverflowError, LookupError, AttributeError, TypeError)
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = tuple("=+-@\t\r＝＋－＠")


def read_text(
    path: Path, expected: str, *, longest: int = LONGEST_TEXT, errors: str = "strict"
) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Nothing but a regular file is read, because a pipe or a device may never end.

    Args:
        path: the file.
        expected: what it should hold, for the message, such as "a readable split file".
        longest: bytes that it may have.
        errors: what becomes of bytes that are not UTF-8, as for `bytes.decode`.

    Raises:
        InputError: it cannot be read, is no regular file, is too long or is not UTF-8.
    """
    regular_file(path, expected)
    try:
        with path.open("rb") as file:
            content = file.read(longest + 1)
    except OSError as error:
        raise InputError(path, expected, reason=error.strerror or error) from None
    if len(content) > longest:
        raise InputError(path, expected, found=f"more than {longest / 2**20:g} MiB")
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise InputError(path, expected, reason=error) from None


def is_too_deep(value: Any) -> bool:
    """Return whether lists and mappings lie within each other on more than `DEEPEST` levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def read_yaml(path: Path, expected: str = "a readable YAML file") -> Any:
    """Return the value in a YAML file, None if it is empty; see `parse_yaml`.

    Raises:
        InputError: the file cannot be read, or its text is refused.
    """
    text = read_text(path, expected, longest=LONGEST_YAML)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise InputError(path, expected, reason=error) from None


def parse_yaml(text: str) -> Any:
    """Return the value that YAML spells: plain values, lists and mappings.

    A date stays text, a key that is there twice is refused, and so are values that are too deep, or
    too many once aliases are followed.

    Raises:
        ValueError: in one line, why the text cannot be read.
    """
    if len(text) > LONGEST_YAML:
        raise ValueError(f"more than {LONGEST_YAML} characters")
    try:
        _check_extent(text)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except _UNREADABLE as error:
        raise ValueError(f"a value that is not of the form that it seems: {error}") from None


def _check_extent(text: str) -> None:
    """Refuse text that is too deep or too long for the loader, which calls itself at each level.

    Raises:
        YAMLError: it is, or it is no YAML.
    """
    total = 0
    sizes: dict[str | None, int] = {}  # values behind each anchor
    opened: list[tuple[str | None, int]] = []  # the anchor of each list or mapping, and what was
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes[anchor] = total - before
        if isinstance(event, yaml.AliasEvent) and event.anchor in [name for name, _ in opened]:
            raise yaml.YAMLError(f"the alias {event.anchor} lies within itself")
        if len(opened) > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels of lists and mappings")
        if total > _MOST_VALUES:
            raise yaml.YAMLError(f"more than {_MOST_VALUES} values")


class _Loader(yaml.SafeLoader):
    """YAML without dates and endless numbers, in which a key that is there twice is an error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the next mapping of the text.

        Raises:
            YAMLError: a key is there twice.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.YAMLError(f"{key.value} is there twice")
            seen.add((key.tag, key.value))
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number.

        Raises:
            YAMLError: it has more than 64 bits.
        """
        _check_number(node)
        number: int = super().construct_yaml_int(node)
        if abs(number) >= _LARGEST_INTEGER:
            raise yaml.YAMLError("a whole number of more than 64 bits")
        return number

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Return a number.

        Raises:
            YAMLError: it is too long.
        """
        _check_number(node)
        number: float = super().construct_yaml_float(node)
        return number


def _check_number(node: yaml.ScalarNode) -> None:
    length = len(node.value)
    if length > _LONGEST_NUMBER:
        raise yaml.YAMLError(f"a number of {length} characters")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV.

    Text that a spreadsheet would take for a formula, because it begins with `=`, `+`, `-` or `@`,
    gets an apostrophe in front. Numbers stay numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, heading))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    return "'" * value.startswith(_FORMULA) + visible(value)
