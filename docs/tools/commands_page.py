"""Write reference/commands.md from what the help of the commands is made of."""

import inspect
import re

from diffrect.cli.arguments.help import explained, groups_of, usage_of
from diffrect.cli.commands import COMMANDS

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
:   The command cannot continue. One line on stderr says why; see messages [about the command
    line](messages-commands.md), [about files](messages.md) and [about data
    sets](messages-data-sets.md).

`130`
:   The command was interrupted by Ctrl-C or SIGTERM, and has kept what was done.

`141`
:   The program that read the output has gone.

`--name value` and `--name=value` are the same. Of an option that is given twice the last counts,
except where it is repeatable. After `--`, every word is a path, even if it begins with a dash.
"""


def commands_page() -> str:
    """Return the page as Markdown."""
    return "\n".join([HEAD, *(_section(name, kind) for name, kind in COMMANDS.items())])


def _section(name: str, command: type) -> str:
    description = " ".join((inspect.getdoc(command) or "").split())
    usage = usage_of(command, f"diffrect {name}")
    lines = [f"## {name}\n", f"{description}\n", f"```text\n{usage}\n```\n"]
    for title, arguments in groups_of(command).items():
        lines.append(f"**{title.capitalize()}**\n")
        for each in arguments:
            lines.append(f"`{each.spelling}`\n:   {_escaped(explained(each))}\n")
    return "\n".join(lines)


def _escaped(words: str) -> str:
    return re.sub(r"([*_<>|])", r"\\\1", words)
