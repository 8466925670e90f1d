"""The command `view`; like all commands it imports its work when it is called."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from diffrect.checks import at_least, check_device
from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Device, Flag, Plugins
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import count, say, tell


@dataclass(frozen=True)
class View:
    """Look at scans with labels over them, in a browser on this machine or in one page."""

    source: Annotated[Place[Path], Shown("RUN|STORE|SCAN")]
    """A run, whose model predicts what is looked at; a store; or an image or a folder of them."""
    labels: Annotated[Place[tuple[Path, ...]], Shown("LABELS...")] = ()
    """Label files and entropy maps to lay over the scans, or folders of them, matched by name."""
    store: Path | None = None
    """Store to read instead of the one the run was trained on."""
    patients: Annotated[str, Shown("WHO", default="val of a run, all of a store")] = ""
    """Whose: unlabelled, labelled, train, val, test, all, ids with commas, or a file of ids."""
    checkpoint: Checkpoint = "best"
    """Best by validation, the last, or after train --average the best student or average."""
    device: Device = "auto"
    """What predicts; auto takes a GPU if there is one, cuda:1 the second of several."""
    html: Annotated[Path | None, Shown("OUT.html")] = None
    """Write one page with everything in it, and serve nothing."""
    overwrite: Flag = False
    """Replace OUT.html if it exists already."""
    port: Annotated[int, Shown("INT", default="any that is free")] = 0
    """Port of this machine to serve on."""
    open: Flag = False
    """Open the page in the browser of this machine."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    quiet: Flag = False
    """Print nothing but the address."""

    def __post_init__(self) -> None:
        check_device("--device", self.device)
        at_least("--port", self.port, 0, 65535)

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.cli.before import look_before_viewing

        look_before_viewing(self.source, self.store, self.patients, self.checkpoint, self.plugin)
        if self.html is not None:
            from diffrect.viewing.view import check_output

            check_output(self.html, overwrite=self.overwrite)

    def __call__(self) -> None:
        from diffrect.viewing.gather import gather
        from diffrect.viewing.view import serve, write_viewer

        gallery = gather(
            self.source,
            self.labels,
            store=self.store,
            patients=self.patients,
            checkpoint=self.checkpoint,
            device=self.device,
        )
        for line in () if self.quiet else gallery.remarks:
            tell(line)
        if self.html is None:
            serve(gallery, self._ready, self.port)
            return
        size = write_viewer(self.html, gallery, overwrite=self.overwrite)
        if not self.quiet:
            words = f"{count(len(gallery.cases), 'case')}, {size / 2**20:.1f} MiB"
            say(f"{self.html}: {words}; it needs no other file")
            say_next("open it in a browser")
        if self.open:
            webbrowser.open(self.html.resolve().as_uri())

    def _ready(self, url: str) -> None:
        say(url)
        if not self.quiet:
            tell("open this address in a browser of this machine; Ctrl-C ends it")
        if self.open:
            webbrowser.open(url)
