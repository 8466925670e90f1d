"""The command `rank`; like all commands it imports its work when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from diffrect.checks import at_least, check_device
from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Device, Flag, Plugins
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import say
from diffrect.distributed.ranks import is_first
from diffrect.runs.rankings import ranking_folder


@dataclass(frozen=True)
class Rank:
    """Order unlabelled patients and slices by what annotating them is expected to gain."""

    run: Place[Path]
    """Folder made by train, with any method."""
    store: Place[Path]
    """Folder made by prepare: the one of the training, or another of the same kind."""
    out: Annotated[Place[Path | None], Shown("[OUT]")] = None
    """Folder for ranking.csv, slices.csv and a page to look at; RUN/ranking if it is not given."""
    by: Literal["combined", "entropy", "disagreement", "augmentation", "diversity"] = "combined"
    """What orders: a measure of doubt, diversity, or how near all doubt comes to a label."""
    top: Annotated[int | None, Shown("N", default="all")] = None
    """Write only the first N patients and their slices."""
    checkpoint: Checkpoint = "best"
    """Best by validation, the last, or after train --average the best student or average."""
    device: Device = "auto"
    """What computes; auto takes a GPU if there is one, cuda:1 the second of several."""
    overwrite: Flag = False
    """Replace a ranking that is in OUT already."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    quiet: Flag = False
    """Show no progress and no patients."""

    def __post_init__(self) -> None:
        check_device("--device", self.device)
        if self.top is not None:
            at_least("--top", self.top, 1)

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_before_ranking

        look_before_ranking(
            self.run, self.store, self.out, self.checkpoint, self.plugin, self.overwrite
        )

    def __call__(self) -> None:
        from diffrect.inference.ranking.rank import rank
        from diffrect.reporting.rank_report import first_lines, write_ranking

        ranking = rank(
            self.run,
            self.store,
            by=self.by,
            top=self.top,
            checkpoint=self.checkpoint,
            device=self.device,
            progress=not self.quiet,
        )
        if is_first():
            page = write_ranking(
                ranking, ranking_folder(self.run, self.out), overwrite=self.overwrite
            )
            if not self.quiet:
                for line in first_lines(ranking):
                    say(line)
                say(f"{page.parent}: ranking.csv, slices.csv")
                say_next("look at the first patients, in a browser:", page)
