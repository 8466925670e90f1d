"""Turn the arguments of the command line into a command; say in one line why they are none.

tyro reads the arguments. Its complaints come as text in a box, which `summarise_box` reduces to one
line in the words of all other errors.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from diffrect.checks import at_least
from diffrect.cli.commands import COMMANDS, Command
from diffrect.cli.compare import Compare
from diffrect.cli.train import Train
from diffrect.config import Role, TrainConfig, names_with, parse_options, read_config
from diffrect.errors import InputError, brief
from diffrect.runs.names import CONFIG_FILE
from diffrect.runs.saved import saved_config
from diffrect.text_files import read_yaml

_MARKERS = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.PositionalMetavarFromFieldName,
    tyro.conf.DisallowNone,
    tyro.conf.SuppressFixed,
)
# tyro's words for a bad value -> ours: option, expected, got.
_REWORDED = (
    (r"Error parsing (\S+): invalid literal for int\(\).*: ", r"\1: expected a whole number, got "),
    (
        r"Error parsing (\S+): Exceeds the limit .*: value has (\d+) digits;.*limit",
        r"\1: expected a whole number, got one of \2 digits",
    ),
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


def parse(arguments: list[str]) -> Command:
    """Return the command that the arguments spell, with the settings of a training resolved.

    Raises:
        InputError: the arguments spell no command.
        SystemExit: help was asked for, and printed.
    """
    for argument in arguments:
        if "\0" in argument:
            raise InputError("command line", "text without zero bytes", got=brief(repr(argument)))
    command: Command = _parse(COMMANDS, arguments, "diffrect")
    if isinstance(command, Train):
        return _resolve(command, arguments[1:])
    return _resolve_compare(command, arguments[1:]) if isinstance(command, Compare) else command


def _resolve(command: Train, arguments: list[str]) -> Train:
    """Apply the saved configuration if the command resumes, then --config, then the options."""
    saved = command.run / CONFIG_FILE
    settings = read_config(saved) if command.resume and saved.is_file() else TrainConfig()
    if command.config is not None:
        settings = read_config(command.config, settings)
    # They become the defaults of a second reading, so that the options given win. Flags start
    # unset again, because a flag that is set by default can only be taken back.
    base = Train(command.store, command.run, settings, config=command.config)
    command = _parse(Train, arguments, "diffrect train", default=base)
    return replace(command, settings=_with_options(command))


def _resolve_compare(command: Compare, arguments: list[str]) -> Compare:
    """Apply --config, then the options."""
    if command.config is not None:
        settings = read_config(command.config, command.settings)
        base = Compare(command.places, settings=settings)
        command = _parse(Compare, arguments, "diffrect compare", default=base)
    return replace(command, settings=_with_options(command))


def _with_options(command: Train | Compare) -> TrainConfig:
    """Return the settings of a command with what --option and --rectify-from set in them."""
    options = {**command.settings.options, **parse_options(list(command.option))}
    if command.rectify_from is not None:
        at_least("--rectify-from", command.rectify_from, 0)
        options["rectify_from"] = command.rectify_from
    return replace(command.settings, options=options)


def check_resume(command: Command, arguments: list[str]) -> None:
    """Check that --resume has something to resume, unless the command says what to train.

    Options that say only where and how do not.

    Raises:
        InputError: it would train all defaults, which nobody asked for.
    """
    if not (isinstance(command, Train) and command.resume):
        return
    given = {a.split("=")[0].lstrip("-").replace("-", "_") for a in arguments if a[:2] == "--"}
    named = names_with(Role.COMPARED, Role.RESULT, Role.PATIENTS)
    if not given.intersection((*named, "config", "option", "rectify_from", "cross_validate")):
        saved_config(command.run)


@contextlib.contextmanager
def settings_of_files(command: Command, arguments: list[str]) -> Iterator[None]:
    """Make errors in settings name the configuration file that holds them.

    An option of the command line wins over the file, and then the error names the option.
    """
    try:
        yield
    except InputError as error:
        file = _settings_file(command)
        if error.setting is None or file is None or error.setting not in _written(file):
            raise
        given = {part.replace("-", "_") for a in arguments for part in a.lstrip("-").split("=")}
        if error.setting in given:
            raise
        field = str(error.subject).removeprefix("--option ").removeprefix("--")
        raise error.about(f"{file}: {field}") from None


def _settings_file(command: Command) -> Path | None:
    if not isinstance(command, Train):
        return None
    saved = command.run / CONFIG_FILE
    return command.config or (saved if command.resume and saved.is_file() else None)


def _written(file: Path) -> set[str]:
    """Return the names of all settings in a configuration file."""
    content = read_yaml(file) or {}
    return {*content, *(content.get("options") or {})}


def _parse(kind: Any, arguments: list[str], program: str, **default: Any) -> Any:
    """Read the arguments with tyro; its complaints become an InputError of one line."""
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
    except InputError as error:  # a dataclass refuses a value, under the name of its field
        raise error.about(f"--{str(error.subject).replace('_', '-')}") from None


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
    """Return in one line what tyro says in a box: the message and its hints, no help texts."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip("╭╮╰╯│─ ") for line in plain.splitlines()]
    sections: list[list[str]] = [[]]
    for line in lines[1:]:  # after the title; rules are dashes where the terminal has no ─
        if line.strip("-"):
            sections[-1].append(line)
        else:
            sections.append([])
    what, *hints = [section for section in sections if section] or [lines]
    message = brief(re.sub(r"\S{500,}", lambda match: brief(match[0]), " ".join(what)), 1500)
    for pattern, ours in _REWORDED:
        message = re.sub(pattern, ours, message)
    parts = [message]
    for hint in hints:
        if hint[0].startswith(("Perhaps", "Available")):
            parts.append(" ".join(hint[:2]))
        elif hint[0].startswith("For full helptext"):
            parts.append(re.sub(r"For full helptext, (run|see):?", "see", " ".join(hint)))
    return "; ".join(part.rstrip(".") for part in parts)
