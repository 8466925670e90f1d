"""A report as one page of Markdown: tables, plots by file name, and the protocol."""

from collections.abc import Sequence

from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.notes import notes
from diffrect.comparison.report.sections import Section, TableEntry, sections
from diffrect.evaluation.markup import markdown_text


def markdown(comparison: Comparison, plots: Sequence[str] = ()) -> str:
    """Return the whole report: tables, plots by file name, notes."""
    lines = [f"# Comparison on the {comparison.split_words}", ""]
    for section in sections(comparison):
        lines += [f"## {markdown_text(section.title)}", "", *_table(section), ""]
    for plot in plots:
        title = plot.rpartition(".")[0].replace("_", " ")
        lines += [f"![{title}, {comparison.split_words}]({plot})", ""]
    lines += ["## Protocol", "", *(f"- {markdown_text(note)}" for note in notes(comparison))]
    return "\n".join(lines) + "\n"


def _table(section: Section) -> list[str]:
    aligned = ["---"] * section.names + ["---:"] * (len(section.heading) - section.names)
    rows = [
        map(markdown_text, section.heading),
        aligned,
        *(map(_entry, row) for row in section.rows),
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


def _entry(entry: TableEntry) -> str:
    text = markdown_text(entry.text)
    return f"**{text}**" if entry.best else text
