"""The last line of every command: what comes next."""

import shlex
from pathlib import Path

from diffrect.console import say


def next_line(*parts: str | Path) -> str:
    """Return `next: ` and a command or a sentence; paths are quoted as a shell needs them."""
    words = (shlex.quote(str(part)) if isinstance(part, Path) else part for part in parts)
    return f"next: {' '.join(words)}"


def say_next(*parts: str | Path) -> None:
    """Print `next_line` on stdout."""
    say(next_line(*parts))
