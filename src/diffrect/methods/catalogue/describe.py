"""Ask a method for its options."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diffrect.checks import field_texts
from diffrect.config import Preset, TrainConfig
from diffrect.methods.catalogue.option import Description, Option
from diffrect.methods.registry import Resolved, find_method, resolve

_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def describe(name: str) -> Description:
    """Return a method with its options and those of its views.

    Raises:
        InputError: there is no such method.
    """
    method = find_method(name)
    presets: dict[str, Resolved] = {
        preset: resolve(TrainConfig(method=name, preset=preset)) for preset in get_args(Preset)
    }
    own = {preset: resolved.method_options for preset, resolved in presets.items()}
    views = {preset: resolved.view_options for preset, resolved in presets.items()}
    title = (inspect.getdoc(method) or "").split("\n\n")[0]
    return Description(name, " ".join(title.split()), _options(own), _options(views))


def _options(settings: Mapping[str, Any]) -> tuple[Option, ...]:
    """Return the fields of a dataclass of options, of which there is an instance per preset."""
    kind = type(settings["default"])
    hints, texts = get_type_hints(kind), field_texts(kind)
    return tuple(
        Option(
            field.name,
            kind_in_words(hints[field.name]),
            _choices(hints[field.name]),
            " ".join(texts.get(field.name, "").split()),
            {preset: getattr(values, field.name) for preset, values in settings.items()},
        )
        for field in dataclasses.fields(kind)
    )


def _choices(hint: Any) -> tuple[str, ...]:
    if get_origin(hint) is Literal:
        return tuple(each for each in get_args(hint) if isinstance(each, str))
    return tuple(choice for part in get_args(hint) for choice in _choices(part))


def kind_in_words(hint: Any) -> str:
    """Return a type as people say it: "linear or nearest", "whole number or null"."""
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if isinstance(hint, type):
        return _WORDS.get(hint, hint.__name__)
    kinds = [kind_in_words(part) for part in get_args(hint) if part is not type(None)]
    return " or ".join([*kinds, "null"] if type(None) in get_args(hint) else kinds)
