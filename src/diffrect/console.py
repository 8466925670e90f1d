"""Everything that speaks to the terminal: messages, progress bars, counted nouns.

Results go to stdout, everything else to stderr, so that a pipe receives results only.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from diffrect.processes import speaker

Item = TypeVar("Item")


def stderr_console(*, quiet: bool = False) -> Console:
    """Return a rich console on stderr that prints text as it is: no markup, no colours of numbers.

    Args:
        quiet: print nothing.
    """
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=quiet)


def tell(line: str) -> None:
    """Print a message on stderr, in one line whatever the width of the terminal."""
    stderr_console().print(line)


def warn(message: str) -> None:
    """Print `diffrect: MESSAGE` on stderr; of several processes, name the one that speaks."""
    rank = speaker()
    who = "diffrect" if rank == "0" else f"diffrect (process {rank})"
    print(f"{who}: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(message: str) -> str:
    """Return a message without line breaks and without characters that steer a terminal.

    File names may hold both.
    """
    flat = " ".join(message.splitlines())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in flat)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 case`, `2 cases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def progress_bar(
    items: Iterable[Item], description: str, shown: bool, total: int | None = None
) -> Iterator[Item]:
    """Iterate with a progress bar on stderr; a log file gets none.

    Args:
        items: what to iterate over.
        description: what the bar says.
        shown: whether to show it at all.
        total: number of items, for iterables that have no length.
    """
    console = Console(stderr=True)
    hidden = not (shown and console.is_terminal)
    yield from track(items, description, total, console=console, disable=hidden)
