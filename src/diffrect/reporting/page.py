"""HTML pages of one file each: nothing is loaded from elsewhere, and text of a user stays text.

Everything that a template shows passes `visible` and is escaped. The page's policy (CSP) lets the
browser run the one script that is part of this package, by its checksum, and nothing else; styles
and pictures may come only from the page itself.
"""

import base64
import hashlib
import platform
import re
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diffrect.atomic import write_atomic
from diffrect.console import count, visible
from diffrect.errors import brief
from diffrect.version import package_version

PAGE_FILE = "index.html"
_PACKAGE = "diffrect.reporting"
_OF_SLICES = re.compile(r"^(?:svg\.slice (?:\.|text\.)|\.c\d|\.key)[^{]*\{[^}]*\}", re.MULTILINE)
LONGEST_HEADING = 40  # characters of a column's name; the whole name is shown on hovering


def render_page(template: str, **content: Any) -> str:
    """Return a page.

    Args:
        template: name of the template in `templates/`.
        content: what it shows; text is escaped unless it is `Markup`.
    """
    style, script = (part_of_page(_PACKAGE, name) for name in ("style.css", "sort.js"))
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{checksum(style)}'; script-src '{checksum(script)}'"
    )
    return (
        make_environment(_PACKAGE)
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            versions=versions(),
            **content,
        )
    )


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page in one step; see `render_page`."""
    text = render_page(template, **content)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, text)


def versions() -> dict[str, str]:
    """Return the versions of what computed a page, by name."""
    found = {"diffrect": package_version(), "Python": platform.python_version()}
    for name in ("torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def style_of_slices(prefix: str) -> str:
    """Return the style of `reporting.slices` alone, for a picture outside of a page.

    Args:
        prefix: precedes each selector, so that the style reaches nothing else.
    """
    rules = _OF_SLICES.findall(part_of_page(_PACKAGE, "style.css"))
    return "".join(f"{prefix}{' '.join(rule.split())}" for rule in rules)


@cache
def make_environment(package: str) -> Environment:
    """Return what renders the templates of a package: text is `visible` and escaped."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "short": partial(brief, longest=LONGEST_HEADING)}
    environment.filters["merged"] = lambda one, other: {**one, **other}
    return environment


def _shown(value: object) -> object:
    """Return a value as a page shows it: text without characters that steer."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def part_of_page(package: str, name: str) -> str:
    """Return the text of a file among the templates of a package."""
    return (files(package) / "templates" / name).read_text("utf-8")


def checksum(text: str) -> str:
    """Return the checksum by which a policy (CSP) knows a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
