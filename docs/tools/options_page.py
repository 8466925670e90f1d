"""Write reference/options.md: every setting of views and methods, from their dataclasses."""

import ast
import dataclasses
import inspect
import json
import textwrap
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diffrect.config import TrainConfig
from diffrect.data.view_options import ViewOptions
from diffrect.methods.registry import METHODS, find_method, resolve

HEAD = """\
# Options

`diffrect train --option NAME=VALUE` sets one of these, as often as it is given; `options:` in a
`--config` file and `TrainConfig(options={...})` in Python do the same. The preset chooses the
values that are not set; [the two presets](../explain/presets.md) says why. The page is written by
`docs/tools/generate.py` from the dataclasses in the source, and a test checks that it is current.
"""
VIEWS = """\
## Views

These hold for every method. `diffrect.data.views` makes the weak and the strong view of a slice. A
method whose publication defines its views changes some of these values in its presets, which its
section below then says.
"""


def options_page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD, VIEWS, *_options(ViewOptions, "supervised", of_views=True)]
    for name in METHODS:
        method = find_method(name)
        title = (inspect.getdoc(method) or "").split("\n\n")[0]
        parts.append(f"## {name}\n\n{' '.join(title.split())}\n")
        parts += _options(method.Options, name, of_views=False)
        parts += _views_of_method(name)
    return "\n".join(parts)


def _options(kind: Any, method: str, *, of_views: bool) -> list[str]:
    """Return a definition for each field of a dataclass of options."""
    settings = {preset: _settings(method, preset, of_views) for preset in ("default", "reference")}
    types, texts = get_type_hints(kind), _attribute_docs(kind)
    items = []
    for field in dataclasses.fields(kind):
        values = [_shown(settings[preset][field.name]) for preset in settings]
        presets = f"`{values[0]}` in both presets"
        if values[0] != values[1]:
            presets = f"`{values[0]}`; `{values[1]}` in preset `reference`"
        text = " ".join(texts[field.name].split())
        items.append(f"`{field.name}` ({_type(types[field.name])})\n:   {text}")
        items.append(f"    Value: {presets}.\n")
    return items or ["This method has no options of its own.\n"]


def _views_of_method(name: str) -> list[str]:
    """Return a sentence on the views' settings that a method's presets change."""
    usual, own = (_settings(method, "default", True) for method in ("supervised", name))
    changed = [f"`{key}={_shown(own[key])}`" for key in own if own[key] != usual[key]]
    return [f"Its views differ in {', '.join(changed)}.\n"] if changed else []


def _settings(method: str, preset: str, of_views: bool) -> dict[str, Any]:
    resolved = resolve(TrainConfig(method=method, preset=preset))  # type: ignore[arg-type]
    return vars(resolved.view_options if of_views else resolved.method_options)


def _attribute_docs(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass and of its bases."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                texts[ast.unparse(field.target)] = ast.literal_eval(after.value)
    return texts


def _type(hint: Any) -> str:
    """Return a type in words: a choice, or the name that Python has for it."""
    if get_origin(hint) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(hint))
    if isinstance(hint, type):
        names = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text"}
        return names.get(hint.__name__, hint.__name__)
    kinds = [_type(part) for part in get_args(hint) if part is not type(None)]
    return " or ".join([*kinds, "`null`"] if type(None) in get_args(hint) else kinds)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
