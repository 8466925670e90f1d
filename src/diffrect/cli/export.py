"""The command `export`; like all commands it imports its work when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Flag
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import say


@dataclass(frozen=True)
class Export:
    """Write a trained segmenter as ONNX; predict takes the file in place of a RUN."""

    run: Place[Path]
    """Folder made by train."""
    file: Annotated[Place[Path], Shown("MODEL.onnx")]
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
