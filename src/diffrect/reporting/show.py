"""One slice of a scan with labels over it, side by side, for a notebook or a file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from diffrect.atomic import write_atomic
from diffrect.console import summary
from diffrect.errors import InputError
from diffrect.imaging.geometry import turn_onto
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.slicing import choose_slicing
from diffrect.imaging.volume import Volume
from diffrect.inference.arrays import Source
from diffrect.reporting.charts import colour_class
from diffrect.reporting.page import style_of_slices
from diffrect.reporting.panels import Panel, PictureRow
from diffrect.reporting.slices import SHOWN_SIDE, SliceDrawer
from diffrect.reporting.svg import element

_GAP, _TITLE, _LEGEND = 10.0, 26.0, 24.0
_LETTER = 8.2  # width of a letter of the legend, about
_INK, _PAPER = "#1c2127", "#ffffff"
_FONT = "system-ui, 'DejaVu Sans', sans-serif"

Array = np.ndarray | Volume | Path | str


@dataclass(frozen=True)
class Picture:
    """A picture that notebooks show by themselves.

    Attributes:
        svg: the picture, which needs nothing from elsewhere.
        title: what it shows.
    """

    svg: str = field(repr=False)
    title: str

    def __repr__(self) -> str:
        return summary(self, self.title)

    def _repr_svg_(self) -> str:
        """Return the picture for a notebook."""
        return self.svg

    def save(self, path: Path | str) -> Path:
        """Write the picture as an SVG file; return its path.

        Raises:
            OSError: it cannot be written.
        """
        write_atomic(Path(path), f"{self.svg}\n")
        return Path(path)


def show(
    scan: Array,
    labels: Mapping[str, Array] | None = None,
    *,
    classes: Sequence[str] | None = None,
    index: int | None = None,
    axis: str = "auto",
    spacing: Sequence[float] | None = None,
) -> Picture:
    """Return a picture of a slice: the scan, and beside it the scan with each of some labels.

    Example:
        >>> import diffrect
        >>> model = diffrect.Model.load("run")
        >>> labels = {"prediction": model.predict("scan.nii.gz"), "truth": "label.nii.gz"}
        >>> picture = diffrect.show("scan.nii.gz", labels, classes=model.classes, index=1)
        >>> picture  # a notebook shows it
        <Picture: slice 2 of 3: scan, prediction, truth>
        >>> picture.save("scan.svg").stat().st_size > 1000
        True

    Args:
        scan: an image file, the folder of a DICOM series, a `Volume` such as `Store.grid` makes of
            slices, or an array (X, Y, Z) or (H, W); of several channels, (X, Y, Z, C), the first is
            shown.
        labels: by the titles of their panels, label files, volumes or arrays in the layout of the
            scan.
        classes: names of the class codes, background first; by default their numbers.
        index: the slice, from 0; by default the one with the most labelled pixels, or the middle.
        axis: how the scan is cut into slices, see `choose_slicing`.
        spacing: millimetres along the axes of an array.

    Raises:
        InputError: something that cannot be read, a label that does not fit the scan, or a slice
            that there is not.
    """
    source = _source(scan, spacing)
    slicing = choose_slicing(source.image, axis)
    raw = slicing.view(source.image.array)
    maps = {}
    for title, label in (labels or {}).items():
        given = label if isinstance(label, Volume) else source.label(label)
        volume = turn_onto(source.image, given)
        if volume.array.shape != source.image.array.shape[:3]:
            expected = f"the shape of the scan, {source.image.array.shape[:3]}"
            raise InputError(f"label {title}", expected, got=volume.array.shape)
        maps[title] = slicing.view(volume.array)
    chosen = _most_labelled(list(maps.values()), len(raw)) if index is None else index
    if not 0 <= chosen < len(raw):
        raise InputError("index", f"a slice from 0 to {len(raw) - 1}", got=index)
    planes = {title: np.asarray(found[chosen]) for title, found in maps.items()}
    names = list(classes) if classes is not None else _numbers(list(planes.values()))
    image = raw[chosen] if raw.ndim == 3 else raw[chosen, ..., 0]
    known = slicing.spacing(source.image)
    panels = [Panel("scan"), *(Panel(title, plane) for title, plane in planes.items())]
    first = next(iter(planes.values()), np.zeros(image.shape, np.uint8))
    row = PictureRow("slice", image, first, (1.0, 1.0) if known is None else known[1:], panels)
    title = f"slice {chosen + 1} of {len(raw)}: {', '.join(panel.title for panel in panels)}"
    return Picture(_svg(row, names, millimetres=known is not None), title)


def _source(scan: Array, spacing: Sequence[float] | None) -> Source:
    if isinstance(scan, Volume):
        return Source(scan)
    channels = scan.shape[-1] if isinstance(scan, np.ndarray) and scan.ndim == 4 else 1
    return Source.of(scan, channels, spacing)


def _most_labelled(maps: Sequence[np.ndarray], slices: int) -> int:
    """Return the slice that has the most foreground, the middle one without any."""
    sizes = np.zeros(slices)
    for found in maps:
        sizes += ((found > 0) & (found != IGNORED)).sum(axis=(1, 2))
    return int(sizes.argmax()) if sizes.any() else slices // 2


def _numbers(planes: Sequence[np.ndarray]) -> list[str]:
    highest = max((int(np.max(p, initial=0, where=p != IGNORED)) for p in planes), default=0)
    return [str(code) for code in range(highest + 1)]


def _svg(row: PictureRow, classes: Sequence[str], *, millimetres: bool) -> str:
    """Return a row of panels with titles above them and a legend below.

    Its identifiers are its own, so that several pictures can be on one page.
    """
    content = hashlib.sha256(np.ascontiguousarray(row.image).tobytes())
    for panel in row.panels[1:]:
        content.update(f"{panel.title}\0".encode("utf-8", "replace"))
        content.update(np.ascontiguousarray(panel.labels).tobytes())
    name = f"picture-{content.hexdigest()[:12]}"
    drawn = SliceDrawer(f"{name}-slice").draw(row, classes, millimetres=millimetres)
    width = len(drawn) * (SHOWN_SIDE + _GAP) + _GAP
    parts = [element("rect", width="100%", height="100%", fill=_PAPER)]
    for place, (title, picture) in enumerate(drawn):
        left = _GAP + place * (SHOWN_SIDE + _GAP)
        above = element("text", title, x=SHOWN_SIDE / 2, y=-8.0, text_anchor="middle")
        shift = f"translate({left:g} {_TITLE:g})"
        parts.append(element("g", above, picture, transform=shift))
    legend, lines = _legend(row, classes, width)
    bottom = _TITLE + SHOWN_SIDE + _GAP
    if legend:
        parts.append(element("g", *legend, transform=f"translate({_GAP:g} {bottom:g})"))
    height = bottom + lines * _LEGEND
    whole = element(
        "svg",
        element("style", Markup(style_of_slices(f"#{name} "))),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        id=name,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_label=", ".join(title for title, _ in drawn),
        font_family=_FONT,
        font_size=15.0,
        fill=_INK,
    )
    return str(whole)


def _legend(row: PictureRow, classes: Sequence[str], width: float) -> tuple[list[Markup], int]:
    """Return the names of the classes that are seen, with their colours, and how many lines."""
    seen: set[int] = set()
    for panel in row.panels:
        seen |= set() if panel.labels is None else set(np.unique(panel.labels).tolist())
    parts, left, line = [], 0.0, 0
    for code in sorted(seen & set(range(1, len(classes)))):
        needed = 44 + _LETTER * len(classes[code])
        if left and left + needed > width:
            left, line = 0.0, line + 1
        top = line * _LEGEND
        place = {"x": left, "y": top, "width": 14.0, "height": 14.0}
        parts.append(element("rect", class_=f"{colour_class(code)} key", **place))
        parts.append(element("text", classes[code], x=left + 20, y=top + 13))
        left += needed
    return parts, line + 1 if parts else 0
