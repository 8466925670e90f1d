"""The commands of the command line: each is a small dataclass whose fields are its options.

The work of a command is imported once its arguments are read, so that help and bad arguments take
no time.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg, subcommand

from diffrect.cli.compare import Compare, Flag, RectifyFrom
from diffrect.cli.guidance import say_next
from diffrect.cli.inspect_command import Inspect
from diffrect.config import TrainConfig
from diffrect.console import count, say, warn
from diffrect.data.source_options import Format, SourceOptions
from diffrect.distributed.ranks import is_first
from diffrect.errors import InputError

Checkpoint = Literal["best", "last"]
Device = Annotated[str, arg(metavar="NAME")]
Axis = Literal["layout", "auto", "0", "1", "2", "axial", "coronal", "sagittal"]
PredictAxis = Literal["model", "auto", "0", "1", "2", "axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class Prepare:
    """Convert a data set into a store, the folder that every other command reads."""

    source: Positional[Path]
    """Folder of the data set: one of the layouts below, or your own images/ and labels/."""
    store: Positional[Path]
    """Folder to make."""
    format: Format = "auto"
    """Layout of the data set; auto recognises it."""
    options: Annotated[SourceOptions, arg(name="")] = field(default_factory=SourceOptions)
    axis: Axis = "layout"
    """How volumes are cut: auto (across the coarsest spacing), an axis of the file, or a plane."""
    intensity: Literal["minmax", "percentile", "zscore", "window"] = "minmax"
    """Intensities that become 0 and 1: extremes, percentiles, mean -/+ 4 sd, or CT window ends."""
    percentiles: Annotated[
        tuple[float, float] | None,
        arg(metavar="LOW HIGH", help_behavior_hint="(default: 0.5 99.5)"),
    ] = None
    """Percentiles for --intensity percentile."""
    window: Annotated[
        tuple[float, float] | None, arg(metavar="LEVEL WIDTH", help_behavior_hint="")
    ] = None
    """CT window for --intensity window, in the scanner's units."""
    workers: Annotated[int, arg(help_behavior_hint="(default: one for each processor)")] = field(
        default_factory=lambda: os.cpu_count() or 1
    )
    """Processes that convert cases."""
    overwrite: Flag = False
    """Replace a store that exists already."""
    resume: Flag = False
    """Resume an interrupted prepare."""
    repair: Flag = False
    """Rewrite only the damaged cases of a finished store, from SOURCE."""
    quiet: Flag = False
    """Show no progress."""

    def __call__(self) -> None:
        from diffrect.data.prepare import prepare
        from diffrect.data.workers import WorkerDiedError
        from diffrect.imaging.intensity import Intensity

        flag = "repair" if self.repair else "resume"
        command = f"diffrect prepare {self.source} {self.store} --{flag}"
        try:
            store = prepare(
                self.source,
                self.store,
                format=self.format,
                options=self.options,
                axis=None if self.axis == "layout" else self.axis,
                intensity=Intensity.of(self.intensity, self.percentiles, self.window),
                workers=self.workers,
                overwrite=self.overwrite,
                resume=self.resume,
                repair=self.repair,
                progress=not self.quiet,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; resume with: {command}") from None
        except WorkerDiedError as error:
            kept = "finished cases are kept, resume with"
            raise WorkerDiedError(f"{error}; {kept}: {command} --workers 1") from None
        if not self.quiet:
            labelled = sum(record.labelled for record in store.cases.values())
            say(f"{self.store}: {len(store.cases)} cases, {labelled} with labels")
            say_next("diffrect train", self.store, "RUN")


@dataclass(frozen=True)
class Train:
    """Train a method on a store. Ctrl-C saves; --resume continues to the same weights."""

    store: Positional[Path]
    """Folder made by prepare."""
    run: Positional[Path]
    """Folder for checkpoints, configuration and scores."""
    settings: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)
    rectify_from: RectifyFrom = None
    """First iteration that learns from rectified pseudo-labels; an option of diffrect."""
    config: Annotated[Path | None, arg(metavar="FILE.yaml", help_behavior_hint="")] = None
    """File of options like RUN/config.yaml; options on the command line win."""
    option: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")] = ()
    """Setting of the method or of the views; a NAME that does not exist lists them all."""
    cross_validate: Annotated[int | None, arg(metavar="K", help_behavior_hint="")] = None
    """Train K times, each time without another part of the labelled patients, and score these."""
    resume: Flag = False
    """Resume from the last checkpoint, with the options saved in RUN."""
    overwrite: Flag = False
    """Replace a run that exists already."""
    profile: Flag = False
    """Profile the first iterations: print the largest operations, write a trace to RUN/profile."""
    quiet: Flag = False
    """Show no progress."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_before_training

        look_before_training(self.store, self.settings.method)

    def __call__(self) -> None:
        from diffrect.methods.registry import has_option
        from diffrect.runs.folds import is_cross_validation
        from diffrect.training.train import train

        method = self.settings.method
        if self.rectify_from is not None and not has_option(method, "rectify_from") and is_first():
            warn(f"--rectify-from: method {method} has no such option; it is ignored")
        if self.cross_validate is not None or (self.resume and is_cross_validation(self.run)):
            self.do_folds()
            return
        train(
            self.store,
            self.run,
            self.settings,
            resume=self.resume,
            overwrite=self.overwrite,
            progress=not self.quiet,
            profile=self.profile,
        )
        if not self.quiet and is_first():
            say(f"{self.run}: trained")
            say_next("diffrect evaluate", self.run)

    def do_folds(self) -> None:
        """Cross-validate."""
        from diffrect.evaluation.scores_table import print_scores
        from diffrect.training.cross_validation import cross_validate

        if self.profile:
            raise InputError("--profile and --cross-validate", "one of them", got="both")
        scores = cross_validate(
            self.store,
            self.run,
            self.settings,
            folds=self.cross_validate,
            resume=self.resume,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )
        if not self.quiet:
            print_scores(scores)
            say(f"{self.run}: trained; its folds predict together")
            say_next("diffrect predict", self.run, "OUT IMAGE...")


@dataclass(frozen=True)
class Evaluate:
    """Score a run on held-out patients, on the screen and in RUN/metrics_SPLIT.json."""

    run: Positional[Path]
    """Folder made by train."""
    split: Literal["val", "test", "all"] = "val"
    """Choose by val; report test once, at the end; all scores every case of another --store."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    empty: Literal["undefined", "reference"] = "undefined"
    """Score of a class missing from a case: undefined, or 0, 0, 50, 10 as in the authors' code."""
    store: Annotated[Path | None, arg(help_behavior_hint="")] = None
    """Store to read instead of the one the run was trained on."""
    device: Device = "auto"
    """Device such as cpu, cuda or cuda:1; auto takes a GPU if there is one."""
    quiet: Flag = False
    """Show no progress and no table."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_at_store
        from diffrect.runs.recognise import check_has_model

        check_has_model(self.run, self.checkpoint)
        if self.store is not None:
            look_at_store(self.store)

    def __call__(self) -> None:
        from diffrect.evaluation.evaluate import evaluate
        from diffrect.evaluation.scores_table import print_scores
        from diffrect.runs.names import metrics_file

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
            say(f"{self.run / metrics_file(self.split)}: the scores of every case")
            say_next("diffrect predict", self.run, "OUT IMAGE...")


@dataclass(frozen=True)
class Predict:
    """Segment images of any format and size; each label file lies on its image's own grid."""

    run: Positional[Path]
    """Folder made by train, or a file made by export; needs no store."""
    out: Positional[Path]
    """Folder for the label files, each named like its image."""
    inputs: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="INPUT...", help_behavior_hint="(required)")
    ]
    """Image files, folders of them or of a DICOM series, or patterns such as 'scans/*.nrrd'."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    device: Device = "auto"
    """Device such as cpu, cuda or cuda:1; auto takes a GPU if there is one."""
    format: Literal["nifti", "same"] = "nifti"
    """Write NIfTI label files, or each label in the format of its image."""
    axis: PredictAxis = "model"
    """How volumes are cut, if not as the scans that the model was trained on."""
    channel: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Read only this channel, counted from 0, of images with several."""
    probabilities: Flag = False
    """Write NAME_probabilities.nii.gz beside each label file: float32, one volume per class."""
    largest_component: Flag = False
    """Keep only the largest connected part of each class."""
    overwrite: Flag = False
    """Replace label files that exist already."""
    quiet: Flag = False
    """Show no progress."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_before_predicting

        look_before_predicting(self.run, self.checkpoint, self.inputs)

    def __call__(self) -> None:
        from diffrect.inference.predict import predict

        written = predict(
            self.run,
            self.out,
            self.inputs,
            checkpoint=self.checkpoint,
            device=self.device,
            format=self.format,
            axis=None if self.axis == "model" else self.axis,
            channel=self.channel,
            probabilities=self.probabilities,
            largest_component=self.largest_component,
            overwrite=self.overwrite,
            progress=not self.quiet,
        )
        if not self.quiet and is_first():
            say(f"{self.out}: {count(len(written), 'label file')}")
            say_next("look at them over their images, for example in ITK-SNAP or 3D Slicer")


@dataclass(frozen=True)
class Export:
    """Write a trained segmenter as ONNX; predict takes the file in place of a RUN."""

    run: Positional[Path]
    """Folder made by train."""
    file: Annotated[Positional[Path], arg(metavar="MODEL.onnx")]
    """File to write."""
    checkpoint: Checkpoint = "best"
    """Best by validation, or the last."""
    overwrite: Flag = False
    """Replace a file that exists already."""
    quiet: Flag = False
    """Print nothing."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.runs.recognise import check_has_model

        check_has_model(self.run, self.checkpoint)

    def __call__(self) -> None:
        from diffrect.inference.export import export

        export(self.run, self.file, checkpoint=self.checkpoint, overwrite=self.overwrite)
        if not self.quiet:
            say(f"{self.file}: equal to PyTorch")
            say_next("diffrect predict", self.file, "OUT IMAGE...")


