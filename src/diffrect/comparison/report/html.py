"""A report as one page for a browser: tables that sort, plots, and the protocol."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.notes import notes
from diffrect.comparison.report.sections import Section, TableEntry, sections
from diffrect.console import count
from diffrect.reporting.cases import Cell, Table
from diffrect.reporting.page import render_page
from diffrect.reporting.plots import inline_plot


class _Titled(NamedTuple):
    title: str
    table: Table


def html(comparison: Comparison, folder: Path, plots: Sequence[str] = ()) -> str:
    """Return the whole report: tables, plots, notes.

    Args:
        comparison: the results.
        folder: folder of the report, where the plots lie.
        plots: names of their PNG files, beside which the SVG are.
    """
    place = folder.resolve().parent
    drawn = [path for name in plots if (path := (folder / name).with_suffix(".svg")).is_file()]
    command = ["diffrect", "compare", str(place), "--table", "--split", comparison.split]
    if comparison.against is not None:
        command += ["--against", comparison.against]
    cells = count(len(comparison.results), "training")
    return render_page(
        "comparison.html",
        title=f"Comparison: {place.name}",
        lead=f"{cells} on the {comparison.split_words}, scored by every case.",
        sections=[_Titled(one.title, _table(one)) for one in sections(comparison)],
        plots=[inline_plot(path, path.stem.replace("_", " ")) for path in drawn],
        notes=notes(comparison),
        command=shlex.join(command),
    )


def _table(section: Section) -> Table:
    rows = [
        [_cell(entry, index < section.names) for index, entry in enumerate(row)]
        for row in section.rows
    ]
    return Table(section.heading, rows, section.names)


def _cell(entry: TableEntry, is_name: bool) -> Cell:
    """Return the cell of an entry, which is sorted by its first number."""
    if is_name:
        return Cell(entry.text)
    words = entry.text.replace(",", "").lstrip("< ").split()
    try:
        value = float(words[0]) if words else None
    except ValueError:  # such as a dash
        value = None
    return Cell(entry.text, value, best=entry.best)
