"""MODULE:NAME: an object of a module, and what a user reads if there is none."""

import re
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any

from diffrect.errors import InputError

NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
"""MODULE:NAME, both as Python spells names."""

_PACKAGE = Path(__file__).parents[1]


def find_object(name: str, subject: str, setting: str) -> Any:
    """Return the object that MODULE:NAME names, and import the module for it.

    The module is one that is installed, lies in a folder of PYTHONPATH, or was read by
    `load_plugin`; the current folder is none of these by itself.

    Args:
        name: MODULE:NAME.
        subject: what messages call it, such as the option and its value.
        setting: the setting that names it, such as `method`.

    Raises:
        InputError: no such module, one that cannot be imported, or nothing of that name in it.
    """
    module, _, attribute = name.partition(":")
    if not NAME.fullmatch(name):
        raise InputError(subject, "MODULE:NAME such as my_code:Mine", setting=setting)
    try:
        found = import_module(module)
    except ImportError as error:
        raise InputError(
            subject,
            "a module on PYTHONPATH, or --plugin FILE.py",
            reason=error,
            hint=_near(module),
            setting=setting,
        ) from None
    except Exception as error:  # a user's module may raise anything
        raise InputError(
            subject,
            "a module that can be imported",
            found=f"{module}, which {describe_fault(error)}",
            setting=setting,
        ) from error
    if not hasattr(found, attribute):
        expected = f"{attribute} to be defined in {module}"
        raise InputError(subject, expected, found="nothing of that name", setting=setting)
    return getattr(found, attribute)


def describe_fault(error: BaseException) -> str:
    """Return what a user's code raises, and in which line, as the end of a sentence."""
    frame = extract_tb(error.__traceback__)[-1]
    ours = Path(frame.filename).is_relative_to(_PACKAGE)
    known = isinstance(error, SyntaxError) or ours  # the message says it, or it is in the call
    where = "" if known else f" ({frame.filename}, line {frame.lineno})"
    first = (str(error).splitlines() or [""])[0]
    return f"raises {type(error).__name__}: {' '.join(first.split())}{where}"


def _near(module: str) -> str | None:
    """Return what to do if the current folder holds a file of the module's name."""
    file = Path(f"{module.partition('.')[0]}.py")
    return f"--plugin {file} reads the file of this folder" if file.is_file() else None
