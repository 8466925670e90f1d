"""Plots that matplotlib has drawn, as part of a page whose policy allows no style of their own."""

import re
from pathlib import Path
from xml.etree import ElementTree

from markupsafe import Markup

from diffrect.reporting.svg import element
from diffrect.text_files import read_text

_TAGS = ("svg", "defs", "g", "path", "use", "text", "tspan", "clipPath", "rect")
_PLAIN = ("d", "x", "y", "width", "height", "transform", "viewBox", "rx")
_STYLES = (
    *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-linejoin"),
    *("stroke-linecap", "stroke-dasharray", "stroke-dashoffset", "stroke-miterlimit", "opacity"),
    *("font-size", "font-weight", "font-style", "text-anchor"),
)
_LONGEST = 2**24  # bytes of a plot


def inline_plot(path: Path, title: str) -> Markup:
    """Return a plot for a page: what is no drawing is left out, identifiers get the plot's name.

    Args:
        path: an SVG that `save_figure` wrote.
        title: what it shows, for those who cannot see it.

    Raises:
        InputError: the file cannot be read.
    """
    root = ElementTree.fromstring(read_text(path, "a plot", longest=_LONGEST).encode())
    parts = [_copied(child, path.stem) for child in root]
    box = root.get("viewBox")
    attributes = {"role": "img", "aria-label": title, "class": "drawn", "stroke-linejoin": "round"}
    return element("svg", *parts, viewBox=box, **attributes)


def _copied(node: ElementTree.Element, plot: str) -> Markup:
    """Return a node and those in it, as far as they draw something."""
    tag = node.tag.rpartition("}")[2]
    if tag not in _TAGS:
        return Markup("")
    words = (node.text or "").replace("\xa0", " ").strip()
    inside: list[str | Markup] = [words] if tag in ("text", "tspan") else []
    inside += [_copied(child, plot) for child in node]
    return element(tag, *inside, **_attributes(node, plot))


def _attributes(node: ElementTree.Element, plot: str) -> dict[str, str]:
    found = {name: value for name in _PLAIN if (value := node.get(name)) is not None}
    for part in node.get("style", "").split(";"):
        name, _, value = (piece.strip() for piece in part.partition(":"))
        if name in _STYLES and re.fullmatch(r"[\w#.,() -]+", value):
            found[name] = value
    if node.get("id") is not None:
        found["id"] = f"{plot}-{node.get('id')}"
    if (clip := re.fullmatch(r"url\(#(\w+)\)", node.get("clip-path", ""))) is not None:
        found["clip-path"] = f"url(#{plot}-{clip[1]})"
    for name in ("href", "{http://www.w3.org/1999/xlink}href"):
        if node.get(name, "").startswith("#"):
            found["href"] = f"#{plot}-{node.get(name, '')[1:]}"
    return found