@dataclass(frozen=True)
class Demo:
    """Make synthetic hearts, train with and without DiffRect, and compare; needs no data."""

    folder: Positional[Path] = Path("demo")
    """Folder for everything that the demo makes."""
    overwrite: Flag = False
    """Replace an earlier demo."""
    quiet: Flag = False
    """Show no progress."""

    def __call__(self) -> None:
        from diffrect.showcase.demo import demo

        demo(self.folder, overwrite=self.overwrite, progress=not self.quiet)
        if not self.quiet:
            say_next("diffrect inspect SOURCE, a folder of your own scans")


COMMANDS = (
    Annotated[Prepare, subcommand("prepare")]
    | Annotated[Inspect, subcommand("inspect")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Predict, subcommand("predict")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Demo, subcommand("demo")]
)
Command = Prepare | Inspect | Train | Evaluate | Predict | Export | Compare | Demo
WORK: Mapping[type[Command], str] = {
    Prepare: "diffrect.data.prepare",
    Inspect: "diffrect.data.inspection",
    Train: "diffrect.training.train",
    Evaluate: "diffrect.evaluation.evaluate",
    Predict: "diffrect.inference.predict",
    Export: "diffrect.inference.export",
    Demo: "diffrect.showcase.demo",
}
"""The module that does the work of a command and takes the time to import; `compare` looks at its
arguments before."""
