"""The training methods by name, and how a name and a preset become a method with its options."""

from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from diffrect.config import VIEW_PRESETS, TrainConfig, ViewOptions, update_dataclass
from diffrect.errors import InputError
from diffrect.methods.base import Method

METHODS = {
    "supervised": "diffrect.methods.supervised:Supervised",
    "mean_teacher": "diffrect.methods.mean_teacher:MeanTeacher",
    "uamt": "diffrect.methods.uamt:UAMT",
    "fixmatch": "diffrect.methods.fixmatch:FixMatch",
    "ict": "diffrect.methods.ict:ICT",
    "cps": "diffrect.methods.cps:CPS",
    "mcnet": "diffrect.methods.mcnet:MCNet",
    "incl": "diffrect.methods.incl:INCL",
    "unimatch": "diffrect.methods.unimatch:UniMatch",
    "bcp": "diffrect.methods.bcp:BCP",
    "diffrect": "diffrect.methods.diffrect:DiffRect",
}
ENTRY_POINT_GROUP = "diffrect.methods"


class Resolved(NamedTuple):
    """A configuration's method class and the full settings of the method and the views."""

    method: type[Method]
    method_options: Any
    view_options: ViewOptions


def find_method(name: str) -> type[Method]:
    """The method class called `name`: built in, from an entry point, or package.module:Class.

    Raises:
        InputError: there is no such method.
    """
    target = METHODS.get(name, name)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        target = point.value
    module, colon, attribute = target.partition(":")
    try:
        if not colon:
            raise ImportError(f"no method called {name}")
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        known = ", ".join(METHODS)
        raise InputError(
            f"--method {name}: expected one of {known}, or package.module:Class ({error})"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise InputError(f"--method {name}: expected a subclass of diffrect.methods.base.Method")
    return found


def resolve(config: TrainConfig) -> Resolved:
    """Method class and settings of a configuration: preset, then what `options` changes.

    Raises:
        InputError: an unknown method or option, or a value of the wrong type.
    """
    method = find_method(config.method)
    where, of_views = f"preset {config.preset}", vars(ViewOptions())
    changes = method.presets.get(config.preset, {})
    method_options = update_dataclass(
        method.Options(), {k: v for k, v in changes.items() if k not in of_views}, where
    )
    fixed_views = {k: v for k, v in changes.items() if k in of_views}
    view_options = update_dataclass(
        ViewOptions(), {**VIEW_PRESETS[config.preset], **fixed_views}, where
    )
    known = set(vars(view_options)) | set(vars(method_options))
    for name in config.options:
        if name not in known:
            expected = ", ".join(sorted(known))
            raise InputError(f"--option {name}: expected one of {expected}")
    of_views = {k: v for k, v in config.options.items() if k in vars(view_options)}
    of_method = {k: v for k, v in config.options.items() if k in vars(method_options)}
    if config.rectify_from is not None and "rectify_from" in vars(method_options):
        of_method["rectify_from"] = config.rectify_from
    return Resolved(
        method,
        update_dataclass(method_options, of_method, "--option"),
        update_dataclass(view_options, of_views, "--option"),
    )


def complete(config: TrainConfig) -> TrainConfig:
    """The configuration with every setting of method and views among its options.

    Checkpoints hold this one, so that a later version with other defaults predicts the same.
    """
    resolved = resolve(config)
    options = vars(resolved.view_options) | vars(resolved.method_options)
    return replace(config, options=options)
