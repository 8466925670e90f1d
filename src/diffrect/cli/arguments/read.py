"""Words of a command line -> the values that they give to the arguments of a command."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from diffrect.cli.arguments.nearest import bare, begins_with_dash, did_you_mean
from diffrect.cli.arguments.spec import Argument, arguments_of, flag_of, group_of
from diffrect.cli.arguments.values import value_of
from diffrect.errors import InputError, brief

T = TypeVar("T")


def read(
    command: type,
    words: Sequence[str],
    program: str,
    explain: Callable[[str], str] = lambda _: "",
) -> dict[str, Any]:
    """Return the values that words give, by the names of the arguments; no defaults.

    `--name value` and `--name=value` are the same, `_` in a name is `-`, of an option given twice
    the last counts, and all words after `--` are places.

    Args:
        command: the dataclass of the command.
        words: what was typed after the name of the command.
        program: how the command is called, for messages.
        explain: says what else a name may be that is no option, as the beginning of a hint.

    Raises:
        InputError: an option that does not exist, a value that is missing, of the wrong kind or one
            too many.
    """
    return _Reader(command, program, explain).read(words)


def build(command: type[T], given: Mapping[str, Any], **bases: Any) -> T:
    """Return a command with the values given, and defaults for all others.

    Args:
        command: the dataclass of the command.
        given: see `read`.
        bases: for fields that hold a dataclass of options, the values that it begins with.

    Raises:
        InputError: a value that its dataclass refuses, under the name of its option.
    """
    kind: Any = command
    groups: dict[str | None, dict[str, Any]] = {None: {}}
    for argument in arguments_of(kind):
        if argument.name in given:
            groups.setdefault(argument.group, {})[argument.name] = given[argument.name]
    values = groups[None]
    try:
        for field in dataclasses.fields(kind):
            held = group_of(field)
            if held is not None:
                inside = groups.get(field.name, {})
                base = bases.get(field.name) or held()
                values[field.name] = dataclasses.replace(base, **inside)
        return command(**values)
    except InputError as error:  # a dataclass refuses a value, under the name of its field
        if str(error.subject).startswith("-"):
            raise
        raise error.about(flag_of(str(error.subject))) from None


class _Reader:
    """Reads the words of one command line from left to right."""

    def __init__(self, command: type, program: str, explain: Callable[[str], str]) -> None:
        arguments = arguments_of(command)
        self.program, self.explain = program, explain
        self.hint = f"see {program} --help"
        options = [argument for argument in arguments if not argument.place]
        self.options = {bare(name): a for a in options for name in (*a.shown.formerly, a.name)}
        self.places = [a for a in arguments if a.place]
        self.given: dict[str, Any] = {}

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        left, typed = list(words), []
        while left:
            word = left.pop(0)
            if word == "--":
                typed += left
                break
            if begins_with_dash(word):
                self._option(word, left)
            else:
                typed.append(word)
        self._put(typed)
        return self.given

    def _option(self, word: str, left: list[str]) -> None:
        """Read an option; its values are taken from the words that are left."""
        name, equals, value = word.partition("=")
        argument = self.options.get(bare(name)) if name == name.lower() else None
        if argument is None or not name.startswith("--") or begins_with_dash(name[2:]):
            raise self._unknown(name)
        values = [value] if equals else []
        if argument.number == 0:
            if equals:
                raise self._refusal(argument, "no value, it is on if it is there", repr(value))
            self.given[argument.name] = True
            return
        wanted = argument.number or 1
        while len(values) < wanted and left and not _is_option(left[0]):
            values.append(left.pop(0))
        if len(values) < wanted:
            expected = "a value" if wanted == 1 else f"{wanted} values, {argument.metavar}"
            got = " ".join(map(repr, values)) or "none"
            raise self._refusal(argument, expected, got)
        read = tuple(value_of(argument, each, self.hint) for each in values)
        if argument.number is None:
            self.given[argument.name] = (*self.given.get(argument.name, ()), *read)
        else:
            self.given[argument.name] = read[0] if wanted == 1 else read

    def _put(self, typed: list[str]) -> None:
        """Give the words without an option to the places, in their order."""
        left = list(typed)
        for argument in self.places:
            if argument.number is None:
                self.given[argument.name] = tuple(
                    value_of(argument, word, self.hint) for word in left
                )
                return
            if left:
                self.given[argument.name] = value_of(argument, left.pop(0), self.hint)
            elif argument.required:
                raise self._refusal(argument, "a path", "none", f"the command is {self._usage()}, ")
        if left:
            raise InputError(brief(left[0]), f"no more than {self._usage()}", hint=self.hint)

    def _usage(self) -> str:
        return " ".join([self.program, *(place.metavar for place in self.places)])

    def _unknown(self, name: str) -> InputError:
        """Return what to say of an option that does not exist."""
        flags = [argument.label for argument in self.options.values()]
        other = "" if bare(name) in self.options else self.explain(bare(name))
        guess = other or did_you_mean(name, [*flags, "--help"])
        if not guess and name[1:2].isdigit():
            guess = f"write ./{name} for a path that begins with a dash, "
        problem = f"{self.program} has no such option"
        return InputError(brief(name), problem=problem, hint=f"{guess}{self.hint}")

    def _refusal(self, argument: Argument, expected: str, got: str, why: str = "") -> InputError:
        hint = f"{why}{self.hint}"
        return InputError(argument.label, expected, got=got, hint=hint, setting=argument.name)


def _is_option(word: str) -> bool:
    """Return whether a word is an option rather than the value of the one before it."""
    return word.startswith("--")
