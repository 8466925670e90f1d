"""The pages that are written from the program are current."""

from pathlib import Path

import pytest

from commands_page import commands_page
from diffrect.cli.commands import COMMANDS
from generate import generated


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_files_are_current(path: Path) -> None:
    written = path.read_text("utf-8")
    assert written == generated()[path], "run: python docs/tools/generate.py"


def test_every_command_has_its_section() -> None:
    page = commands_page()
    assert [name for name in COMMANDS if f"\n## {name}\n" not in page] == []
