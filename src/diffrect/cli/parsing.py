"""Turn the arguments of the command line into a command; say in one line why they are none."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffrect.checks import at_least
from diffrect.cli.arguments.help import help_of_command, help_of_program
from diffrect.cli.arguments.nearest import did_you_mean
from diffrect.cli.arguments.read import build, read
from diffrect.cli.commands import COMMANDS, Command
from diffrect.cli.compare import CellSettings, Compare
from diffrect.cli.train import Train
from diffrect.cli.tune import Tune, TuneSettings
from diffrect.config import Role, TrainConfig, names_with, parse_options, read_config
from diffrect.console import show
from diffrect.errors import InputError, brief
from diffrect.methods.catalogue.known import option_names
from diffrect.runs.names import CONFIG_FILE
from diffrect.runs.saved import saved_config
from diffrect.text_files import read_yaml

_SETTINGS: Mapping[type[Command], type[TrainConfig]] = {
    Train: TrainConfig,
    Compare: CellSettings,
    Tune: TuneSettings,
}
_HELP = {"-h", "--help"}
_DESCRIPTION = """\
Semi-supervised medical image segmentation with latent diffusion label rectification.
  diffrect inspect SOURCE               diffrect options METHOD
  diffrect prepare SOURCE STORE         diffrect train STORE RUN
  diffrect evaluate RUN                 diffrect predict RUN OUT IMAGE...
  diffrect rectify RUN OUT SCAN LABEL...
  diffrect view RUN|STORE|SCAN          in a browser
  diffrect compare STORE FOLDER         diffrect compare FOLDER --table
  diffrect tune STORE FOLDER

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
    name, *words = arguments or [""]
    if name in _HELP:
        show(help_of_program("diffrect", _DESCRIPTION, COMMANDS))
        raise SystemExit(0)
    kind = _command(name)
    program = f"diffrect {name}"
    if not _HELP.isdisjoint(words[: words.index("--")] if "--" in words else words):
        show(help_of_command(kind, program))
        raise SystemExit(0)
    if kind not in _SETTINGS:
        return build(kind, read(kind, words, program))
    given = read(kind, words, program, _option_of_method)
    command = build(kind, given, settings=_settings(kind, given))
    assert isinstance(command, Train | Compare | Tune)
    return replace(command, settings=_with_options(command))


def _option_of_method(name: str) -> str:
    """Return how an option of methods or views is given, if that is what a name is."""
    option = name.replace("-", "_")
    return f"write --option {option}=VALUE, " if option in option_names() else ""


def _command(name: str) -> type[Command]:
    """Return the dataclass of a command.

    Raises:
        InputError: there is none of that name.
    """
    if name in COMMANDS:
        return COMMANDS[name]
    expected = f"a command, one of {', '.join(COMMANDS)}"
    hint = f"{did_you_mean(name, [*COMMANDS, *_HELP, '--version'])}see diffrect --help"
    raise InputError(brief(name) or "diffrect", expected, got=None if name else "none", hint=hint)


def _settings(kind: type[Command], given: Mapping[str, Any]) -> TrainConfig:
    """Return what the options begin with: the file of the run that is resumed, then --config."""
    settings = _SETTINGS[kind]()
    if given.get("resume"):
        saved = given["run"] / CONFIG_FILE
        settings = read_config(saved, settings) if saved.is_file() else settings
    return read_config(given["config"], settings) if "config" in given else settings


def _with_options(command: Train | Compare | Tune) -> TrainConfig:
    """Return the settings of a command with what --option and --rectify-from set in them."""
    options = {**command.settings.options, **parse_options(command.option)}
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
    named = {*names_with(Role.COMPARED, Role.RESULT, Role.PATIENTS)}
    named |= {"config", "option", "rectify_from", "cross_validate"}
    if named.isdisjoint(_given(arguments)):
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
        given = _given(arguments)
        if error.setting in given or error.setting in parse_options(given.get("option", ())):
            raise
        field = str(error.subject).removeprefix("--option ").removeprefix("--")
        raise error.about(f"{file}: {field}") from None


def _given(arguments: Sequence[str]) -> Mapping[str, Any]:
    """Return what a command line that `parse` has read gives, by the names of the arguments."""
    name, *words = arguments
    return read(COMMANDS[name], words, f"diffrect {name}")


def _settings_file(command: Command) -> Path | None:
    if not isinstance(command, Train):
        return None
    saved = command.run / CONFIG_FILE
    return command.config or (saved if command.resume and saved.is_file() else None)


def _written(file: Path) -> set[str]:
    """Return the names of all settings in a configuration file."""
    content = read_yaml(file) or {}
    return {*content, *(content.get("options") or {})}
