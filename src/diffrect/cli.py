"""The command line: one small dataclass per command, and errors as one line each.

Exit codes: 0 done, 1 some of several inputs failed, 2 bad input, 130 interrupted.
"""

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro
from tyro.conf import Positional, UseAppendAction, arg, subcommand

import diffrect
from diffrect.config import TrainConfig, parse_options, read_config
from diffrect.errors import InputError

Checkpoint = Literal["best", "last"]
Device = Annotated[str, arg(metavar="NAME")]
Flag = Annotated[bool, arg(help_behavior_hint="")]

CONFIG_FILE = "config.yaml"

# Nobody's mistake in the code: the message alone says what to do about it.
_ENVIRONMENT_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
)


@dataclass(frozen=True)
class Prepare:
    """Convert a data set into a store, from which all the rest reads."""

    source: Positional[Path]
    """Folder of the data set: ACDC as published, SSL4MIS h5, or a Decathlon task."""
    store: Positional[Path]
    """Folder to make."""
    format: Literal["auto", "acdc", "ssl4mis", "decathlon"] = "auto"
    """Layout of the data set; auto recognises it."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes that convert cases."""
    overwrite: Flag = False
    """Replace a store that exists already."""
    resume: Flag = False
    """Go on with an interrupted prepare."""
    quiet: Flag = False
    """Show no progress."""

    def __call__(self) -> None:
        from diffrect.data.prepare import prepare

        try:
            store = prepare(
                self.source,
                self.store,
                format=self.format,
                workers=self.workers,
                overwrite=self.overwrite,
                resume=self.resume,
                progress=not self.quiet,
            )
        except KeyboardInterrupt:
            command = f"diffrect prepare {self.source} {self.store} --resume"
            raise KeyboardInterrupt(f"interrupted; go on with: {command}") from None
        if not self.quiet:
            labelled = sum(record.labelled for record in store.cases.values())
            print(f"{self.store}: {len(store.cases)} cases, {labelled} with labels")


@dataclass(frozen=True)
class Train:
    """Train a method on a store. Values: the preset's, then --config's, then the options given."""

    store: Positional[Path]
    """Folder made by prepare."""
    run: Positional[Path]
    """Folder for checkpoints, configuration and scores."""
    config: Annotated[Path | None, arg(metavar="FILE.yaml", help_behavior_hint="")] = None
    """YAML file with any of the options below, named as in RUN/config.yaml."""
    option: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")] = ()
    """A setting of the method or of the views, see the documentation."""
    resume: Flag = False
    """Go on from the last checkpoint, with the options saved in RUN."""
    overwrite: Flag = False
    """Replace a run that exists already."""
    quiet: Flag = False
    """Show no progress."""
    settings: Annotated[TrainConfig, arg(name="")] = TrainConfig()

    def __call__(self) -> None:
        from diffrect.train import train

        train(
            self.store,
            self.run,
            self.settings,
            resume=self.resume,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )


@dataclass(frozen=True)
class Evaluate:
    """Score a trained run on held-out cases; also writes RUN/metrics_SPLIT.json."""

    run: Positional[Path]
    """Folder made by train."""
    split: Literal["val", "test"] = "val"
    """Choose by val; report test once, at the end."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    empty: Literal["undefined", "reference"] = "undefined"
    """A class missing from a case is undefined and left out, or counts 0, 0, 50, 10 (Dice,
    Jaccard, 95HD, ASD) as in the authors' code."""
    store: Annotated[Path | None, arg(help_behavior_hint="")] = None
    """Store to read instead of the one the run was trained on."""
    device: Device = "auto"
    """Such as cpu, cuda or cuda:1; auto takes a GPU if there is one."""
    quiet: Flag = False
    """Show no progress and no table."""

    def __call__(self) -> None:
        from diffrect.evaluate import evaluate
        from diffrect.report import print_scores

        result = evaluate(
            self.run,
            split=self.split,
            checkpoint=self.checkpoint,
            empty=self.empty,
            store=self.store,
            device=self.device,
            progress=not self.quiet,
        )
        if not self.quiet:
            print_scores(result)


