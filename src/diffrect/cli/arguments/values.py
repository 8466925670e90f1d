"""A word of the command line -> the value of an argument."""

from pathlib import Path
from typing import Any

from diffrect.cli.arguments.nearest import did_you_mean
from diffrect.cli.arguments.spec import Argument
from diffrect.errors import InputError

_MOST_DIGITS = 4300  # Python reads no whole number of more


def value_of(argument: Argument, word: str, hint: str) -> Any:
    """Return what a word says as a value of an argument.

    Args:
        argument: what the value is for.
        word: as it was typed.
        hint: what messages end with.

    Raises:
        InputError: it is no such value.
    """
    if argument.choices:
        return _choice(argument, word, hint)
    if argument.kind is Path:
        if not word:
            raise _refusal(argument, "a path", "''", hint)
        return Path(word)
    if argument.kind is str:
        return word
    expected = "a whole number" if argument.kind is int else "a number"
    try:
        return argument.kind(word)
    except ValueError:
        got = repr(word)
        digits = word.strip().lstrip("+-")
        if digits.isdecimal() and len(digits) > _MOST_DIGITS:
            got = f"one of {len(digits)} digits"
        raise _refusal(argument, expected, got, hint) from None


def _choice(argument: Argument, word: str, hint: str) -> str:
    if word in argument.choices:
        return word
    guess = did_you_mean(word, argument.choices)
    expected = f"one of {', '.join(argument.choices)}"
    raise _refusal(argument, expected, repr(word), f"{guess}{hint}")


def _refusal(argument: Argument, expected: str, got: str, hint: str) -> InputError:
    return InputError(argument.label, expected, got=got, hint=hint, setting=argument.name)
