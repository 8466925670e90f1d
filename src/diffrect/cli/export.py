"""The command `export`; like all commands it imports its work when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Checkpoint, Flag, Plugins
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import say


@dataclass(frozen=True)
class Export:
    """Write a trained segmenter as one file, which predict takes in place of a RUN.

    A .safetensors file comes with a model card, MODEL.md; .onnx runs without PyTorch.
    """

    run: Place[Path]
    """Folder made by train."""
    file: Annotated[Place[Path], Shown("MODEL")]
    """File to write, MODEL.safetensors or MODEL.onnx."""
    checkpoint: Checkpoint = "best"
    """Best by validation, the last, or after train --average the best student or average."""
    licence: str | None = None
    """Licence of the weights, such as CC-BY-4.0, for the model card."""
    overwrite: Flag = False
    """Replace a file, and its card, that exist already."""
    plugin: Plugins = ()
    """File of your own methods, networks or views, which FILE:NAME then names."""
    quiet: Flag = False
    """Print nothing."""

    def look(self) -> None:
        """Refuse what can be refused before the work is loaded."""
        from diffrect.plugins.files import load_plugins
        from diffrect.runs.recognise import check_has_model

        check_has_model(self.run, self.checkpoint)
        load_plugins(self.plugin)

    def __call__(self) -> None:
        from diffrect.evaluation.export import export

        export(
            self.run,
            self.file,
            checkpoint=self.checkpoint,
            licence=self.licence,
            overwrite=self.overwrite,
        )
        if not self.quiet:
            exported = self.file.suffix == ".onnx"
            card = self.file.with_suffix(".md")
            say(
                f"{self.file}: {'equal to PyTorch' if exported else f'written, its card is {card}'}"
            )
            say_next("diffrect predict", self.file, "OUT IMAGE...")
