"""The code that the settings of a training name: a method, a network, views, loggers."""

import shlex
from collections.abc import Iterator

from diffrect.config import TrainConfig
from diffrect.errors import InputError
from diffrect.plugins.files import loaded_plugins
from diffrect.plugins.names import NAME
from diffrect.plugins.trust import check_trusted, is_named, is_of_library, trust_names

VIEW_OPTIONS = ("weak_view", "strong_view")
"""Options whose value is a function, MODULE:FUNCTION."""


def named_code(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Yield what the settings name and its MODULE:NAME, such as ("network", "my_nets:Small")."""
    if ":" in config.method:
        yield "method", config.method
    if ":" in config.network:
        yield "network", config.network.partition("(")[0].strip()
    for option in VIEW_OPTIONS:
        value = config.options.get(option)
        if isinstance(value, str):
            yield option, value
    for name in NAME.findall(config.logger):
        yield "logger", name


def trust_settings(config: TrainConfig) -> None:
    """Note that the user has named the code of these settings himself."""
    trust_names(name for _, name in named_code(config))


def check_settings(config: TrainConfig, where: object, *, predicts: bool = False) -> None:
    """Check that the code which settings from a file name may be imported.

    Args:
        config: the settings.
        where: the file.
        predicts: whether they only predict, which needs no views and no loggers.

    Raises:
        InputError: the user has not named a module of theirs; or a library's network gets a path or
            an address, from which it might load something.
    """
    for what, name in named_code(config):
        if what in ("method", "network") or not predicts:
            check_trusted(name, where, what)
    check_network(config.network, where)


def plugin_options(config: TrainConfig) -> str:
    """Return the options, each after a space, with which a later command may use these settings."""
    files = {plugin.module: str(plugin.file) for plugin in loaded_plugins()}
    modules = dict.fromkeys(name.partition(":")[0] for _, name in named_code(config))
    named = [files.get(module, module) for module in modules if not is_of_library(module)]
    return "".join(f" --plugin {shlex.quote(name)}" for name in named)


def check_network(network: str, where: object) -> None:
    """Check that a network which a file names gets no path and no address.

    Raises:
        InputError: it does.
    """
    name, _, arguments = network.partition("(")
    if any(sign in arguments for sign in "/\\") and not is_named(name):
        module = name.partition(":")[0]
        raise InputError(
            where,
            problem=f"names the network {network}, which gets a path or an address",
            hint=f"if you trust it, give --plugin {module}",
        )
