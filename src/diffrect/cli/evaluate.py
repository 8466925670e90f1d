"""The command `evaluate`; like all commands it imports its work when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffrect.checks import check_device
from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Device, Flag, Plugins
from diffrect.cli.guidance import say_next, with_plugins
from diffrect.console import say
from diffrect.distributed.ranks import is_first


@dataclass(frozen=True)
class Evaluate:
    """Score a run on held-out patients: RUN/metrics_SPLIT.json, RUN/report_SPLIT/index.html."""

    run: Place[Path]
    """Folder made by train."""
    split: Literal["val", "test", "all"] = "val"
    """Choose by val; report test once, at the end; all scores every case of another --store."""
    checkpoint: Checkpoint = "best"
    """Best by validation, the last, or after train --average the best student or average."""
    empty: Literal["undefined", "reference"] = "undefined"
    """Score of a class missing from a case: undefined, or 0, 0, 50, 10 as in the authors' code."""
    store: Path | None = None
    """Store to read instead of the one the run was trained on."""
    device: Device = "auto"
    """What computes; auto takes a GPU if there is one, cuda:1 the second of several."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    no_report: Flag = False
    """Write no RUN/report_SPLIT/index.html."""
    quiet: Flag = False
    """Show no progress and no table."""

    def __post_init__(self) -> None:
        check_device("--device", self.device)

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_at_store
        from diffrect.plugins.files import load_plugins
        from diffrect.runs.recognise import check_has_model

        check_has_model(self.run, self.checkpoint)
        if self.store is not None:
            look_at_store(self.store)
        load_plugins(self.plugin)

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
            keep_predictions=not self.no_report,
            progress=not self.quiet,
        )
        page = None
        if is_first() and not self.no_report:
            from diffrect.reporting.run_report import write_report

            page = write_report(self.run, result)
        if not self.quiet and is_first():
            print_scores(result)
            say(f"{self.run / metrics_file(self.split)}: the scores of every case")
            if page is not None:
                say(f"{page}: the same with pictures, for a browser")
            say_next("diffrect predict", self.run, "OUT IMAGE...", *with_plugins(self.plugin))
