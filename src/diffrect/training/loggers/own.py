"""A user's own logger: any class of Lightning Fabric's `Logger` interface."""

from importlib import import_module

from lightning_fabric.loggers.logger import Logger

from diffrect.errors import InputError
from diffrect.training.loggers.names import BUILT_IN, Wanted


def check_own(wanted: Wanted) -> None:
    """Check that a user's own logger is there and is one; the package's own are.

    Raises:
        InputError: it cannot be imported, or is of another kind.
    """
    if wanted.name not in BUILT_IN:
        _find(wanted)


def make_own(wanted: Wanted) -> Logger:
    """Return a user's own logger, made with the arguments that he gave."""
    return _find(wanted)(*wanted.arguments, **wanted.named)


def _find(wanted: Wanted) -> type[Logger]:
    module, _, name = wanted.name.partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        expected = "a class that can be imported"
        raise InputError(wanted.subject, expected, reason=reason, setting="logger") from error
    if not (isinstance(found, type) and issubclass(found, Logger)):
        expected = "a subclass of lightning_fabric.loggers.Logger"
        raise InputError(wanted.subject, expected, got=repr(found), setting="logger")
    return found
