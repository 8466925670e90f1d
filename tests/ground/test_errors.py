"""Errors spell one line from their parts, keep them, and cross processes whole."""

import pickle
from pathlib import Path

import pytest

from diffrect.console import count, one_line
from diffrect.errors import InputError, PartialFailure


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.nii", "one channel", got=3), "a.nii: expected one channel, got 3"),
        (InputError("a", "files", found="none"), "a: expected files, found none"),
        (InputError("a", "JSON", reason="cut short"), "a: expected JSON: cut short"),
        (InputError("a", problem="exists", hint="use b"), "a: exists; use b"),
        (InputError("a", "b", got="c", hint="try d"), "a: expected b, got c; try d"),
        (InputError("a", "b", got=0), "a: expected b, got 0"),
        (InputError("the whole line: as it came"), "the whole line: as it came"),
    ],
)
def test_the_line(error: InputError, line: str) -> None:
    assert str(error) == line
    assert error.lines == (line,)
    assert error.exit_code == 2


def test_parts_are_kept_when_the_subject_changes() -> None:
    error = InputError("size", "at least 2", got=1, setting="size")
    named = error.about("--size")
    assert named is error
    assert str(named) == "--size: expected at least 2, got 1"
    assert (named.setting, named.parts["got"]) == ("size", 1)


@pytest.mark.parametrize(
    "error",
    [
        InputError("a.nii", "one channel", got=3, setting="channel"),
        PartialFailure("1 of 2 failed", [Path("b")], {Path("a"): "a: broken"}),
    ],
)
def test_errors_cross_a_process_boundary(error: InputError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.__dict__, again.lines, again.exit_code) == (
        error.__dict__,
        error.lines,
        error.exit_code,
    )


def test_a_partial_failure_says_each_line_and_whether_anything_was_done() -> None:
    failures = {Path("a"): "a: broken", Path("b"): "b: flat"}
    assert PartialFailure("2 of 3 failed", [Path("c")], failures).exit_code == 1
    assert PartialFailure("2 of 2 failed", [], failures).exit_code == 2
    assert PartialFailure("2 of 2 failed", [], failures).lines == ("a: broken", "b: flat")


def test_console_words() -> None:
    assert [count(n, "case") for n in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert one_line("a\nb\x1b[1m") == "a b\\x1b[1m"
