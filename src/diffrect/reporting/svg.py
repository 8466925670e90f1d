"""Elements of SVG as text in which nothing of a user can become an element."""

import math

from markupsafe import Markup, escape

from diffrect.console import visible


def element(name: str, *content: str | Markup, **attributes: object) -> Markup:
    """Return an element; text in it is escaped and `visible`, Markup stays.

    Args:
        name: of the element.
        content: what is in it.
        attributes: `class_` is `class`, and other underscores are dashes; None leaves one out.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            text = number(value) if isinstance(value, float) else visible(str(value))
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    if not content:
        return Markup("".join(parts) + "/>")
    inside = (part if isinstance(part, Markup) else escape(visible(part)) for part in content)
    return Markup("".join([*parts, ">", *inside, f"</{name}>"]))


def number(value: float) -> str:
    """Return a coordinate, to hundredths."""
    return f"{round(value, 2):g}" if abs(value) < 1e5 else f"{value:.0f}"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about so many."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    step = 10.0 ** math.floor(math.log10(span / about))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def limits(values: list[float], least: float | None = None) -> tuple[float, float]:
    """Return the ends of an axis that shows values, with room around them.

    Args:
        values: finite numbers; without any, the axis goes from 0 to 1.
        least: where the axis begins, if not below the smallest value.
    """
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 0.5
    return (low - room if least is None else least), high + room
