"""The viewer's page: one file of HTML with its script, its style and NiiVue in it.

The page runs its own script and NiiVue, which its policy (CSP) knows by their checksums, and
nothing else. Names from files come as text and stay text. The same page takes scans from the
server, or from the page itself, where they lie as text that no browser runs.
"""

import base64
import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from diffrect.atomic import new_file
from diffrect.console import visible
from diffrect.errors import InputError
from diffrect.reporting.charts import COLOURS, colour_class
from diffrect.reporting.page import checksum, make_environment, part_of_page, versions
from diffrect.viewing.gallery import Gallery
from diffrect.viewing.niivue import niivue
from diffrect.viewing.parts import Parts

SCRIPTS = (
    *("nifti.js", "labels.js", "panel.js", "case.js"),
    *("state.js", "lists.js", "view.js"),
)
LARGEST = 2**28
"""Bytes of a page; a browser takes longer ones for too long a text."""


class Page(NamedTuple):
    """A page and its policy."""

    html: str
    policy: str


def served_page(gallery: Gallery) -> Page:
    """Return the page that takes scans and labels from the server that it came from."""
    policy = _policy("'self'")
    return Page("".join(_pieces(gallery, policy, iter(()))), policy)


def write_page(path: Path, gallery: Gallery) -> int:
    """Write the page with everything in it, and return how many bytes it has.

    Raises:
        InputError: something cannot be read, or the page would be too large; nothing is written.
    """
    size = 0
    parts = _embedded(gallery)
    with new_file(path) as file:
        for piece in _pieces(gallery, _policy("'none'"), parts):
            content = piece.encode()
            size += len(content)
            if size > LARGEST:
                expected = f"a page of at most {LARGEST // 2**20} MiB"
                raise InputError(path, expected, hint="show fewer cases, or leave out --html")
            file.write(content)
    return size


def _policy(data: str) -> str:
    """Return the Content-Security-Policy of the page; `data` is where scans may come from."""
    scripts = " ".join(f"'{checksum(text)}'" for text in (_script(), niivue().script))
    return (
        f"default-src 'none'; img-src data: blob:; connect-src {data}; base-uri 'none'; "
        f"form-action 'none'; style-src '{checksum(_style())}'; script-src {scripts}"
    )


def _pieces(gallery: Gallery, policy: str, parts: Iterator[tuple[str, str]]) -> Iterator[str]:
    """Return the text of the page piece by piece; `parts` are the names and texts of its data."""
    library = niivue()
    return (
        make_environment("diffrect.viewing")
        .get_template("view.html")
        .generate(
            policy=policy,
            title=gallery.title,
            style=Markup(_style()),
            script=Markup(_script()),
            niivue=_text_of(library.script.encode(), 9),
            niivue_version=library.version,
            licence=library.licence,
            description=_description(gallery),
            cases=gallery.cases,
            remarks=gallery.remarks,
            parts=parts,
            versions=versions(),
        )
    )


def _description(gallery: Gallery) -> dict[str, Any]:
    """Return what the script has to know, all names `visible`."""
    return {
        "classes": [visible(name) for name in gallery.classes],
        "colours": [colour_class(code) for code in range(1, COLOURS + 1)],
        "cases": [
            {
                "name": visible(case.name),
                "layers": [
                    {"name": visible(layer.name), "kind": layer.kind} for layer in case.layers
                ],
            }
            for case in gallery.cases
        ],
    }


def _embedded(gallery: Gallery) -> Iterator[tuple[str, str]]:
    """Return every scan and layer as the name and the text of an element of the page."""
    parts = Parts(gallery, level=9)
    for number, case in enumerate(gallery.cases):
        for layer in (None, *range(len(case.layers))):
            name = f"data/{number}/{'scan' if layer is None else layer}"
            yield name, base64.b64encode(parts.part(number, layer)).decode()


@cache
def _script() -> str:
    texts = [part_of_page("diffrect.viewing", name) for name in SCRIPTS]
    return "\n".join(('"use strict";', *texts, part_of_page("diffrect.reporting", "sort.js")))


@cache
def _style() -> str:
    own = part_of_page("diffrect.viewing", "view.css")
    return part_of_page("diffrect.reporting", "style.css") + own


@cache
def _text_of(content: bytes, level: int) -> str:
    return base64.b64encode(gzip.compress(content, level, mtime=0)).decode()
