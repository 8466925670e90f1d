"""The last line of every command: what comes next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from diffrect.console import say


def next_line(*parts: str | Path) -> str:
    """Return `next: ` and a command or a sentence; paths are quoted as a shell needs them."""
    words = (shlex.quote(str(part)) if isinstance(part, Path) else part for part in parts)
    return f"next: {' '.join(words)}"


def with_plugins(plugins: Sequence[str]) -> tuple[str | Path, ...]:
    """Return the options that name the same plug-ins again, as parts of `say_next`."""
    return tuple(part for name in plugins for part in ("--plugin", Path(name)))


def say_next(*parts: str | Path) -> None:
    """Print `next_line` on stdout."""
    say(next_line(*parts))