@dataclass(frozen=True)
class Predict:
    """Segment NIfTI images; label files are written on each image's own grid."""

    run: Positional[Path]
    """Folder made by train; needs no store."""
    out: Positional[Path]
    """Folder for the label files, each named like its image."""
    inputs: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="INPUT...", help_behavior_hint="(required)")
    ]
    """Image files, or folders of them (*.nii, *.nii.gz)."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    device: Device = "auto"
    """Such as cpu, cuda or cuda:1; auto takes a GPU if there is one."""
    overwrite: Flag = False
    """Replace label files that exist already."""
    quiet: Flag = False
    """Show no progress."""

    def __call__(self) -> None:
        from diffrect.predict import predict

        written = predict(
            self.run,
            self.out,
            self.inputs,
            checkpoint=self.checkpoint,
            device=self.device,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )
        if not self.quiet:
            print(f"{self.out}: {len(written)} label file{'s' if len(written) != 1 else ''}")


@dataclass(frozen=True)
class Demo:
    """Make synthetic hearts, train on one of them with and without DiffRect, and compare."""

    folder: Positional[Path] = Path("demo")
    """Folder for everything that it makes."""

    def __call__(self) -> None:
        from diffrect.demo import demo

        demo(self.folder)


Command = (
    Annotated[Prepare, subcommand("prepare")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Predict, subcommand("predict")]
    | Annotated[Demo, subcommand("demo")]
)
_MARKERS = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.PositionalMetavarFromFieldName,
    tyro.conf.DisallowNone,
    tyro.conf.SuppressFixed,
)
_DESCRIPTION = """Semi-supervised medical image segmentation with latent diffusion label rectification.

`diffrect COMMAND --help` explains a command; `diffrect --version` tells the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; bad input is told in one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name must not break a message
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; what is left in the buffer goes nowhere, silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _run(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["--version"]:
            print(f"diffrect {diffrect.__version__}")
        else:
            parse(arguments)()
    except InputError as error:
        return _report(error)
    except KeyboardInterrupt as interrupt:
        _complain(str(interrupt) or "interrupted")
        return 130
    except OSError as error:
        if error.errno not in _ENVIRONMENT_ERRORS:
            raise
        _complain(f"error: {error.filename or 'output'}: {error.strerror}")
        return 2
    except SystemExit as stop:  # --help
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def parse(arguments: list[str]) -> Prepare | Train | Evaluate | Predict | Demo:
    """The command that the arguments spell, with everything that train is told resolved.

    Raises:
        InputError: they spell none.
        SystemExit: help was asked for, and printed.
    """
    command = _parse(Command, arguments, "diffrect")
    if isinstance(command, Train):
        return _resolve(command, arguments[1:])
    return cast(Prepare | Evaluate | Predict | Demo, command)


def _resolve(command: Train, arguments: list[str]) -> Train:
    """The saved configuration if resuming, then --config, then the options given."""
    saved = command.run / CONFIG_FILE
    settings = read_config(saved) if command.resume and saved.is_file() else TrainConfig()
    if command.config is not None:
        settings = read_config(command.config, settings)
    # They become the defaults of a second reading, so that the options given win.
    base = replace(command, settings=settings, option=())
    command = cast(Train, _parse(Train, arguments, "diffrect train", base))
    options = {**command.settings.options, **parse_options(list(command.option))}
    return replace(command, settings=replace(command.settings, options=options))


def _parse(
    kind: object, arguments: list[str], program: str, default: Train | None = None
) -> object:
    errors = io.StringIO()
    wanted = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(errors), _unwrapped(arguments):
            return tyro.cli(
                kind,  # type: ignore[arg-type]
                prog=program,
                description=_DESCRIPTION,
                args=arguments,
                config=_MARKERS,
                **wanted,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(summarise_box(errors.getvalue())) from None


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
    inside = [line.strip("│| ") for line in plain.splitlines() if line.startswith(("│", "|"))]
    sections: list[list[str]] = [[]]
    for line in inside:
        if set(line) <= set("─-"):
            sections.append([])
        else:
            sections[-1].append(line)
    parts = [" ".join(sections[0])]
    for section in sections[1:]:
        if section and section[0].startswith(("Perhaps", "Available")):
            parts.append(" ".join(section[:2]))
        elif section and section[0].startswith("For full helptext"):
            parts += [f"see {command}" for command in re.findall(r"diffrect[ a-z]* --help", plain)]
    return "; ".join(part.rstrip(".") for part in parts if part) or " ".join(plain.split())


def _report(error: InputError) -> int:
    """Tell what is wrong, one line for each input, and choose the exit code."""
    failures: dict[Path, str] = getattr(error, "failures", {})
    for message in failures.values() or [str(error)]:
        _complain(f"error: {message}")
    return 1 if getattr(error, "written", None) else 2


def _complain(message: str) -> None:
    print(f"diffrect: {' '.join(message.splitlines())}", file=sys.stderr)
