"""NiiVue, which draws scans in a browser, as the package `ipyniivue` brings it.

NiiVue itself is published for JavaScript only; `ipyniivue` is its makers' package for Python and
holds a whole copy in one file, made for notebooks. That file exports a widget and not NiiVue, so
what it exports is replaced here. Nothing is downloaded.
"""

import re
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from diffrect.errors import InputError

PACKAGE = "ipyniivue"
VERSIONS = ">=2.4.4,<2.5"
_HINT = f"install the extra viewer, or: pip install '{PACKAGE}{VERSIONS}'"
_SCRIPT = "ipyniivue/static/widget.js"
# The one place where the widget makes an instance says what the file calls the class.
_MADE = re.compile(r'"Creating new Niivue instance".{0,300}?[\w$]+=new ([\w$]+)\(', re.DOTALL)
_EXPORTED = re.compile(r"export\s*\{[^{}]*\};?\s*\Z")


class NiiVue(NamedTuple):
    """NiiVue for a page.

    Attributes:
        script: a classic script that sets `globalThis.Niivue`.
        version: of the package that it comes from.
        licence: the text of its licence.
    """

    script: str
    version: str
    licence: str


def check_niivue() -> None:
    """Check that NiiVue is installed, without reading it.

    Raises:
        InputError: it is not.
    """
    _distribution()


@cache
def niivue() -> NiiVue:
    """Return NiiVue.

    Raises:
        InputError: `ipyniivue` is not installed, or holds NiiVue in a form that is not known.
    """
    found = _distribution()
    file = Path(str(found.locate_file(_SCRIPT)))
    text = file.read_text("utf-8") if file.is_file() else ""
    made, exported = _MADE.findall(text), _EXPORTED.search(text)
    if len(made) != 1 or exported is None:
        expected = f"{PACKAGE}{VERSIONS}, with NiiVue in it"
        raise InputError(PACKAGE, expected, found=found.version, hint=_HINT)
    script = f'(()=>{{"use strict";{text[: exported.start()]}\nglobalThis.Niivue={made[0]};}})();\n'
    return NiiVue(script, found.version, found.read_text("licenses/LICENSE") or "BSD-2-Clause")


def _distribution() -> Distribution:
    try:
        return distribution(PACKAGE)
    except PackageNotFoundError:
        raise InputError("view", f"the package {PACKAGE}", found="none", hint=_HINT) from None
