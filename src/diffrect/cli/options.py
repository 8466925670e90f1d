"""The command `options`: what `--option` of train and compare can set."""

from dataclasses import dataclass
from typing import Annotated, Any

from rich.text import Text

from diffrect.cli.arguments.help import add_section
from diffrect.cli.arguments.spec import Place
from diffrect.cli.fields import Flag, Plugins
from diffrect.cli.guidance import say_next
from diffrect.config import Shown
from diffrect.console import say_json, show
from diffrect.errors import InputError
from diffrect.methods.catalogue.known import description_of
from diffrect.methods.catalogue.option import Description, Option
from diffrect.methods.registry import METHODS
from diffrect.plugins.files import load_plugins


@dataclass(frozen=True)
class Options:
    """List every --option of a method and of the views: type, value in each preset, a sentence."""

    method: Annotated[Place[str | None], Shown("METHOD")] = None
    """Name of a method, or your own as MODULE:CLASS; without it, all are listed."""
    plugin: Plugins = ()
    """File of your own methods, which FILE:NAME then names."""
    json: Flag = False
    """Print JSON, with all sentences."""

    def look(self) -> None:
        """Load the plug-ins."""
        load_plugins(self.plugin)

    def __call__(self) -> None:
        names = list(METHODS) if self.method is None else [self.method]
        found = [self._described(name) for name in names]
        if self.json:
            say_json([each.to_dict() for each in found])
            return
        text = Text()
        for each in found:
            own = [_item(option) for option in each.options]
            add_section(
                text, f"{each.method}: {each.title}".rstrip("."), own or [("", "no options")]
            )
            if self.method is not None or each is found[-1]:
                views = "views" if self.method else "views, of methods that do not change them"
                usual = each if self.method else description_of("supervised")
                add_section(text, views, [_item(option) for option in usual.views])
        show(text)
        say_next(f"diffrect train STORE RUN --method {names[-1]} --option NAME=VALUE")

    def _described(self, name: str) -> Description:
        try:
            return description_of(name)
        except InputError as error:
            raise error.about(name or "METHOD") from None


def _item(option: Option) -> tuple[str, str]:
    """Return the name of an option, and what the list says of it."""
    values = {preset: shown_value(value) for preset, value in option.values.items()}
    usual = values.pop("default")
    others = [f"{preset}: {value}" for preset, value in values.items() if value != usual]
    notes = "; ".join([option.kind, f"default: {usual}", *others])
    return option.name, f"{option.sentence} ({notes})"


def shown_value(value: Any) -> str:
    """Return a value as --option takes it, a number to four digits."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
