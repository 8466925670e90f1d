"""Write reference/options.md: every setting of views and methods, from their dataclasses."""

import json
import re
from typing import Any

from diffrect.methods.catalogue.describe import describe
from diffrect.methods.catalogue.known import written
from diffrect.methods.catalogue.option import Description, Option
from diffrect.methods.registry import METHODS

HEAD = """\
# Options

`diffrect train --option NAME=VALUE` sets one of these, as often as it is given; `options:` in a
`--config` file and `TrainConfig(options={...})` in Python do the same. The preset chooses the
values that are not set; [the two presets](../explain/presets.md) says why. `diffrect options
METHOD` prints the same. The page is written by `docs/tools/generate.py` from the dataclasses in the
source, and a test checks that it is current.
"""
VIEWS = """\
## Views

These hold for every method. `diffrect.data.views` makes the weak and the strong view of a slice. A
method whose publication defines its views changes some of these values in its presets, which its
section below then says.
"""


def options_page() -> str:
    """Return the page as Markdown."""
    described = [describe(name) for name in METHODS]
    usual = next(each for each in described if each.method == "supervised")
    parts = [HEAD, VIEWS, *map(_definition, usual.views)]
    for method in described:
        parts.append(f"## {method.method}\n\n{method.title}\n")
        parts += map(_definition, method.options)
        if not method.options:
            parts.append("This method has no options of its own.\n")
        parts += _views_of_method(method, usual)
    return "\n".join(parts)


def catalogue() -> str:
    """Return the file from which `diffrect options` reads what the methods would say."""
    return written(describe(name) for name in METHODS)


def _definition(option: Option) -> str:
    """Return the definition of an option in a list."""
    values = [_shown(value) for value in option.values.values()]
    presets = f"`{values[0]}` in both presets"
    if values[0] != values[1]:
        presets = f"`{values[0]}`; `{values[1]}` in preset `reference`"
    return f"`{option.name}` ({_kind(option)})\n:   {option.text}\n    Value: {presets}.\n"


def _views_of_method(method: Description, usual: Description) -> list[str]:
    """Return a sentence on the views' settings that a method's presets change."""
    pairs = zip(method.views, usual.views, strict=True)
    own = [
        (a.name, a.values["default"])
        for a, b in pairs
        if a.values["default"] != b.values["default"]
    ]
    changed = [f"`{name}={_shown(value)}`" for name, value in own]
    return [f"Its views differ in {', '.join(changed)}.\n"] if changed else []


def _kind(option: Option) -> str:
    """Return the kind of an option with its choices, and null, as code."""
    kind = option.kind
    for word in (*option.choices, "null"):
        kind = re.sub(rf"(?<![\w`]){re.escape(word)}(?![\w`])", f"`{word}`", kind)
    return kind


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
