"""The command `tune`; like all commands it imports its work when it is called."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from diffrect.cli.arguments.spec import Fixed, Place
from diffrect.cli.fields import Flag, Plugins, RectifyFrom
from diffrect.cli.guidance import say_next
from diffrect.comparison.matrix import MatrixArguments, split_list
from diffrect.config import Shown, TrainConfig


@dataclass(frozen=True)
class TuneSettings(TrainConfig):
    """The settings that all trials share: the options of train without the method."""

    method: Fixed[str] = "diffrect"


@dataclass(frozen=True)
class Tune:
    """Tune methods with equal budgets on held-out training patients. Run it again to resume."""

    store: Place[Path]
    """Folder made by prepare."""
    folder: Place[Path]
    """Folder of the trials; gets tuned.yaml, which compare takes as --variants."""
    methods: Annotated[str, Shown("A,B")] = "diffrect"
    """Methods to tune, each with the same budget."""
    trials: int = 8
    """Trainings of each method; the first has its own settings."""
    minutes: Annotated[float | None, Shown("MINUTES")] = None
    """Begin no training of a method once its trainings have taken these processor minutes."""
    held_out: Annotated[int, Shown("N")] = 10
    """Training patients that judge the trials and take no part in them."""
    space: Annotated[Path | None, Shown("FILE.yaml", default="the one that is shipped")] = None
    """What is tuned: {SECTION: {SETTING: {low, high, log} or a list of values}}."""
    search_seed: int = 0
    """Seed of the search."""
    settings: TrainConfig = field(default_factory=TuneSettings)
    rectify_from: RectifyFrom = None
    """First iteration that learns from rectified pseudo-labels; an option of diffrect."""
    config: Annotated[Path | None, Shown("FILE.yaml")] = None
    """File with options of the training; options on the command line win."""
    option: Annotated[tuple[str, ...], Shown("NAME=VALUE")] = ()
    """Setting of all methods, or of the views; --space may tune it."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    quiet: Flag = False
    """Show no progress and no table."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_before_comparing

        matrix: MatrixArguments = {
            "methods": split_list(self.methods),
            "config": self._config(),
        }
        look_before_comparing(self.store, matrix, self.plugin, self.config)

    def __call__(self) -> None:
        from diffrect.comparison.tuning.result import VARIANTS_FILE, print_summary
        from diffrect.comparison.tuning.tune import tune

        tuning = tune(
            self.store,
            self.folder,
            methods=split_list(self.methods),
            trials=self.trials,
            minutes=self.minutes,
            held_out=self.held_out,
            space=self.space,
            config=self._config(),
            seed=self.search_seed,
            progress=not self.quiet,
        )
        if not self.quiet:
            print_summary(self.folder, tuning)
            variants = self.folder / VARIANTS_FILE
            say_next("diffrect compare", self.store, "FOLDER --variants", variants)

    def _config(self) -> TrainConfig:
        return TrainConfig(**{e.name: getattr(self.settings, e.name) for e in fields(TrainConfig)})
