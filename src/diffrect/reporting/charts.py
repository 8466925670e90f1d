"""Small charts as inline SVG, whose colours and fonts are those of the page, dark or light."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from diffrect.errors import brief
from diffrect.reporting.svg import element, limits, number, ticks

MOST_POINTS = 300  # of a line; of more, every n-th is drawn
LONGEST_LABEL = 20  # characters beside an axis; the whole name is shown on hovering
COLOURS = 19  # that the page's style has, c1 to c19


def colour_class(code: int) -> str:
    """Return the name of the style of a class code, from 1 up; after nineteen they repeat."""
    return f"c{(code - 1) % COLOURS + 1}"


class Series(NamedTuple):
    """A line: its name, its style on the page, and its points; values that are NaN are gaps."""

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Frame:
    """Where numbers lie in a chart of width x height; y points up.

    Attributes:
        x: ends of the horizontal axis.
        y: ends of the vertical axis.
        width: of the whole chart, in the page's pixels before it is scaled.
        height: of the whole chart.
        left: room for the labels of the vertical axis.
        bottom: room for those of the horizontal one.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 420
    height: float = 250
    left: float = 46
    bottom: float = 38
    top: float = field(default=8, kw_only=True)
    right: float = field(default=10, kw_only=True)

    def at_x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def at_y(self, value: float) -> float:
        """Return the vertical place of a value."""
        low, high = self.y
        inner = self.height - self.bottom - self.top
        return self.height - self.bottom - (value - low) / (high - low) * inner

    def axes(self, x_name: str, y_name: str, y_ticks: bool = True) -> list[Markup]:
        """Return grid, numbers and names of the axes."""
        parts = []
        floor = self.height - self.bottom
        for value in ticks(*self.x):
            x = self.at_x(value)
            parts.append(element("line", x1=x, x2=x, y1=self.top, y2=floor, class_="grid"))
            label = element("text", f"{value:g}", x=x, y=floor + 14, class_="middle")
            parts.append(label)
        for value in ticks(*self.y) if y_ticks else ():
            y = self.at_y(value)
            right = self.width - self.right
            parts.append(element("line", x1=self.left, x2=right, y1=y, y2=y, class_="grid"))
            text = element("text", f"{value:g}", x=self.left - 6, y=y + 3.5, class_="end")
            parts.append(text)
        middle = (self.left + self.width - self.right) / 2
        parts.append(element("text", x_name, x=middle, y=self.height - 5, class_="middle name"))
        if y_name:
            turn = f"rotate(-90 11 {number((self.top + floor) / 2)})"
            y = (self.top + floor) / 2
            parts.append(element("text", y_name, x=11, y=y, transform=turn, class_="middle name"))
        return parts

    def picture(self, title: str, parts: Sequence[Markup]) -> Markup:
        """Return the chart."""
        box = f"0 0 {number(self.width)} {number(self.height)}"
        return element(
            "svg",
            *parts,
            viewBox=box,
            width=self.width,
            height=self.height,
            role="img",
            aria_label=title,
            class_="chart",
        )


def lines(title: str, series: Sequence[Series], x_name: str, y_name: str) -> Markup:
    """Return a chart of lines.

    Args:
        title: what it shows, for those who cannot see it.
        series: the lines; those drawn last lie on top.
        x_name: name of the horizontal axis.
        y_name: name of the vertical axis.
    """
    shown = [_thinned(one) for one in series]
    across = [x for one in shown for x in one.x]
    up = [y for one in shown for y in one.y if math.isfinite(y)]
    first, last = (min(across), max(across)) if across else (0.0, 1.0)
    frame = Frame((first, last if last > first else first + 1), limits(up))
    parts = frame.axes(x_name, y_name)
    for one in shown:
        parts += _line(frame, one)
    return frame.picture(title, parts)


