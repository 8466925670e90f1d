"""The command `compare`; like all commands it imports its work when it is called."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from diffrect.cli.arguments.spec import Fixed, Place
from diffrect.cli.fields import Checkpoint, Flag, Plugins, RectifyFrom
from diffrect.cli.guidance import say_next
from diffrect.comparison.matrix import MatrixArguments, parse_seeds, parse_shard, split_list
from diffrect.config import Preset, Shown, TrainConfig, config_text
from diffrect.console import say_lines
from diffrect.errors import InputError


@dataclass(frozen=True)
class CellSettings(TrainConfig):
    """The settings that all cells share: the options of train that the matrix does not set."""

    method: Fixed[str] = "diffrect"
    preset: Fixed[Preset] = "default"
    labelled: Fixed[str | None] = None
    seed: Fixed[int] = 1337


@dataclass(frozen=True)
class Compare:
    """Train methods under equal conditions; write tables and plots. Run it again to resume."""

    places: Annotated[Place[tuple[Path, ...]], Shown("[STORE] FOLDER")]
    """Folder made by prepare, and folder of cells and report; with --table only the latter."""
    methods: Annotated[str, Shown("A,B")] = ""
    """Methods or variants; 'no-*' takes all that fit; A@100% trains A on only that many."""
    labelled: Annotated[str, Shown("1,3,7", default="as train")] = ""
    """Labelled patients: counts, shares such as 5%, or files; all are trained."""
    seeds: Annotated[str, Shown("0,1,2", default="1337")] = "1337"
    """Seeds; all are trained."""
    variants: Annotated[Path | None, Shown("FILE.yaml")] = None
    """File of variants, methods with settings: {NAME: {method, preset, labelled, options}}."""
    preset: Literal["default", "reference", "ablation"] = "default"
    """Preset as for train; or ablation: DiffRect with each of its parts left out or changed."""
    shard: Annotated[str, Shown("K/N")] = ""
    """Train only the K-th of N parts of the matrix, as on one of N machines."""
    dry_run: Flag = False
    """List the cells and estimate their time; write nothing."""
    table: Flag = False
    """Train nothing; write tables and plots of the cells that are finished."""
    split: Literal["val", "test"] = "val"
    """Split to report; every title names it."""
    checkpoint: Checkpoint = "best"
    """Checkpoint to report: best by validation, the last; with --average the student or average."""
    against: Annotated[str | None, Shown("NAME")] = None
    """Method that the others are tested against; diffrect, or else the first, unless given."""
    export: Annotated[Path | None, Shown("FOLDER2")] = None
    """With --table: copy the per-case scores and the cost, which are all that the table needs."""
    settings: TrainConfig = field(default_factory=CellSettings)
    rectify_from: RectifyFrom = None
    """First iteration that learns from rectified pseudo-labels."""
    config: Annotated[Path | None, Shown("FILE.yaml")] = None
    """File with options of the training; options on the command line win."""
    option: Annotated[tuple[str, ...], Shown("NAME=VALUE")] = ()
    """Setting of all methods, or of the views."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    quiet: Flag = False
    """Show no progress and no table."""
    print_config: Flag = False
    """Print what all cells share as a file for --config; write nothing."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded, the command line first."""
        expected, number = ("FOLDER", 1) if self.table else ("STORE and FOLDER", 2)
        if len(self.places) != number:
            found = " ".join(map(str, self.places)) or "nothing"
            raise InputError("compare", expected, got=found)
        for name, given in (("--export", self.export), ("--dry-run", self.dry_run)):
            if given and self.table != (name == "--export"):
                other = "with" if name == "--export" else "without"
                raise InputError(name, f"{other} --table")
        if not self.table and not self.print_config:
            from diffrect.cli.before import look_before_comparing

            if self.shard:
                parse_shard(self.shard)
            look_before_comparing(self.places[0], self._matrix(), self.plugin, self.config)

    def __call__(self) -> None:
        if self.print_config:
            say_lines(config_text(self._matrix()["config"] or TrainConfig(), ascii=True))
        elif self.table:
            self._table()
        elif self.dry_run:
            self._list()
        else:
            self._run()

    def _table(self) -> None:
        from diffrect.comparison.report.export import export_cells
        from diffrect.comparison.report.report import compare_table
        from diffrect.comparison.report.screen import print_report

        (folder,) = self.places
        comparison = compare_table(folder, split=self.split, against=self.against)
        if self.export is not None:
            export_cells(folder, self.export, comparison)
        if self.quiet:
            return
        print_report(folder, comparison)
        if self.export is None:
            say_next("diffrect compare", folder, "--table --export FOLDER2 keeps the scores")
        else:
            say_next("diffrect compare", self.export, "--table")

    def _list(self) -> None:
        from diffrect.comparison.estimate import print_estimates
        from diffrect.comparison.run import plan_comparison

        store, folder = self.places
        print_estimates(plan_comparison(store, folder, **self._task(), **self._matrix()))
        say_next("the same command without --dry-run")

    def _run(self) -> None:
        from diffrect.comparison.report.screen import print_report
        from diffrect.comparison.run import compare

        store, folder = self.places
        comparison = compare(
            store,
            folder,
            **self._task(),
            **self._matrix(),
            against=self.against,
            progress=not self.quiet,
        )
        if comparison is not None and not self.quiet:
            print_report(folder, comparison)
            if self.split == "val":
                say_next("report the test split once, by the same command with --split test")
            else:
                say_next("diffrect compare", folder, "--table --export FOLDER2 keeps the scores")

    def _task(self) -> dict[str, Any]:
        return {
            "shard": parse_shard(self.shard) if self.shard else None,
            "split": self.split,
            "checkpoint": self.checkpoint,
        }

    def _matrix(self) -> MatrixArguments:
        values = {each.name: getattr(self.settings, each.name) for each in fields(TrainConfig)}
        config = TrainConfig(**values)
        if self.preset == "reference":
            config = replace(config, preset="reference")
        return {
            "methods": split_list(self.methods),
            "labelled": split_list(self.labelled),
            "seeds": parse_seeds(self.seeds),
            "config": config,
            "variants": self.variants,
            "preset": "ablation" if self.preset == "ablation" else None,
        }
