"""Copy what a report needs of its cells, to keep a result."""

from pathlib import Path

from diffrect.checks import folder_to_make
from diffrect.comparison.names import MATRIX_FILE
from diffrect.comparison.report.comparison import Comparison
from diffrect.errors import InputError
from diffrect.evaluation.scores_file import read_scores, sealed
from diffrect.json_files import read_json, write_json
from diffrect.runs.names import CELL_FILE, metrics_file


def export_cells(folder: Path, target: Path, comparison: Comparison) -> None:
    """Copy scores and cost of the cells, some kilobytes each, without paths of this machine.

    Args:
        folder: folder of the comparison.
        target: folder to make.
        comparison: what `compare_table` returned for the folder.

    Raises:
        InputError: the target exists and is not empty.
    """
    folder_to_make(target, "a folder for the copy")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        expected = f"a new or empty folder, {target} holds something"
        raise InputError("--export", expected, setting="export")
    scores = metrics_file(comparison.split)
    for result in comparison.results:
        metrics = read_scores(result.folder / scores)
        for name in ("run", "store"):
            metrics[name] = Path(str(metrics.get(name, ""))).name
        if metrics["protocol"]["split_file"] is not None:
            metrics["protocol"]["split_file"] = Path(str(metrics["protocol"]["split_file"])).name
        copy = target / result.folder.name
        copy.mkdir(parents=True)
        write_json(copy / scores, sealed(metrics) if result.sealed else metrics)
        if (result.folder / CELL_FILE).is_file():
            write_json(copy / CELL_FILE, read_json(result.folder / CELL_FILE))
    if (folder / MATRIX_FILE).is_file():
        write_json(target / MATRIX_FILE, read_json(folder / MATRIX_FILE))