def _thinned(series: Series) -> Series:
    step = -(-len(series.x) // MOST_POINTS)
    if step < 2:
        return series
    last = len(series.x) - 1
    kept = sorted({*range(0, last, step), last})
    return series._replace(x=[series.x[k] for k in kept], y=[series.y[k] for k in kept])


def _line(frame: Frame, series: Series) -> list[Markup]:
    """Return a line, broken where a value is missing, and a dot at a value without neighbours."""
    parts, run = [], list[tuple[float, float]]()
    for x, y in [*zip(series.x, series.y, strict=True), (math.nan, math.nan)]:
        if math.isfinite(y):
            run.append((frame.at_x(x), frame.at_y(y)))
            continue
        if len(run) == 1:
            parts.append(element("circle", cx=run[0][0], cy=run[0][1], r=2.5, class_=series.style))
        elif run:
            points = " ".join(f"{number(a)},{number(b)}" for a, b in run)
            line = element("polyline", _title(series.name), points=points, class_=series.style)
            parts.append(line)
        run = []
    return parts


class Strip(NamedTuple):
    """A row of a chart of distributions: values that are NaN are left out."""

    name: str
    style: str
    values: Sequence[float]
    names: Sequence[str]
    """What each value belongs to."""


def strips(
    title: str, rows: Sequence[Strip], x_name: str, ends: tuple[float, float] | None = None
) -> Markup:
    """Return a chart with a row for each class: every case as a dot, median and quartiles as a box.

    Args:
        title: what it shows, for those who cannot see it.
        rows: from top to bottom.
        x_name: name of the horizontal axis.
        ends: ends of the axis; None takes those of the values.
    """
    every = [value for row in rows for value in row.values if math.isfinite(value)]
    ends = ends or limits(every, least=0.0)
    height = 26.0 * len(rows)
    frame = Frame(ends, (0.0, float(len(rows))), 480, height + 46, 132, 38)
    parts = frame.axes(x_name, "", y_ticks=False)
    for index, row in enumerate(rows):
        middle = frame.at_y(len(rows) - index - 0.5)
        parts.append(_label(row.name, frame.left - 8, middle + 3.5))
        parts += _box(frame, row, middle)
    return frame.picture(title, parts)


def _label(name: str, x: float, y: float) -> Markup:
    short = brief(name, LONGEST_LABEL)
    return element("text", short, _title(name), x=x, y=y, class_="end")


def _box(frame: Frame, row: Strip, middle: float) -> list[Markup]:
    pairs = zip(row.values, row.names, strict=True)
    known = [(value, name) for value, name in pairs if math.isfinite(value)]
    if not known:
        return [element("text", "–", x=frame.left + 6, y=middle + 3.5)]
    values = [value for value, _ in known]
    low, half, high = (frame.at_x(float(q)) for q in np.percentile(values, (25, 50, 75)))
    box = element(
        "rect", x=low, y=middle - 8, width=max(high - low, 0.5), height=16.0, class_="box"
    )
    median = element("line", x1=half, x2=half, y1=middle - 8, y2=middle + 8, class_="median")
    dots = []
    for index, (value, name) in enumerate(known):
        shift = ((index * 7) % 11 - 5) * 0.9  # so that equal values do not hide each other
        dot = _title(f"{name}: {value:.4g}")
        place = {"cx": frame.at_x(value), "cy": middle + shift, "r": 2.4}
        dots.append(element("circle", dot, class_=f"{row.style} dot", **place))
    return [box, *dots, median]


class Points(NamedTuple):
    """Points of a scatter chart, each with what it belongs to."""

    x: Sequence[float]
    y: Sequence[float]
    names: Sequence[str]
    style: str


def scatter(
    title: str,
    points: Points,
    x_name: str,
    y_name: str,
    *,
    diagonal: bool = False,
    levels: Sequence[float] = (),
) -> Markup:
    """Return a chart of points.

    Args:
        title: what it shows, for those who cannot see it.
        points: the points.
        x_name: name of the horizontal axis.
        y_name: name of the vertical axis.
        diagonal: draw where both are equal, on axes of one range.
        levels: values of y at which horizontal lines are drawn, the first one solid.
    """
    across, up = limits([*points.x]), limits([*points.y, *levels, 0.0])
    if diagonal:
        across = up = limits([*points.x, *points.y], least=0.0)
    frame = Frame(across, up, 300, 230, 52)
    parts = frame.axes(x_name, y_name)
    if diagonal:
        ends = {"x1": frame.at_x(up[0]), "y1": frame.at_y(up[0])}
        ends |= {"x2": frame.at_x(up[1]), "y2": frame.at_y(up[1])}
        parts.append(element("line", class_="level dashed", **ends))
    for index, level in enumerate(levels):
        y, style = frame.at_y(level), "level" if index == 0 else "level dashed"
        ends = {"x1": frame.left, "x2": frame.width - frame.right, "y1": y, "y2": y}
        parts.append(element("line", class_=style, **ends))
    for x, y, name in zip(points.x, points.y, points.names, strict=True):
        words = _title(f"{name}: {x:.4g}, {y:.4g}")
        place = {"cx": frame.at_x(x), "cy": frame.at_y(y), "r": 3.0}
        parts.append(element("circle", words, class_=f"{points.style} dot", **place))
    return frame.picture(title, parts)


def _title(text: str) -> Markup:
    return element("title", text)
