"""The command `prepare`; like all commands it imports its work when it is called."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Flag
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import say
from diffrect.data.source_options import Format, SourceOptions

Axis = Literal["layout", "auto", "0", "1", "2", "axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class Prepare:
    """Convert a data set into a store, the folder that every other command reads."""

    source: Place[Path]
    """Folder of the data set: one of the layouts below, or your own images/ and labels/."""
    store: Place[Path]
    """Folder to make."""
    format: Format = "auto"
    """Layout of the data set; auto recognises it."""
    options: SourceOptions = field(default_factory=SourceOptions)
    axis: Axis = "layout"
    """How volumes are cut: auto (across the coarsest spacing), an axis of the file, or a plane."""
    intensity: Literal["minmax", "percentile", "zscore", "window"] = "minmax"
    """Intensities that become 0 and 1: extremes, percentiles, mean -/+ 4 sd, or CT window ends."""
    percentiles: Annotated[
        tuple[float, float] | None,
        Shown("LOW HIGH", default="0.5 99.5"),
    ] = None
    """Percentiles for --intensity percentile."""
    window: Annotated[tuple[float, float] | None, Shown("LEVEL WIDTH")] = None
    """CT window for --intensity window, in the scanner's units."""
    symmetries: Literal["layout", "none", "flips", "turns"] = "layout"
    """What keeps labels right: mirroring slices (flips), quarter turns too, or none; for --tta."""
    workers: Annotated[int, Shown(default="one for each processor")] = field(
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
                symmetries=None if self.symmetries == "layout" else self.symmetries,
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
