"""OUT/index.html and OUT/rectified.csv: what `rectify` did to labels, before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from diffrect.atomic import write_atomic
from diffrect.inference.rectifying.rectify import RectifiedCase
from diffrect.reporting.cases import Cell, Table
from diffrect.reporting.charts import colour_class
from diffrect.reporting.page import PAGE_FILE, write_page
from diffrect.reporting.panels import Panel, PictureRow
from diffrect.reporting.slices import DrawnPanel, SliceDrawer
from diffrect.text_files import csv_text

CSV_FILE = "rectified.csv"
MOST_SHOWN = 50  # cases with pictures, those that changed most
_HEADING = ("label", "guidance", "difference", "changed", "not taken", "changed share")


class ShownLabel(NamedTuple):
    """A label before and after on the page."""

    kind: str
    name: str
    words: str
    panels: list[DrawnPanel]


def write_rectify_report(
    out: Path, run: Path, cases: Sequence[RectifiedCase], classes: Sequence[str]
) -> Path:
    """Write the page and the table; return the page.

    Args:
        out: folder of the corrected labels.
        run: the run whose rectifier worked.
        cases: what was done to each label.
        classes: names of the class codes, background first.
    """
    ordered = sorted(cases, key=lambda case: (-case.changed_share, case.name))
    drawer = SliceDrawer()
    write_atomic(out / CSV_FILE, _csv(cases))
    write_page(
        out / PAGE_FILE,
        "rectified.html",
        title=f"Labels rectified by {run.resolve().name}",
        run=str(run.resolve()),
        number=len(cases),
        table=_table(cases),
        styles={name: colour_class(code) for code, name in enumerate(classes) if code},
        shown=[_shown(case, classes, drawer) for case in ordered[:MOST_SHOWN]],
    )
    return out / PAGE_FILE


def _csv(cases: Sequence[RectifiedCase]) -> str:
    names = list(cases[0].volumes) if cases else []
    heading = [*_HEADING, *(f"{name} {when}" for name in names for when in ("before", "after"))]
    rows = [
        (
            *(case.name, case.guidance, case.difference, case.changed, case.refused),
            *(case.changed_share, *(v for pair in case.volumes.values() for v in pair)),
        )
        for case in cases
    ]
    return csv_text(heading, rows)


def _table(cases: Sequence[RectifiedCase]) -> Table:
    names = list(cases[0].volumes) if cases else []
    heading = ["label", "guidance", "difference from the teacher", "changed voxels", "not taken"]
    heading += ["changed %", *(f"{name} before, after" for name in names)]
    rows = []
    for case in cases:
        row = [Cell(case.name)]
        row += [Cell(f"{value:.2f}", value) for value in (case.guidance, case.difference)]
        row += [Cell(f"{value:,}", value) for value in (case.changed, case.refused)]
        row.append(Cell(f"{100 * case.changed_share:.1f}", case.changed_share))
        row += [Cell(f"{one:.4g}, {two:.4g}", two - one) for one, two in case.volumes.values()]
        rows.append(row)
    return Table(heading, rows)


def _shown(case: RectifiedCase, classes: Sequence[str], drawer: SliceDrawer) -> ShownLabel:
    shown = case.shown
    spacing = (1.0, 1.0) if shown.spacing is None else shown.spacing
    panels = [Panel("image"), Panel("before", shown.before), Panel("after", shown.after)]
    row = PictureRow(case.name, shown.image, shown.before, spacing, panels)
    words = (
        f"{100 * case.changed_share:.1f} % changed, guidance {case.guidance:.2f}; "
        f"slice {shown.index + 1} of {shown.slices}"
    )
    drawn = drawer.draw(row, classes, millimetres=shown.spacing is not None)
    return ShownLabel("", case.name, words, drawn)
