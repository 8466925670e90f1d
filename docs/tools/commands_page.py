"""Write reference/commands.md from what `diffrect --help` and `diffrect COMMAND --help` print."""

import contextlib
import io
import os
import re
from collections.abc import Iterator

from diffrect.cli.main import main

WIDE = "300"  # columns, so that tyro breaks few lines
HEAD = """\
# Commands

This page holds what `diffrect COMMAND --help` prints. `docs/tools/generate.py` writes it, and a
test checks that it is current. Every command ends with one of these exit codes:

`0`
:   The command is done.

`1`
:   Some of several inputs failed. One line on stderr names each; the others are done. Or `inspect`
    has found problems.

`2`
:   The command cannot continue. One line on stderr says why; see [messages](messages.md).

`130`
:   The command was interrupted by Ctrl-C or SIGTERM, and has kept what was done.

`141`
:   The program that read the output has gone.
"""


def commands_page() -> str:
    """Return the page as Markdown."""
    names = re.findall(r"^\s+• (\S+) ", help_of(), re.MULTILINE)
    return "\n".join([HEAD, *(_section(name) for name in names)])


def help_of(*command: str) -> str:
    """Return what `diffrect COMMAND --help` prints on a wide terminal without colours."""
    printed = io.StringIO()
    before = dict(os.environ)
    os.environ |= {"COLUMNS": WIDE, "NO_COLOR": "1", "TERM": "dumb"}
    try:
        with contextlib.redirect_stdout(printed):
            main([*command, "--help"])
    finally:
        os.environ.clear()
        os.environ |= before
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())


def _section(name: str) -> str:
    text = help_of(name)
    usage, description = text.split("\n\n")[:2]
    usage = " ".join(usage.removeprefix("usage: ").split())
    lines = [f"## {name}\n", " ".join(description.split()) + "\n", f"```text\n{usage}\n```\n"]
    for title, items in _boxes(text):
        lines.append(f"**{title.capitalize()}**\n")
        for spelling, words in items:
            lines.append(f"`{spelling}`\n:   {_escaped(words)}\n")
    return "\n".join(lines)


def _boxes(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the title of each box of a help text, and its options with their explanations."""
    blocks = re.split(r"^ (.+?) *\n -+ *\n", text, flags=re.MULTILINE)[1:]
    for title, body in zip(blocks[::2], blocks[1::2], strict=True):
        items: list[tuple[str, list[str]]] = []
        for line in filter(str.strip, body.splitlines()):
            content = line.removeprefix("  ").rstrip()
            if content.startswith(" "):  # the explanation continues
                items[-1][1].append(content.strip())
            else:
                spelling, *words = re.split(r"\s{2,}", content, maxsplit=1)
                items.append((spelling, words))
        shown = [(spelling, " ".join(words)) for spelling, words in items]
        yield title, [item for item in shown if not item[0].startswith("-h")]


def _escaped(words: str) -> str:
    return re.sub(r"([*_<>|])", r"\\\1", words)
