"""The command `demo`; like all commands it imports its work when it is called."""

from dataclasses import dataclass
from pathlib import Path

from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Flag
from diffrect.cli.guidance import say_next


@dataclass(frozen=True)
class Demo:
    """Make synthetic hearts, train with and without DiffRect, and compare; needs no data."""

    folder: Place[Path] = Path("demo")
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
