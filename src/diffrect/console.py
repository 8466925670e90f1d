"""Everything that speaks to the terminal: messages, tables, progress bars, counted nouns.

Results go to stdout, everything else to stderr, so that a pipe receives results only. All of it
passes `visible`, because names of files, classes and patients come from strangers.
"""

import io
import json
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from diffrect.processes import speaker

Item = TypeVar("Item")

# Letters and marks that have no width, though Python counts them as printable: fillers and
# selectors of variants, of the property Default_Ignorable_Code_Point.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_format_warning = warnings.formatwarning
_LONGEST_SUMMARY = 300  # characters


def visible(text: str) -> str:
    r"""Return text in which every character that could steer a terminal or a reader is an escape.

    Control characters, line breaks, marks that turn the direction of writing, characters without
    width, spaces of other kinds and halves of surrogate pairs become what Python writes for them,
    such as `\x1b`, `\n` and `\u202e`. A backslash stays as it is.
    """
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(
        c if c.isprintable() and not _UNSEEN.match(c) else c.encode("unicode_escape").decode()
        for c in text
    )


def one_line(message: str) -> str:
    """Return a message of several lines in one, `visible`; for the words of libraries."""
    return visible(re.sub(r"\r?\n", " ", message))


def plain(text: str) -> str:
    """Return text for a table or a line of rich: without markup, and `visible`."""
    return escape(visible(text))


class PlainConsole(Console):
    """A console of rich in which only its own styles steer the terminal.

    Whatever text a renderable holds is made `visible`; its line breaks stay.
    """

    def on_broken_pipe(self) -> None:
        """Leave it to the command line that nobody reads the output any more."""
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn text into what rich lays out, so that the width of escapes counts."""
        return super().render_str(_visible_lines(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render anything; text that did not come through `render_str` is caught here."""
        for segment in super().render(renderable, options):
            shown = segment.control or segment.text.isprintable()
            yield segment if shown else segment._replace(text=_visible_lines(segment.text))


def stderr_console(*, quiet: bool = False) -> Console:
    """Return a rich console on stderr that prints text as it is: no markup, no colours of numbers.

    Args:
        quiet: print nothing.
    """
    return PlainConsole(
        stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False, quiet=quiet
    )


def stdout_console(*, soft_wrap: bool = False) -> Console:
    """Return a rich console on stdout, for tables; names in them must be `plain`.

    Args:
        soft_wrap: leave the breaking of lines to the terminal.
    """
    return PlainConsole(soft_wrap=soft_wrap, highlight=False, emoji=False)


def say(line: str) -> None:
    """Print a result on stdout, in one line."""
    print(visible(line), flush=True)


def say_lines(text: str) -> None:
    """Print a result of several lines on stdout."""
    print(_visible_lines(text), end="", flush=True)


def show(text: Text) -> None:
    """Print a text of several lines on stdout as it is laid out, with its styles on a terminal."""
    stdout_console(soft_wrap=True).print(text, end="")


def say_json(content: Any) -> None:
    """Print a result as JSON on stdout, in ASCII: every other character is an escape of JSON."""
    print(json.dumps(content, indent=1), flush=True)


def tell(line: str) -> None:
    """Print a message on stderr, in one line whatever the width of the terminal."""
    stderr_console().print(visible(line))


def warn(message: str) -> None:
    """Print `diffrect: MESSAGE` on stderr; of several processes, name the one that speaks."""
    rank = speaker()
    who = "diffrect" if rank == "0" else f"diffrect (process {rank})"
    print(f"{who}: {visible(message)}", file=sys.stderr, flush=True)


def show_traceback(error: BaseException) -> None:
    """Print the traceback of a fault of the program on stderr."""
    lines = "".join(traceback.format_exception(error)).rstrip("\n")
    print(_visible_lines(lines), file=sys.stderr, flush=True)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 case`, `2 cases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary(value: object, text: str) -> str:
    """Return what a value is in one line of at most some hundred characters, for `__repr__`.

    Args:
        value: the value, whose class is named.
        text: what it is; the middle of a long text is left out.
    """
    line = visible(text)
    if len(line) > _LONGEST_SUMMARY:
        half = _LONGEST_SUMMARY // 2
        line = f"{line[:half]} ... {line[-half:]}"
    return f"<{type(value).__name__}: {line}>"


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
    from rich.progress import track  # the help has no bar, and should appear at once

    console = PlainConsole(stderr=True, emoji=False)
    hidden = not (shown and console.is_terminal)
    yield from track(items, plain(description), total, console=console, disable=hidden)


def speak_plainly() -> None:
    """Make what libraries and Python itself print `visible` too: warnings, logs, tracebacks.

    Text that the terminal's encoding lacks becomes escapes instead of an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _visible_warning
    logging.setLogRecordFactory(_VisibleRecord)
    sys.excepthook = _show_uncaught


class _VisibleRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  the name is logging's
        return visible(super().getMessage())


def _visible_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    return _visible_lines(_format_warning(message, category, filename, lineno, line))


def _show_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    show_traceback(error.with_traceback(trace))


def _visible_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))
