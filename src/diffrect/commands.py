"""The commands of the command line: one small dataclass each, whose fields are its options.

What they do is imported when they are called: help and bad arguments take no time.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg, subcommand

from diffrect.config import TrainConfig
from diffrect.ranks import is_first

Checkpoint = Literal["best", "last"]
Device = Annotated[str, arg(metavar="NAME")]
Flag = Annotated[bool, arg(help_behavior_hint="")]


@dataclass(frozen=True)
class Prepare:
    """Convert a data set into a store, the folder that all the rest reads."""

    source: Positional[Path]
    """Folder of the data set: ACDC as published, SSL4MIS h5 files, or a Decathlon task."""
    store: Positional[Path]
    """Folder to make."""
    format: Literal["auto", "acdc", "ssl4mis", "decathlon"] = "auto"
    """Layout of the data set; auto recognises it."""
    workers: Annotated[int, arg(help_behavior_hint="(default: one for each processor)")] = field(
        default_factory=lambda: os.cpu_count() or 1
    )
    """Processes that convert cases."""
    overwrite: Flag = False
    """Replace a store that exists already."""
    resume: Flag = False
    """Go on with an interrupted prepare."""
    repair: Flag = False
    """Write again the damaged cases of a finished store, from SOURCE, and no others."""
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
                repair=self.repair,
                progress=not self.quiet,
            )
        except KeyboardInterrupt:
            flag = "repair" if self.repair else "resume"
            command = f"diffrect prepare {self.source} {self.store} --{flag}"
            raise KeyboardInterrupt(f"interrupted; go on with: {command}") from None
        if not self.quiet:
            labelled = sum(record.labelled for record in store.cases.values())
            print(f"{self.store}: {len(store.cases)} cases, {labelled} with labels")


@dataclass(frozen=True)
class Train:
    """Train a method on a store. Ctrl-C saves; --resume goes on as if nothing had happened."""

    store: Positional[Path]
    """Folder made by prepare."""
    run: Positional[Path]
    """Folder for checkpoints, configuration and scores."""
    settings: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)
    config: Annotated[Path | None, arg(metavar="FILE.yaml", help_behavior_hint="")] = None
    """Options from a file like RUN/config.yaml; those given on the command line win."""
    option: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")] = ()
    """A setting of the method or of the views; a NAME that does not exist lists them all."""
    resume: Flag = False
    """Go on from the last checkpoint, with the options saved in RUN."""
    overwrite: Flag = False
    """Replace a run that exists already."""
    quiet: Flag = False
    """Show no progress."""

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
        if not self.quiet and is_first():
            print(f"{self.run}: trained; score it with: diffrect evaluate {self.run}")


@dataclass(frozen=True)
class Evaluate:
    """Score a run on held-out patients, on screen and in RUN/metrics_SPLIT.json."""

    run: Positional[Path]
    """Folder made by train."""
    split: Literal["val", "test"] = "val"
    """Choose by val; report test once, at the end."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    empty: Literal["undefined", "reference"] = "undefined"
    """What a class missing from a case counts: nothing, or 0, 0, 50, 10 as in the authors' code."""
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
        if not self.quiet and is_first():
            print_scores(result)


@dataclass(frozen=True)
class Predict:
    """Segment NIfTI images of any size; each label file lies on its image's own grid."""

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
        if not self.quiet and is_first():
            print(f"{self.out}: {len(written)} label file{'s' if len(written) != 1 else ''}")


@dataclass(frozen=True)
class Demo:
    """Needs no data: make synthetic hearts, train with and without DiffRect, and compare."""

    folder: Positional[Path] = Path("demo")
    """Folder for everything that it makes."""
    overwrite: Flag = False
    """Replace an earlier demo."""
    quiet: Flag = False
    """Show no progress."""

    def __call__(self) -> None:
        from diffrect.demo import demo

        demo(self.folder, overwrite=self.overwrite, progress=not self.quiet)


COMMANDS = (
    Annotated[Prepare, subcommand("prepare")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Predict, subcommand("predict")]
    | Annotated[Demo, subcommand("demo")]
)
Command = Prepare | Train | Evaluate | Predict | Demo
