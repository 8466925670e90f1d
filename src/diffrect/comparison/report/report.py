"""From a folder of finished cells to tables and plots in FOLDER/report_SPLIT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diffrect.atomic import write_atomic
from diffrect.comparison.files import MATRIX_FILE
from diffrect.comparison.report.formats import cost_csv, latex, markdown, scores_csv, tests_csv
from diffrect.comparison.report.plots import draw_plots
from diffrect.comparison.report.results import load_results, planned_cells
from diffrect.comparison.report.sections import SPLIT_NAMES, Report, make_report, sections
from diffrect.errors import InputError
from diffrect.json_files import read_json, write_json
from diffrect.runs.names import CELL_FILE, metrics_file

REPORT_FOLDER = "report_{split}"
_LEFT_OUT = ("Jaccard", "ASD", "no distance", "p 95HD")  # on screen


def compare_table(folder: Path | str, *, split: str = "val", against: str | None = None) -> Report:
    """Tables and plots of the finished cells of a folder, worked out from their per-case scores.

    Writes FOLDER/report_SPLIT: `table.md` with everything, `table.tex`, `scores.csv`, `tests.csv`,
    `cost.csv` and the plots.

    Args:
        folder: folder with CELL/metrics_SPLIT.json and, for names and cost, CELL/cell.json.
        split: "val" or "test".
        against: the variant that the others are tested against; default diffrect, or the first.

    Returns:
        What the tables hold.

    Raises:
        InputError: no finished cells, unreadable ones, or cells of different protocols.
    """
    report = read_report(Path(folder), split, against)
    target = Path(folder) / REPORT_FOLDER.format(split=split)
    target.mkdir(exist_ok=True)
    plots = draw_plots(report, target)
    texts = {
        "table.md": markdown(report, plots),
        "table.tex": latex(report),
        "scores.csv": scores_csv(report),
        "tests.csv": tests_csv(report),
        "cost.csv": cost_csv(report),
    }
    for name, text in texts.items():
        write_atomic(target / name, text)
    return report


def read_report(folder: Path, split: str, against: str | None) -> Report:
    """What `compare_table` writes; see there."""
    if split not in SPLIT_NAMES:
        raise InputError(f"--split: expected one of {', '.join(SPLIT_NAMES)}, got {split!r}")
    results = load_results(folder, split)
    names = list(dict.fromkeys(result.name for result in results))
    if against is not None and against not in names:
        raise InputError(f"--against: expected one of {', '.join(names)}, got {against!r}")
    there = {result.folder.name for result in results}
    missing = [name for name in planned_cells(folder) if name not in there]
    return make_report(results, against, missing)


def export_cells(folder: Path, target: Path, report: Report) -> None:
    """Copies what a report needs of its cells, some kilobytes each, without paths of this machine.

    Raises:
        InputError: the target exists and is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"--export: expected a new or empty folder, {target} holds something")
    for result in report.results:
        metrics = read_json(result.folder / metrics_file(report.split))
        for name in ("run", "store"):
            metrics[name] = Path(metrics[name]).name
        if metrics["protocol"]["split_file"] is not None:
            metrics["protocol"]["split_file"] = Path(metrics["protocol"]["split_file"]).name
        copy = target / result.folder.name
        copy.mkdir(parents=True)
        write_json(copy / metrics_file(report.split), metrics)
        if (result.folder / CELL_FILE).is_file():
            write_json(copy / CELL_FILE, read_json(result.folder / CELL_FILE))
    if (folder / MATRIX_FILE).is_file():
        write_json(target / MATRIX_FILE, read_json(folder / MATRIX_FILE))


def print_report(folder: Path, report: Report, console: Console | None = None) -> None:
    """The most of the table of means that a screen has room for, and where the rest is."""
    console = console or Console(highlight=False, soft_wrap=True)
    section = sections(report)[0]
    table = Table(title=f"{section.title}, checkpoint {report.results[0].protocol['checkpoint']}")
    shown = [i for i, name in enumerate(section.heading) if not name.startswith(_LEFT_OUT)]
    for index in shown:
        side: Literal["left", "right"] = "left" if index < section.names else "right"
        table.add_column(section.heading[index], justify=side, overflow="fold")
    before = None
    for row in section.rows:
        if before is not None and row[0].text != before:
            table.add_section()
        before = row[0].text
        cells = [row[i] for i in shown]
        texts = [(escape(entry.text), entry.best) for entry in cells]
        table.add_row(*(f"[bold]{text}[/bold]" if best else text for text, best in texts))
    console.print(table)
    console.print(_where(folder, report, report.missing), markup=False)


def _where(folder: Path, report: Report, missing: Sequence[str]) -> str:
    target = folder / REPORT_FOLDER.format(split=report.split)
    left = f"; planned and not there: {len(missing)} cells" if missing else ""
    return (
        f"{target}: table.md, table.tex, CSV files and plots of {len(report.results)} cells{left}"
    )
