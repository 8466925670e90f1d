"""The exceptions that mean: what the user gave us is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from diffrect.console import one_line, visible

_LONGEST = 500  # characters of a value in a message
_LONGEST_NAME = 1000  # of a file or the words of a library
_LONGEST_PART = {"got": _LONGEST, "found": _LONGEST, "reason": _LONGEST_NAME}


def brief(value: object, longest: int | None = _LONGEST) -> str:
    """Return a value as text of at most `longest` characters, the middle left out; None: of any."""
    try:
        text = str(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    if longest is None or len(text) <= longest:
        return text
    kept = longest // 2 - 3
    return f"{text[:kept]} ... {text[-kept:]}"


class InputError(ValueError):
    """Report bad input from outside: a file, a folder, an option.

    The parts spell one line, for example `scan.nii: expected one channel, got 3; try --channel 0`,
    in which characters that steer a terminal are escapes.
    The command line prints that line and exits with code 2. Any other exception is a programming
    error and keeps its traceback.

    Example:
        >>> import diffrect
        >>> error = diffrect.InputError("scan.nii", "one channel", got=3, hint="try --channel 0")
        >>> print(error)
        scan.nii: expected one channel, got 3; try --channel 0

    Args:
        subject: the file, folder, option or command that is wrong. On its own it is the whole line,
            as when an exception comes back from another process as text.
        expected: what should have been there, without the word "expected".
        got: what the user gave instead.
        found: what was there instead; like `got`, for what was read and not given.
        reason: why something could not be done, often the words of a library.
        problem: what is wrong, in place of `expected`.
        hint: what to do about it.
        setting: name of the configuration field that is wrong, so that the command line can name
            the option or the file that set it.
    """

    exit_code = 2

    def __init__(
        self,
        subject: object,
        expected: object = None,
        *,
        got: object = None,
        found: object = None,
        reason: object = None,
        problem: object = None,
        hint: object = None,
        setting: str | None = None,
    ) -> None:
        super().__init__(subject)
        self.subject = subject
        self.parts: dict[str, object] = {
            "expected": expected,
            "got": got,
            "found": found,
            "reason": reason,
            "problem": problem,
            "hint": hint,
        }
        self.setting = setting

    def about(self, subject: object) -> Self:
        """Return the same error with another subject."""
        self.args, self.subject = (subject,), subject
        return self

    def __str__(self) -> str:
        parts = {
            name: one_line(brief(part, _LONGEST_PART.get(name)))
            for name, part in self.parts.items()
            if part is not None
        }
        line = visible(brief(self.subject, _LONGEST_NAME))
        if "problem" in parts:
            line += f": {parts['problem']}"
        if "expected" in parts:
            line += f": expected {parts['expected']}"
        line += "".join(f", {verb} {parts[verb]}" for verb in ("got", "found") if verb in parts)
        if "reason" in parts:
            line += f": {parts['reason']}"
        if "hint" in parts:
            line += f"; {parts['hint']}"
        return line

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross a process boundary with all parts."""
        return (_rebuild, (type(self), dict(self.__dict__), self.args))

    @property
    def lines(self) -> Sequence[str]:
        """What to print: one line per thing that is wrong."""
        return (str(self),)


def _rebuild(kind: type[InputError], state: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class PartialFailure(InputError):  # noqa: N818  the name says that the rest was done
    """Report that some of several inputs failed and the others were done.

    Args:
        subject: the whole line.
        done: what was made, for example the files written.
        failures: what is wrong with each of the other inputs, one line each.
    """

    def __init__(
        self, subject: object, done: Sequence[Path], failures: Mapping[Path, str] | None = None
    ) -> None:
        super().__init__(subject)
        self.done = list(done)
        self.failures = dict(failures or {})

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """1 if anything was done, else 2 as for any bad input."""
        return 1 if self.done else 2

    @property
    def lines(self) -> Sequence[str]:
        """One line per input that failed, or the summary if none is named."""
        return tuple(self.failures.values()) or (str(self),)
