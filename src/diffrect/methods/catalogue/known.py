"""The options of the methods of this package, without loading a method."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from diffrect.methods.catalogue.option import Description, Option
from diffrect.methods.registry import check_name

FILE = "methods.json"


def description_of(name: str) -> Description:
    """Return a method with its options; one of your own is imported.

    Raises:
        InputError: there is no such method.
    """
    if name in _known():
        return _known()[name]
    check_name(name)
    from diffrect.methods.catalogue.describe import describe

    return describe(name)


def option_names() -> frozenset[str]:
    """Return the names of all options of the methods of this package, and of the views."""
    return frozenset(o.name for d in _known().values() for o in (*d.options, *d.views))


def written(descriptions: Iterable[Description]) -> str:
    """Return the text of the file for these methods."""
    each = list(descriptions)
    views = [{**option.to_dict(), "values": None} for option in each[0].views]
    methods = {
        d.method: {**d.to_dict(), "views": {option.name: option.values for option in d.views}}
        for d in each
    }
    return json.dumps({"views": views, "methods": methods}, indent=1) + "\n"


@cache
def _known() -> Mapping[str, Description]:
    content = json.loads((resources.files(__package__) / FILE).read_text("utf-8"))
    views = content["views"]
    return {
        name: Description(
            name,
            held["title"],
            tuple(map(_option, held["options"])),
            tuple(_option({**view, "values": held["views"][view["name"]]}) for view in views),
        )
        for name, held in content["methods"].items()
    }


def _option(held: Mapping[str, Any]) -> Option:
    return Option(**{**held, "choices": tuple(held["choices"])})
