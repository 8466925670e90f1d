"""The command `inspect`; like all commands it imports its work when it is called."""

from dataclasses import dataclass, field
from pathlib import Path

from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Flag
from diffrect.console import say_json
from diffrect.data.source_options import Format, SourceOptions


@dataclass(frozen=True)
class Inspect:
    """Describe a data set, a store, a run, a model or an image, and all that is wrong with it.

    The exit code is 1 if anything is wrong. Notes are no problems: the data can be used.
    """

    path: Place[Path]
    """Folder of a data set, a store or a run; or a file: an image, or a model."""
    format: Format = "auto"
    """Layout of the data set; auto recognises it."""
    options: SourceOptions = field(default_factory=SourceOptions)
    all: Flag = False
    """List every problem and every note; otherwise those that are alike are counted."""
    json: Flag = False
    """Print JSON with the facts of each case instead of tables."""
    quiet: Flag = False
    """Show no progress."""

    def __call__(self) -> None:
        from diffrect.cli.inspecting.models import inspect_model, print_model

        model = inspect_model(self.path)
        if model is None:
            problems = self._inspect_data()
        else:
            problems = model.problems
            say_json(model.to_dict()) if self.json else print_model(model)
        if problems:
            raise SystemExit(1)

    def _inspect_data(self) -> tuple[str, ...]:
        """Print what a data set, a store or an image is, and return what is wrong with it."""
        from diffrect.cli.inspecting.found import print_inspection
        from diffrect.data.inspection import inspect

        shown = not self.quiet
        result = inspect(self.path, format=self.format, options=self.options, progress=shown)
        if self.json:
            say_json(result.to_dict())
        else:
            with_options = self.format != "auto" or self.options != SourceOptions()
            print_inspection(result, every=self.all, with_options=with_options)
        return result.problems
