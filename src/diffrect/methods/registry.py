"""Find a method by its name, and turn a configuration into a method with all its options."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from inspect import isabstract
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from diffrect.checks import update_dataclass
from diffrect.config import TrainConfig
from diffrect.data.view_options import VIEW_PRESETS, ViewOptions
from diffrect.earlier_formats import earlier_options
from diffrect.errors import InputError
from diffrect.networks.spec import NetworkSpec
from diffrect.plugins.names import find_object

if TYPE_CHECKING:  # it loads PyTorch, which takes seconds, before a wrong name is told
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
    "ad_mt": "diffrect.methods.ad_mt:ADMT",
    "crossmatch": "diffrect.methods.crossmatch:CrossMatch",
    "unimatch_v2": "diffrect.methods.unimatch_v2:UniMatchV2",
    "abd": "diffrect.methods.abd:ABD",
    "beta_fft": "diffrect.methods.beta_fft:BetaFFT",
    "diffrect": "diffrect.methods.diffrect.method:DiffRect",
}
UNET_METHODS = ("mcnet", "incl", "unimatch", "crossmatch", "unimatch_v2")
"""Those that read maps inside the U-Net, see `Method.needs_unet`."""
ENTRY_POINT_GROUP = "diffrect.methods"
# Options that a method which lacks them ignores: a comparison gives them to all of its methods, and
# older configurations held them whatever the method.
_ANY_METHOD_TAKES = {"rectify_from", "rectify_after", "two_classes"}

_OF_SINGLE_GEOMETRY = (
    "turn_probability",
    "rotation_degrees",
    "rotation_probability",
    "scale_range",
)


class Resolved(NamedTuple):
    """The method class of a configuration, and all settings of the method and of the views."""

    method: "type[Method]"
    method_options: Any
    """An instance of `method.Options`."""
    view_options: ViewOptions


def find_method(name: str) -> "type[Method]":
    """Return the method class called `name`.

    Args:
        name: of a built-in method, of an entry point, or MODULE:CLASS.

    Raises:
        InputError: there is nothing of that name, or it is not a method.
    """
    found = find_object(_target(name), f"--method {name}", "method")
    _check_method(found, f"--method {name}")
    return cast("type[Method]", found)


def check_name(name: str) -> None:
    """Check the name of a method without importing it; one such as MODULE:CLASS passes.

    Raises:
        InputError: there is nothing of that name.
    """
    _target(name)


def _target(name: str) -> str:
    """Return MODULE:CLASS of a method."""
    target = {**_entry_points(), **METHODS}.get(name, name)  # no entry point replaces a built-in
    if ":" not in target:
        known = [*METHODS, *sorted(_entry_points().keys() - METHODS.keys())]
        expected = f"one of {', '.join(known)}, or MODULE:CLASS"
        hint = _did_you_mean(name, known)
        raise InputError(f"--method {name}", expected, hint=hint, setting="method")
    return target


def _entry_points() -> dict[str, str]:
    from importlib.metadata import entry_points  # takes as long to import as yaml does

    return {p.name: f"{p.module}:{p.attr}" for p in entry_points(group=ENTRY_POINT_GROUP)}


def _did_you_mean(name: str, known: Iterable[str]) -> str | None:
    close = get_close_matches(name[:100], known, 1)  # comparing takes the square of the length
    return f"did you mean {close[0]}?" if close else None


def _check_method(found: object, subject: str) -> None:
    """Check that what was found is a whole method.

    Raises:
        InputError: it is not a subclass of Method, or lacks `updates` or options of its own.
    """
    from diffrect.methods.base import Method

    def refuse(expected: str, got: object = None) -> InputError:
        return InputError(subject, expected, got=got, setting="method")

    if not (isinstance(found, type) and issubclass(found, Method)):
        raise refuse("a subclass of diffrect.methods.base.Method")
    if isabstract(found):
        raise refuse(f"a method that defines {', '.join(sorted(found.__abstractmethods__))}")
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and is_dataclass(options)):
        raise refuse("Options to be a dataclass", got=repr(options))
    of_views = {field.name for field in fields(ViewOptions)}
    for field in fields(options):
        if field.name in of_views:
            raise refuse(f"another name for {field.name}, an option of views")


def check_network_name(config: TrainConfig) -> None:
    """Check the spelling of a network, and that a built-in method takes it; imports neither.

    Raises:
        InputError: the network is misspelt, or the method reads maps inside the U-Net.
    """
    NetworkSpec.parse(config.network)
    if config.method in UNET_METHODS:
        _refuse_other_networks(config)


def _refuse_other_networks(config: TrainConfig) -> None:
    """Refuse any network but the U-Net for a method that needs it."""
    spec = NetworkSpec.parse(config.network)
    if spec.is_own:
        others = ", ".join(name for name in METHODS if name not in UNET_METHODS)
        raise InputError(
            f"--network {spec.name}",
            f"unet with method {config.method}, which reads maps inside it",
            hint=f"these take any network: {others}",
            setting="network",
        )


def has_option(method: str, option: str) -> bool:
    """Return whether the method called `method` has an option of its own called `option`.

    Raises:
        InputError: there is no such method.
    """
    return option in {field.name for field in fields(find_method(method).Options)}


def resolve(config: TrainConfig) -> Resolved:
    """Return the method class and all settings of a configuration.

    The settings are those of the preset, changed by the configuration's `options`.

    Raises:
        InputError: an unknown method or option, a value of the wrong type, or a contradiction.
    """
    check_network_name(config)
    method = find_method(config.method)
    if method.needs_unet:
        _refuse_other_networks(config)
    method_options, view_options = method.Options(), ViewOptions()
    known = vars(method_options).keys() | vars(view_options).keys()
    for name in config.options:
        if name not in known | _ANY_METHOD_TAKES:
            expected = ", ".join(sorted(known))
            hint = _did_you_mean(name, known)
            raise InputError(f"--option {name}", f"one of {expected}", hint=hint, setting=name)
    preset = {**VIEW_PRESETS[config.preset], **method.presets.get(config.preset, {})}
    given = {name: value for name, value in config.options.items() if name in known}
    for values, where in ((preset, f"preset {config.preset}"), (given, "--option")):
        of_views = {k: v for k, v in values.items() if k in vars(view_options)}
        of_method = {k: v for k, v in values.items() if k not in of_views}
        method_options = update_dataclass(method_options, of_method, where)
        view_options = update_dataclass(view_options, of_views, where)
    _check_geometry(view_options, config.options)
    method.check_settings(method_options, config)
    return Resolved(method, method_options, view_options)


def _check_geometry(views: ViewOptions, given: Mapping[str, Any]) -> None:
    """Check that no option is given that only the other geometry reads.

    Raises:
        InputError: naming the option.
    """
    if views.geometry == "single" or "geometry" in given:  # all of them are given in a checkpoint
        return
    for name in _OF_SINGLE_GEOMETRY:
        if name in given:
            raise InputError(
                f"--option {name}",
                "geometry=single beside it",
                hint="the authors' flips and rotations do not read it",
                setting=name,
            )


def remembered(config: TrainConfig) -> TrainConfig:
    """Return the configuration of a checkpoint with the preset that it was trained with.

    A checkpoint holds every option of its time, see `complete`. The preset says the others, except
    where it was changed when they were added.

    Raises:
        InputError: there is no such method.
    """
    earlier = earlier_options(config.method, config.preset)
    known = vars(find_method(config.method).Options()).keys() | vars(ViewOptions()).keys()
    kept = {name: value for name, value in earlier.items() if name in known}
    return replace(config, options={**kept, **config.options})


def as_trained(config: TrainConfig) -> tuple[TrainConfig, ViewOptions]:
    """Return the configuration of a trained model, see `remembered`, and its settings of views.

    A method from outside the package is not looked for: what predicts does not need it.

    Raises:
        InputError: an unknown option, or a value of the wrong type.
    """
    if config.method in METHODS:
        config = remembered(config)
        return config, resolve(config).view_options
    views = ViewOptions()
    given = {name: value for name, value in config.options.items() if name in vars(views)}
    return config, update_dataclass(views, given, "--option")


def complete(config: TrainConfig) -> TrainConfig:
    """Return the configuration with every setting of method and views among its options.

    Checkpoints hold it in this form, so that a later version with other defaults predicts the same.
    """
    resolved = resolve(config)
    options = vars(resolved.view_options) | vars(resolved.method_options)
    return replace(config, options=options)
