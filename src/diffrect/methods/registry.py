"""The training methods by name, and how a name and a preset become a method with its options."""

from dataclasses import fields, is_dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isabstract
from traceback import extract_tb
from typing import Any, NamedTuple, cast

from diffrect.checks import update_dataclass
from diffrect.config import VIEW_PRESETS, TrainConfig, ViewOptions
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
    "diffrect": "diffrect.methods.diffrect.method:DiffRect",
}
ENTRY_POINT_GROUP = "diffrect.methods"
# Options that a method which lacks them ignores: a comparison gives them to all of its methods, and
# older configurations held them whatever the method.
_ANY_METHOD_TAKES = {"rectify_from"}


class Resolved(NamedTuple):
    """A configuration's method class and the full settings of the method and the views."""

    method: type[Method]
    method_options: Any
    view_options: ViewOptions


def find_method(name: str) -> type[Method]:
    """The method class called `name`: built in, from an entry point, or package.module:Class.

    Raises:
        InputError: there is no such method, or what is there is none.
    """
    points = {p.name: f"{p.module}:{p.attr}" for p in entry_points(group=ENTRY_POINT_GROUP)}
    target = {**points, **METHODS}.get(name, name)  # nobody replaces a built-in method
    module, colon, attribute = target.partition(":")
    try:
        if not colon:
            raise ImportError(f"no method called {name}")
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join([*METHODS, *sorted(points.keys() - METHODS.keys())])
        raise InputError(
            f"--method {name}: expected one of {known}, or package.module:Class ({error})",
            setting="method",
        ) from None
    except Exception as error:  # whatever a module of the user's raises
        frame = extract_tb(error.__traceback__)[-1]
        where = (
            "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
        )
        reason = " ".join(str(error).split())
        raise InputError(
            f"--method {name}: expected a module that can be imported, {module} raises "
            f"{type(error).__name__}: {reason}{where}",
            setting="method",
        ) from error
    check_method(found, f"--method {name}")
    return cast(type[Method], found)


def check_method(found: Any, where: str) -> None:
    """Whether a class is a whole method.

    Raises:
        InputError: no subclass of Method, without `updates` or options of its own.
    """
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise InputError(f"{where}: expected a subclass of diffrect.methods.base.Method")
    if isabstract(found):
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise InputError(f"{where}: expected a method that defines {lacking}")
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and is_dataclass(options)):
        raise InputError(f"{where}: expected Options to be a dataclass, got {options!r}")
    of_views = {field.name for field in fields(ViewOptions)}
    for field in fields(options):
        if field.name in of_views:
            raise InputError(f"{where}: expected another name for {field.name}, an option of views")


def has_option(method: str, option: str) -> bool:
    """Return whether the method called `method` has an option of its own called `option`.

    Raises:
        InputError: there is no such method.
    """
    return option in {field.name for field in fields(find_method(method).Options)}


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
        if name not in known | _ANY_METHOD_TAKES:
            expected = ", ".join(sorted(known))
            raise InputError(f"--option {name}", f"one of {expected}", setting=name)
    of_views = {k: v for k, v in config.options.items() if k in vars(view_options)}
    of_method = {k: v for k, v in config.options.items() if k in vars(method_options)}
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
