"""Which modules a file may name: those that the user has named too, and those of a few libraries.

A configuration, a checkpoint or an exported model may come from elsewhere, and importing a module
runs it. So what they name is imported only if it belongs to one of LIBRARIES, or if the user has
named the module: with --plugin, in another option of the same command, or in Python.
"""

from collections.abc import Iterable

from diffrect.errors import InputError
from diffrect.plugins.names import NAME

LIBRARIES = ("diffrect", "monai", "torchvision", "segmentation_models_pytorch")
_TRUSTED: set[str] = set()


def trust_module(module: str) -> None:
    """Note that the user has named a module."""
    _TRUSTED.add(module)


def trust_names(texts: Iterable[str]) -> None:
    """Note the modules that the user has named as MODULE:NAME, for example in options."""
    for text in texts:
        for found in NAME.findall(text):
            _TRUSTED.add(found.partition(":")[0])


def is_named(name: str) -> bool:
    """Return whether the user has named the module of MODULE:NAME."""
    return name.partition(":")[0].strip() in _TRUSTED


def is_of_library(module: str) -> bool:
    """Return whether a module belongs to one of LIBRARIES."""
    return module.partition(".")[0] in LIBRARIES


def is_trusted(name: str) -> bool:
    """Return whether MODULE:NAME may be imported because a file names it."""
    return is_named(name) or is_of_library(name.partition(":")[0])


def check_trusted(name: str, where: object, what: str) -> None:
    """Check that what a file names may be imported.

    Args:
        name: MODULE:NAME.
        where: the file.
        what: what it names it as, such as "network".

    Raises:
        InputError: it may not.
    """
    if is_trusted(name):
        return
    raise InputError(
        where,
        problem=f"names the {what} {name}, whose code is run only if you name it too",
        hint="if you trust it, give --plugin FILE.py, or --plugin MODULE if it is installed",
    )
