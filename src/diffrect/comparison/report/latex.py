"""The tables of a report as LaTeX floats; each caption names the split."""

from collections.abc import Iterable

from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.notes import notes
from diffrect.comparison.report.sections import Section, TableEntry, sections
from diffrect.console import visible
from diffrect.evaluation.markup import latex_text

# A table that is wider than the page shrinks to it.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(comparison: Comparison) -> str:
    """Return the tables, below the notes as comments."""
    lines = ["% needs \\usepackage{booktabs,graphicx}"]
    lines += [f"% {visible(note)}" for note in notes(comparison)]
    for section in sections(comparison):
        lines += ["", *_table(section, str(comparison.protocol["checkpoint"]))]
    return "\n".join(lines) + "\n"


def _table(section: Section, checkpoint: str) -> list[str]:
    columns = "l" * section.names + "r" * (len(section.heading) - section.names)
    caption = f"{section.title}. Checkpoint: {checkpoint}; mean ± standard deviation over seeds."
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(caption)}}}"]
    lines += [_FIT, rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [_row(map(latex_text, section.heading)), r"\midrule"]
    for index, row in enumerate(section.rows):
        if section.starts_block(index):
            lines.append(r"\midrule")
        lines.append(_row(map(_entry, row)))
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]


def _row(entries: Iterable[str]) -> str:
    return f"{' & '.join(entries)} \\\\"


def _entry(entry: TableEntry) -> str:
    text = latex_text(entry.text)
    return rf"\textbf{{{text}}}" if entry.best else text
