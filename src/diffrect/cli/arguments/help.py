"""The help of a command, and of the program, as text for a terminal."""

import inspect
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from diffrect.cli.arguments.spec import Argument, arguments_of

_WIDEST = 100  # columns; longer lines are hard to read
_INDENT = 26  # columns before the explanations


def help_of_command(command: type, program: str) -> Text:
    """Return the help of a command: its usage, what it does, and its arguments by group."""
    text = Text()
    _head(text, "usage: ", usage_of(command, program))
    for paragraph in (inspect.getdoc(command) or "").split("\n\n"):
        text.append("\n" + _filled(" ".join(paragraph.split())) + "\n")
    for title, arguments in groups_of(command).items():
        items = [(each.spelling, explained(each)) for each in arguments]
        add_section(text, title, items)
    add_section(text, "help", [("-h, --help", "Show this text.")])
    return text


def help_of_program(program: str, description: str, commands: Mapping[str, type]) -> Text:
    """Return the help of the program: what it is, and its commands."""
    text = Text()
    _head(text, "usage: ", f"{program} COMMAND ...")
    text.append(f"\n{description}\n")
    add_section(text, "commands", [(name, summary_of(kind)) for name, kind in commands.items()])
    return text


def usage_of(command: type, program: str) -> str:
    """Return how a command is called: `diffrect train [OPTIONS] STORE RUN`."""
    places = [
        each.metavar if each.required else f"[{each.metavar}]"
        for each in arguments_of(command)
        if each.place
    ]
    return " ".join([program, "[OPTIONS]", *places])


def summary_of(command: type) -> str:
    """Return the first paragraph of what a command says of itself."""
    return " ".join((inspect.getdoc(command) or "").split("\n\n")[0].split())


def groups_of(command: type) -> dict[str, list[Argument]]:
    """Return the arguments of a command by their titles, places first and its own options last."""
    groups: dict[str, list[Argument]] = {"arguments": []}
    arguments = arguments_of(command)
    for each in sorted(arguments, key=lambda argument: argument.title == "options"):
        groups.setdefault(each.title, []).append(each)
    return groups


def explained(argument: Argument) -> str:
    """Return the sentences about an argument, with its default."""
    return f"{argument.text} ({argument.note})" if argument.note else argument.text


def _head(text: Text, word: str, usage: str) -> None:
    text.append(word, style="bold")
    text.append(f"{usage}\n")


def add_section(text: Text, title: str, items: Iterable[tuple[str, str]]) -> None:
    """Append a title and under it, in two columns, names and what they mean."""
    text.append(f"\n{title}:\n", style="bold")
    for label, words in items:
        first, *others = _lines(words)
        text.append(f"  {label}", style="cyan")
        if len(label) + 4 > _INDENT:
            text.append("\n" + " " * _INDENT + first + "\n")
        else:
            text.append(" " * (_INDENT - len(label) - 2) + first + "\n")
        text.append("".join(f"{' ' * _INDENT}{line}\n" for line in others))


def _lines(words: str) -> Sequence[str]:
    return textwrap.wrap(words, max(20, _width() - _INDENT), break_on_hyphens=False) or [""]


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, max(20, _width()), break_on_hyphens=False)


def _width() -> int:
    return min(_WIDEST, shutil.get_terminal_size().columns)
