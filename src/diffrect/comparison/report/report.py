"""From a folder of finished cells to tables and plots in FOLDER/report_SPLIT."""

from pathlib import Path

from diffrect.atomic import write_atomic
from diffrect.checks import one_of
from diffrect.comparison.matrix_file import planned_cells
from diffrect.comparison.report.comparison import SPLIT_NAMES, Comparison, make_comparison
from diffrect.comparison.report.csv_files import cost_csv, scores_csv, tests_csv
from diffrect.comparison.report.html import html
from diffrect.comparison.report.latex import latex
from diffrect.comparison.report.load import load_results
from diffrect.comparison.report.markdown import markdown
from diffrect.comparison.report.plots import draw_plots
from diffrect.reporting.page import PAGE_FILE
from diffrect.runs.names import report_folder


def compare_table(
    folder: Path | str, *, split: str = "val", against: str | None = None
) -> Comparison:
    """Write tables and plots of the finished cells of a folder, by their per-case scores.

    FOLDER/report_SPLIT gets `index.html` and `table.md` with everything, `table.tex`, `scores.csv`,
    `tests.csv`, `cost.csv` and the plots.

    Example:
        >>> import diffrect
        >>> comparison = diffrect.compare_table("cells", against="supervised")
        >>> comparison.against
        'supervised'
        >>> best = max(comparison.rows, key=lambda row: row.scores["mean"]["dice"].mean)
        >>> 0 <= best.scores["mean"]["dice"].mean <= 1
        True

    Args:
        folder: folder with CELL/metrics_SPLIT.json and, for names and cost, CELL/cell.json.
        split: patients to report, "val" or "test".
        against: the variant that the others are tested against; None takes diffrect, or the first.

    Returns:
        What the tables hold.

    Raises:
        InputError: no finished cells, unreadable ones, or cells of different protocols.
    """
    comparison = read_comparison(Path(folder), split, against)
    target = Path(folder) / report_folder(split)
    target.mkdir(exist_ok=True)
    plots = draw_plots(comparison, target)
    texts = {
        PAGE_FILE: html(comparison, target, plots),
        "table.md": markdown(comparison, plots),
        "table.tex": latex(comparison),
        "scores.csv": scores_csv(comparison),
        "tests.csv": tests_csv(comparison),
        "cost.csv": cost_csv(comparison),
    }
    for name, text in texts.items():
        write_atomic(target / name, text)
    return comparison


def read_comparison(folder: Path, split: str, against: str | None) -> Comparison:
    """Return what `compare_table` returns, without writing anything; see there."""
    one_of("--split", split, tuple(SPLIT_NAMES))
    results = load_results(folder, split)
    if against is not None:
        one_of("--against", against, list(dict.fromkeys(result.name for result in results)))
    there = {result.folder.name for result in results}
    missing = [name for name in planned_cells(folder) if name not in there]
    return make_comparison(results, against, missing)
