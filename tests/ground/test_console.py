"""Names that could steer a terminal reach it as visible escapes, by every way out."""

import ast
import io
import logging
import os
import sys
import warnings
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from diffrect.cli.main import main
from diffrect.console import (
    PlainConsole,
    one_line,
    plain,
    say,
    show_traceback,
    speak_plainly,
    tell,
    visible,
    warn,
)
from diffrect.errors import InputError

SOURCE = Path(__file__).parents[2] / "src" / "diffrect"
ESCAPES = {
    "\x00": r"\x00",
    "\x07": r"\x07",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b[2J": r"\x1b[2J",
    "\x7f": r"\x7f",
    "\x85": r"\x85",
    "\x9b2J": r"\x9b2J",  # C1: the same as ESC [
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\x0b\x0c": r"\x0b\x0c",
    "\u2028\u2029": r"\u2028\u2029",
    "\u202e\u202a\u2066\u2069\u200f\u061c": r"\u202e\u202a\u2066\u2069\u200f\u061c",
    "\u200b\u200c\u200d\u2060\ufeff\xad": r"\u200b\u200c\u200d\u2060\ufeff\xad",
    "\u034f\u115f\u3164\ufe0f\U000e0101": r"\u034f\u115f\u3164\ufe0f\U000e0101",
    "\U000e0041": r"\U000e0041",
    "\udc80": r"\udc80",
}
HOSTILE = "".join(ESCAPES)


@pytest.mark.parametrize("raw", ESCAPES)
def test_characters_that_steer_become_escapes(raw: str) -> None:
    assert visible(f"a{raw}b") == f"a{ESCAPES[raw]}b"


@pytest.mark.parametrize(
    "name", ["a b.nii.gz", "Prävention", "患者7", "مريض", r"C:\scans", "é", ""]
)
def test_other_characters_stay(name: str) -> None:
    assert visible(name) == name


def harmless(text: str) -> bool:
    """Return whether a terminal would only print the text, line by line."""
    return all(visible(line) == line for line in text.split("\n"))


def test_lines_of_results_messages_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"result {HOSTILE}")
    tell(f"remark {HOSTILE}")
    warn(f"warning {HOSTILE}")
    out, err = capsys.readouterr()
    assert harmless(out + err)
    assert (out.count("\n"), err.count("\n")) == (1, 2)
    for text in ("result", "remark", "warning"):
        assert f"{text} {visible(HOSTILE)}\n" in out + err


def test_errors_say_names_in_escapes_and_keep_them() -> None:
    error = InputError(f"a{HOSTILE}", f"b{HOSTILE}", got=HOSTILE, reason="two\nlines", hint=HOSTILE)
    assert str(error).isprintable()
    assert ": two lines;" in str(error)
    assert error.subject == f"a{HOSTILE}"
    assert error.parts["got"] == HOSTILE
    assert one_line("a\r\nb\x1bc") == r"a b\x1bc"


def test_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    show_traceback(ValueError(HOSTILE))
    err = capsys.readouterr().err
    assert harmless(err)
    assert "\\u202e" in err


@pytest.fixture
def console() -> PlainConsole:
    return PlainConsole(
        file=io.StringIO(), force_terminal=True, color_system=None, width=400, emoji=False
    )


def printed(console: PlainConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tables(console: PlainConsole) -> None:
    table = Table(title=plain(HOSTILE), caption=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(plain(f"[red]{HOSTILE}[/red]"))
    table.add_row(Text(HOSTILE))
    console.print(table)
    console.print(HOSTILE, Text(HOSTILE), markup=False)
    assert harmless(printed(console))
    assert "[red]" in printed(console)
    widths = {len(line) for line in printed(console).split("\n") if line.startswith("│")}
    assert len(widths) == 1  # nothing in a cell hides or adds width


def test_progress_bars(console: PlainConsole) -> None:
    progress = Progress(TextColumn("{task.description}"), console=console, auto_refresh=False)
    progress.add_task(f"predicting {HOSTILE}", total=1)
    progress.start()
    progress.refresh()
    progress.stop()
    shown = printed(console)
    for own in ("\x1b[?25l", "\x1b[?25h", "\r", "\x1b[2K", "\x1b[1A"):  # rich's own
        shown = shown.replace(own, "")
    assert "predicting" in shown
    assert "\x1b[2J" not in shown
    assert harmless(shown)


def test_warnings_and_logs_of_libraries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = logging.getLogRecordFactory()
    try:
        speak_plainly()
        speak_plainly()
        record = logging.getLogRecordFactory()("a", 30, "p", 1, "value %s", (HOSTILE,), None)
        assert record.getMessage() == f"value {visible(HOSTILE)}"
        assert harmless(warnings.formatwarning(UserWarning(HOSTILE), UserWarning, HOSTILE, 1))
        sys.excepthook(KeyError, KeyError(HOSTILE), None)
        assert harmless(capsys.readouterr().err)
    finally:
        logging.setLogRecordFactory(before)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\x1b[2J\xff\n.nii", r"a\x1b[2J\udcff\n.nii"),
        ("b\u202e\x9b.nii".encode(), r"b\u202e\x9b.nii"),
    ],
)
def test_commands_print_no_raw_name(
    name: bytes, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(b"no scan")
    assert main(["inspect", str(file)]) == 1
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "out"), f"{file}x"]) == 2
    out, err = capsys.readouterr()
    assert harmless(out + err)
    assert shown in out
    assert f"{shown}x" in err


def calls_out(file: Path) -> list[str]:
    """Return the places where a module prints by itself."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "Console", "track", "traceback.print_exc"):
                found.append(f"{file.name}, line {node.lineno}: {name}")
            if name.startswith(("sys.stdout.write", "sys.stderr.write", "sys.__std", "pprint")):
                found.append(f"{file.name}, line {node.lineno}: {name}")
            if name in ("warnings.warn", "logging.basicConfig") or name.endswith(".print_exc"):
                found.append(f"{file.name}, line {node.lineno}: {name}")
    return found


def test_only_the_console_prints() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file.name != "console.py"]
    assert len(files) > 100
    assert [place for file in files for place in calls_out(file)] == []
    assert len(calls_out(SOURCE / "console.py")) >= 3  # the search finds what is there
