"""What `--logger` names: the package's loggers, and a user's own. Nothing here loads PyTorch."""

import ast
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from tokenize import OP, TokenError, generate_tokens
from typing import Any

from diffrect.errors import InputError, brief

BUILT_IN = ("tensorboard", "csv", "png", "mlflow", "wandb")
NONE = "none"
WITHOUT_PICTURES = {"csv"}
_PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}
_EXPECTED = f"one of {', '.join(BUILT_IN)}, {NONE}, or package.module:Class(...)"


@dataclass(frozen=True)
class Wanted:
    """One logger that a user asks for.

    Attributes:
        name: one of `BUILT_IN`, or package.module:Class.
        arguments: positional arguments of a user's own class.
        named: its named ones.
    """

    name: str
    arguments: Sequence[Any] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What messages call it."""
        return f"--logger {brief(self.name, 100)}"


def parse_loggers(text: str) -> tuple[Wanted, ...]:
    """Return the loggers that a text such as `tensorboard,csv` names; none for `none`.

    The arguments of a user's own are plain values of Python: numbers, text, lists.

    Raises:
        InputError: there is no such logger, or one is named twice.
    """
    items = _items(text)
    if items == [NONE]:
        return ()
    wanted = tuple(_parse(item) for item in items)
    names = [each.name for each in wanted]
    twice = next((name for name in names if name in BUILT_IN and names.count(name) > 1), None)
    if twice is not None:
        raise _refused(text, "each logger once", got=f"{twice} twice")
    return wanted


def check_packages(wanted: Sequence[Wanted]) -> None:
    """Check that the packages of the package's loggers are installed, without importing them.

    Raises:
        InputError: naming the one that is not.
    """
    for each in wanted:
        package = _PACKAGES.get(each.name)
        if package and package not in sys.modules and find_spec(package) is None:
            raise InputError(
                each.subject,
                f"the package {package}",
                found="that it is not installed",
                hint=f"pip install {package}",
                setting="logger",
            )


def takes_pictures(wanted: Sequence[Wanted]) -> bool:
    """Return whether a logger may take pictures."""
    return any(each.name not in WITHOUT_PICTURES for each in wanted)


def _items(text: str) -> list[str]:
    """Split a text at its commas, but for those in brackets and quotes."""
    items, depth, start = [], 0, 0
    if "\n" in text or "\r" in text:
        raise _refused(text)
    try:
        for token in generate_tokens(io.StringIO(text).readline):
            if token.type == OP:
                depth += (token.string in "([{") - (token.string in ")]}")
                if token.string == "," and not depth:
                    items.append(text[start : token.start[1]])
                    start = token.end[1]
    except (TokenError, SyntaxError):
        raise _refused(text) from None
    return [item.strip() for item in [*items, text[start:]]]


def _parse(item: str) -> Wanted:
    if item in BUILT_IN:
        return Wanted(item)
    module, colon, call = item.partition(":")
    if not colon or not re.fullmatch(r"\w+(\.\w+)*", module):
        raise _refused(item)
    try:
        node = ast.parse(call.strip(), mode="eval").body
        made = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        arguments = tuple(ast.literal_eval(value) for value in made.args)
        named = {str(each.arg): ast.literal_eval(each.value) for each in made.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise _refused(item, "plain values of Python in its brackets") from None
    if not isinstance(made.func, ast.Name) or "None" in named:  # or **{...}
        raise _refused(item)
    return Wanted(f"{module}:{made.func.id}", arguments, named)


def _refused(text: str, expected: str = _EXPECTED, got: object = None) -> InputError:
    return InputError(f"--logger {brief(text, 100)}", expected, got=got, setting="logger")
