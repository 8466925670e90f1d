"""The command `train`; like all commands it imports its work when it is called."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Flag, Plugins, RectifyFrom
from diffrect.cli.guidance import say_next, with_plugins
from diffrect.config import Shown, TrainConfig, config_text
from diffrect.console import say, say_lines, warn
from diffrect.distributed.ranks import is_first, started_outside
from diffrect.errors import InputError
from diffrect.runs.names import CONFIG_FILE


@dataclass(frozen=True)
class Train:
    """Train a method on a store. Ctrl-C saves; --resume continues to the same weights."""

    store: Place[Path]
    """Folder made by prepare."""
    run: Place[Path]
    """Folder for checkpoints, configuration and scores."""
    settings: TrainConfig = field(default_factory=TrainConfig)
    rectify_from: RectifyFrom = None
    """First iteration that learns from rectified pseudo-labels; an option of diffrect."""
    config: Annotated[Path | None, Shown("FILE.yaml")] = None
    """File of options like RUN/config.yaml; options on the command line win."""
    option: Annotated[tuple[str, ...], Shown("NAME=VALUE")] = ()
    """Setting of the method or of the views; diffrect options METHOD lists them."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    cross_validate: Annotated[int | None, Shown("K")] = None
    """Train K times, each time without another part of the labelled patients, and score these."""
    resume: Flag = False
    """Resume from the last checkpoint, with the options saved in RUN."""
    overwrite: Flag = False
    """Replace a run that exists already."""
    profile: Flag = False
    """Profile the first iterations: print the largest operations, write a trace to RUN/profile."""
    no_report: Flag = False
    """Do not score the validation patients at the end, and write no RUN/report_val/index.html."""
    quiet: Flag = False
    """Show no progress."""
    print_config: Flag = False
    """Print what would be trained as a file for --config, with every option; write nothing."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_at_code, look_before_training

        if self.print_config:  # elsewhere than where STORE is, maybe
            look_at_code(self.settings, self.plugin, self.settings_file)
            return
        look_before_training(self.store, self.settings, self.plugin, self.settings_file)

    def __call__(self) -> None:
        from diffrect.methods.registry import complete, has_option
        from diffrect.runs.folds import is_cross_validation
        from diffrect.training.train import train

        if self.print_config:
            say_lines(config_text(complete(self.settings), ascii=True))
            return
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
        self.report()
        if not self.quiet and is_first():
            say_next("diffrect evaluate", self.run, *with_plugins(self.plugin))

    @property
    def settings_file(self) -> Path | None:
        """The file that settings come from besides the command line."""
        saved = self.run / CONFIG_FILE
        return self.config or (saved if self.resume and saved.is_file() else None)

    def report(self) -> None:
        """Write the report of the validation patients; a training without any gets none.

        Nothing that goes wrong here takes the training away, which is done.
        """
        from diffrect.evaluation.evaluate import evaluate
        from diffrect.reporting.run_report import write_report
        from diffrect.runs.folder import read_split

        alone = self.settings.devices * self.settings.nodes == 1 and not started_outside()
        if self.no_report or not alone:
            return
        try:
            if not read_split(self.run).val:
                return
            scores = evaluate(
                self.run,
                device=self.settings.device,
                keep_predictions=True,
                progress=not self.quiet,
            )
            page = write_report(self.run, scores)
        except (InputError, OSError) as error:
            warn(f"{self.run}: trained, but not scored: {error}")
            return
        if not self.quiet:
            say(f"{page}: its validation patients, for a browser")

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
            say_next("diffrect predict", self.run, "OUT IMAGE...", *with_plugins(self.plugin))
