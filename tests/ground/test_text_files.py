"""Text, YAML and JSON from outside: what is meant is read, anything else is refused in one line."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrect import text_files
from diffrect.comparison.variants import read_variants
from diffrect.config import parse_options, read_config
from diffrect.data.sources.class_names import read_class_names
from diffrect.errors import InputError, brief
from diffrect.json_files import parse_json, read_json
from diffrect.text_files import parse_yaml, read_text, read_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
NASTY_YAML = {
    "[" * 100_000: "more than 64 levels of lists and mappings",
    "- " * 20_000: "more than 64 levels of lists and mappings",
    "{a: " * 20_000: "more than 64 levels of lists and mappings",
    LAUGHS: "more than 20000 values",
    MERGES: "more than 20000 values",
    "&a [*a]": "the alias a lies within itself",
    "0x_": "a value that is not of the form that it seems: invalid literal for int.*",
    "0x" + "f" * 17: "a whole number of more than 64 bits",
    "9" * 5000: "a number of 5000 characters",
    "1:" * 500 + "1": "a number of 1001 characters",
    "1:" * 500 + "1.5": "a number of 1003 characters",
    "a: 1\na: 2": "a is there twice",
    "!!timestamp x": "a value that is not of the form that it seems: .*",
    "!!bool x": "a value that is not of the form that it seems: 'x'",
    "!!int ''": "a value that is not of the form that it seems: .*",
    "!!python/object:os.system 1": "could not determine a constructor .*",
    "? [a]\n: b": ".* found unhashable key .*",
    "<<: 1": ".* expected a mapping .*",
    "a\0b": "unacceptable character .*",
    "\udcff": "unacceptable character .*",
    "*x": "found undefined alias .*",
    "---\n---\n": "expected a single document .*",
    "#" * 300_000: "more than 262144 characters",
}


@pytest.mark.parametrize("text", NASTY_YAML, ids=lambda text: repr(text[:12]))
def test_nasty_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_yaml(text)
    assert re.fullmatch(NASTY_YAML[text], str(caught.value))
    with pytest.raises(InputError, match=r"^--option a=") as refused:
        parse_options([f"a={text}"])
    assert len(str(refused.value)) < 1200


def test_yaml_that_people_write_is_read() -> None:
    assert parse_yaml("") is None
    assert parse_yaml("2021-01-01") == "2021-01-01"
    assert parse_yaml("[1, 0x1f, 1.5, true, null, a]") == [1, 31, 1.5, True, None, "a"]
    shared = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: *a}\nd: *a"
    assert parse_yaml(shared) == {
        **{"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}},
        **{"c": {"x": 1, "y": 2}, "d": {"x": 1, "y": 2}},
    }
    assert parse_yaml("[" * 64 + "]" * 64) is not None


NASTY_JSON = {
    "[" * 100_000: "more than 64 levels of lists and objects",
    "[" * 65 + "]" * 65: "more than 64 levels of lists and objects",
    '{"a": ' * 65 + "1" + "}" * 65: "more than 64 levels of lists and objects",
    "9" * 5000: "a whole number of 5000 digits",
    "NaN": "NaN is no number of JSON",
    "[-Infinity]": "-Infinity is no number of JSON",
    '{"a": {"b": 1, "c": 2, "b": 3}}': "'b' is there twice",
    "": "Expecting value.*",
    "{'a': 1}": "Expecting property name.*",
}


@pytest.mark.parametrize("text", NASTY_JSON, ids=lambda text: repr(text[:12]))
def test_nasty_json_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{NASTY_JSON[text]}$"):
        parse_json(text)


def test_json_that_programs_write_is_read() -> None:
    assert parse_json("[" * 64 + "]" * 64) is not None
    assert parse_json('{"a": [1, -2.5, 18446744073709551615]}') == {"a": [1, -2.5, 2**64 - 1]}
    assert parse_json("[NaN, Infinity]", finite=False)[1] == float("inf")


READERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: read_text(path, "text"),
    "YAML": read_yaml,
    "JSON": read_json,
    "configuration": read_config,
    "variants": read_variants,
    "classes": read_class_names,
}


@pytest.mark.parametrize("name", READERS)
def test_no_file_that_is_too_long_or_not_text_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    with pytest.raises(InputError, match=f"^{file}: expected .*, found no such file$"):
        READERS[name](file)
    file.write_bytes(b"a: \xff\n")
    with pytest.raises(InputError, match=f"^{file}: expected .*: 'utf-8' codec can't decode"):
        READERS[name](file)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match=r"pipe: expected .*, found a named pipe$"):
            READERS[name](tmp_path / "pipe")
    with file.open("wb") as stream:  # full of holes, so that it takes no space
        stream.truncate(text_files.LONGEST_TEXT + 1)
    with pytest.raises(InputError, match=r": expected .*, found more than [\d.]+ MiB$"):
        READERS[name](file)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfsize: 64\n")
    assert read_config(tmp_path / "a").size == 64


def test_a_value_in_a_message_is_short() -> None:
    assert brief("a" * 500) == "a" * 500
    assert brief("a" * 1000 + "b" * 1000, 20) == "aaaaaaa ... bbbbbbb"
    assert brief(10**5000) == "a number of thousands of digits"
    assert len(str(InputError("a", "a number", got="9" * 5000))) < 530
    assert str(InputError("a", got=10**5000)) == "a, got a number of thousands of digits"
