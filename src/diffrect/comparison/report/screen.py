"""The table of means on the screen, limited to its main columns."""

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.sections import sections
from diffrect.console import count, plain, stdout_console, visible
from diffrect.runs.names import report_folder

_LEFT_OUT = ("Jaccard", "ASD", "no distance", "p 95HD")


def print_report(folder: Path, comparison: Comparison, console: Console | None = None) -> None:
    """Print the main columns of the table of means, and where the full report is.

    Args:
        folder: folder of the comparison.
        comparison: what `compare_table` returned for it.
        console: where to print; None prints on stdout.
    """
    console = console or stdout_console(soft_wrap=True)
    section = sections(comparison)[0]
    table = Table(title=plain(f"{section.title}, checkpoint {comparison.protocol['checkpoint']}"))
    shown = [i for i, name in enumerate(section.heading) if not name.startswith(_LEFT_OUT)]
    for index in shown:
        side: Literal["left", "right"] = "left" if index < section.names else "right"
        table.add_column(plain(section.heading[index]), justify=side, overflow="fold")
    for index, row in enumerate(section.rows):
        if section.starts_block(index):
            table.add_section()
        texts = [(plain(row[i].text), row[i].best) for i in shown]
        table.add_row(*(f"[bold]{text}[/bold]" if best else text for text, best in texts))
    console.print(table)
    console.print(visible(_where(folder, comparison)), markup=False)


def _where(folder: Path, comparison: Comparison) -> str:
    target = folder / report_folder(comparison.split)
    cells = count(len(comparison.results), "cell")
    line = f"{target}: index.html, table.md, table.tex, CSV files and plots of {cells}"
    if comparison.missing:
        line += f"; planned but missing: {count(len(comparison.missing), 'cell')}"
    return line
