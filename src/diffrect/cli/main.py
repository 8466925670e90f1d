"""The command line: arguments in, an exit code out, and every error of the user as one line.

Exit codes: 0 done, 1 some of several inputs failed, 2 bad input, 130 interrupted, 141 nobody reads
the output any more.
"""

import contextlib
import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import tyro
import yaml

from diffrect.cli.commands import COMMANDS, Command, Train
from diffrect.cli.compare import Compare
from diffrect.config import TrainConfig, parse_options, read_config
from diffrect.distributed.ranks import leave_after_parent
from diffrect.errors import InputError
from diffrect.runs.folder import CONFIG_FILE
from diffrect.version import package_version

# Nobody's mistake in the code: the message alone says what to do about it.
_ENVIRONMENT_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ESTALE,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MARKERS = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.PositionalMetavarFromFieldName,
    tyro.conf.DisallowNone,
    tyro.conf.SuppressFixed,
)
# tyro's words for a bad value -> ours: option, expected, got.
_REWORDED = (
    (r"Error parsing (\S+): invalid literal for int\(\).*: ", r"\1: expected a whole number, got "),
    (r"Error parsing (\S+): could not convert string to float: ", r"\1: expected a number, got "),
    (
        r"invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*)\)",
        r"\2: expected one of \3, got \1",
    ),
    (r"Missing value for argument '(\S+)'\. Expected 1 values", r"\1: expected a value, got none"),
)
_DESCRIPTION = """\
Semi-supervised medical image segmentation with latent diffusion label rectification.
  diffrect inspect SOURCE
  diffrect prepare SOURCE STORE         diffrect train STORE RUN
  diffrect evaluate RUN                 diffrect predict RUN OUT IMAGE...
  diffrect compare STORE FOLDER         diffrect compare FOLDER --table

diffrect COMMAND --help explains a command, diffrect --version prints the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; bad input is told in one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name must not break a message
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        if code:
            leave_after_parent()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; what is left in the buffer goes nowhere, silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _run(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["--version"]:
            print(f"diffrect {package_version()}")
        else:
            command = parse(arguments)
            with _options_of_files(command, arguments), _sigterm_interrupts():
                command()
    except InputError as error:
        return _report(error)
    except KeyboardInterrupt as interrupt:
        _complain(str(interrupt) or "interrupted")
        return 130
    except OSError as error:
        if error.errno not in _ENVIRONMENT_ERRORS:
            raise
        advice = _advice(arguments) if error.errno in _FULL else ""
        _complain(f"error: {error.filename or 'output'}: {error.strerror}{advice}")
        return 2
    except SystemExit as stop:  # --help
        return stop.code if isinstance(stop.code, int) else 0
    return 0


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: tidied up, told, and with what is done kept.

    Training has its own way, see `StopRequest`. Another one while tidying up is too many.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _advice(arguments: list[str]) -> str:
    """How a command goes on once there is room on the disk again."""
    flags = {"train": "--resume", "prepare": "--resume", "predict": "--overwrite"}
    flag = flags.get(arguments[0]) if arguments else None
    if flag is None or flag in arguments or "--repair" in arguments:
        return "; free some space, then repeat the command"
    instead = " in place of --overwrite" if "--overwrite" in arguments else ""
    return f"; free some space, then repeat the command with {flag}{instead}"


def parse(arguments: list[str]) -> Command:
    """The command that the arguments spell, with everything that train is told resolved.

    Raises:
        InputError: they spell none.
        SystemExit: help was asked for, and printed.
    """
    command: Command = _parse(COMMANDS, arguments, "diffrect")
    if isinstance(command, Train):
        return _resolve(command, arguments[1:])
    return _resolve_compare(command, arguments[1:]) if isinstance(command, Compare) else command


def _resolve(command: Train, arguments: list[str]) -> Train:
    """The saved configuration if resuming, then --config, then the options given."""
    saved = command.run / CONFIG_FILE
    settings = read_config(saved) if command.resume and saved.is_file() else TrainConfig()
    if command.config is not None:
        settings = read_config(command.config, settings)
    # They become the defaults of a second reading, so that the options given win. Flags start
    # unset again, because a flag that is set by default can only be taken back.
    base = Train(command.store, command.run, settings, config=command.config)
    command = _parse(Train, arguments, "diffrect train", default=base)
    options = {**command.settings.options, **parse_options(list(command.option))}
    return replace(command, settings=replace(command.settings, options=options))


def _resolve_compare(command: Compare, arguments: list[str]) -> Compare:
    """--config, then the options given."""
    if command.config is not None:
        settings = read_config(command.config, command.settings)
        base = Compare(command.places, settings=settings)
        command = _parse(Compare, arguments, "diffrect compare", default=base)
    options = {**command.settings.options, **parse_options(list(command.option))}
    return replace(command, settings=replace(command.settings, options=options))


@contextlib.contextmanager
def _options_of_files(command: Command, arguments: list[str]) -> Iterator[None]:
    """Errors in options that nobody gave on the command line name the file that holds them."""
    try:
        yield
    except InputError as error:
        file = _options_file(command)
        found = re.match(r"--(?:option )?(\w[\w-]*)", str(error))
        if file is None or found is None or found[1].replace("-", "_") not in _written(file):
            raise
        given = {part.replace("-", "_") for a in arguments for part in a.lstrip("-").split("=")}
        if found[1].replace("-", "_") in given:
            raise
        raise InputError(f"{file}: {str(error).removeprefix('--option ').lstrip('-')}") from None


def _options_file(command: Command) -> Path | None:
    if not isinstance(command, Train):
        return None
    saved = command.run / CONFIG_FILE
    return command.config or (saved if command.resume and saved.is_file() else None)


def _written(file: Path) -> set[str]:
    """The names of all options in a configuration file."""
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return {*content, *(content.get("options") or {})}


def _parse(kind: Any, arguments: list[str], program: str, **default: Any) -> Any:
    """What tyro makes of the arguments; its complaints become an InputError of one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), _unwrapped(arguments):
            return tyro.cli(
                kind,
                prog=program,
                description=_DESCRIPTION,
                args=arguments,
                config=_MARKERS,
                **default,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(summarise_box(errors.getvalue())) from None
    except InputError as error:  # a value that its dataclass refuses, under the field's name
        name, colon, rest = str(error).partition(":")
        raise InputError(f"--{name.replace('_', '-')}{colon}{rest}") from None


@contextlib.contextmanager
def _unwrapped(arguments: list[str]) -> Iterator[None]:
    """Keep tyro from breaking lines, and long names with them, in what becomes one line."""
    before = os.environ.get("COLUMNS")
    if not {"-h", "--help"} & set(arguments):
        os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if before is not None:
            os.environ["COLUMNS"] = before
        elif "COLUMNS" in os.environ:
            del os.environ["COLUMNS"]


def summarise_box(text: str) -> str:
    """One line with what tyro says in a box: the message and its hints, without help texts."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip("╭╮╰╯│─ ") for line in plain.splitlines()]
    sections: list[list[str]] = [[]]
    for line in lines[1:]:  # after the title; rules are dashes where the terminal has no ─
        if line.strip("-"):
            sections[-1].append(line)
        else:
            sections.append([])
    what, *hints = [section for section in sections if section] or [lines]
    message = " ".join(what)
    for pattern, ours in _REWORDED:
        message = re.sub(pattern, ours, message)
    parts = [message]
    for hint in hints:
        if hint[0].startswith(("Perhaps", "Available")):
            parts.append(" ".join(hint[:2]))
        elif hint[0].startswith("For full helptext"):
            parts.append(re.sub(r"For full helptext, (run|see):?", "see", " ".join(hint)))
    return "; ".join(part.rstrip(".") for part in parts)


def _report(error: InputError) -> int:
    """Tell what is wrong, one line for each input, and choose the exit code."""
    failures: dict[Path, str] = getattr(error, "failures", {})
    for message in failures.values() or [str(error)]:
        _complain(f"error: {message}")
    return 1 if getattr(error, "written", None) else error.exit_code


def _complain(message: str) -> None:
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    who = "diffrect" if rank == "0" else f"diffrect (process {rank})"
    print(f"{who}: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(message: str) -> str:
    """A message without line breaks and without what steers a terminal, such as file names hold."""
    flat = " ".join(message.splitlines())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in flat)
