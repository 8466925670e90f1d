"""Run a comparison: train and score a matrix of cells one after another, and report on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from rich.console import Console

from diffrect.comparison.cell import CellJob, Outcome, cell_state, do_cell
from diffrect.comparison.cell_process import do_cell_apart
from diffrect.comparison.cells import make_cells
from diffrect.comparison.estimate import CellEstimate, estimate_cells
from diffrect.comparison.matrix import Cell, MatrixArguments, running_order, take_shard
from diffrect.comparison.matrix_file import remember_cells
from diffrect.comparison.report.comparison import Comparison
from diffrect.comparison.report.report import compare_table
from diffrect.comparison.request import check_before, make_job
from diffrect.config import TrainConfig
from diffrect.console import stderr_console
from diffrect.distributed.devices import find_device
from diffrect.errors import PartialFailure
from diffrect.runs.names import Checkpoint


class CompareError(PartialFailure):
    """Some cells failed; `done` holds the folders of those that are finished.

    The exit code is 1 even if all failed: what was asked for was right, and the same command tries
    the cells again.

    Args:
        done: folders of the finished cells.
        failures: what is wrong with each failed cell, by folder.
        cells: number of cells that were to be done.
    """

    exit_code = 1

    def __init__(self, done: Sequence[Path], failures: Mapping[Path, str], cells: int) -> None:
        line = f"{len(failures)} of {cells} cells failed: {'; '.join(failures.values())}"
        super().__init__(line, done, failures)


def compare(
    store: Path | str,
    folder: Path | str,
    *,
    methods: Sequence[str] = (),
    labelled: Sequence[str | int] = (),
    seeds: Sequence[int] = (1337,),
    config: TrainConfig | None = None,
    variants: Path | str | Mapping[str, Any] | None = None,
    preset: str | None = None,
    shard: tuple[int, int] | None = None,
    split: str = "val",
    checkpoint: Checkpoint = "best",
    against: str | None = None,
    apart: bool = True,
    progress: bool = True,
) -> Comparison | None:
    """Train and score methods x labelled patients x seeds, and write tables and plots.

    Finished cells are kept, started ones resume, and a cell that fails does not stop the others.
    Several processes may work in one folder: each cell is locked while one works on it.

    Example:
        >>> import diffrect
        >>> config = diffrect.TrainConfig(size=32, iterations=2, batch_labelled=2)
        >>> comparison = diffrect.compare(
        ...     "store",
        ...     "comparison",
        ...     methods=["supervised", "diffrect"],
        ...     labelled=[1],
        ...     seeds=[0],
        ...     config=config,
        ...     progress=False,
        ... )
        >>> [row.condition.name for row in comparison.rows]
        ['supervised', 'diffrect']

    Args:
        store: folder made by `prepare`.
        folder: gets a RUN folder per cell and the report, see `compare_table`.
        methods: names of methods or variants, wildcards for variants; NAME@LABELLED trains one only
            with that many labelled patients. Without any, all variants are trained.
        labelled: numbers of labelled patients, as `TrainConfig.labelled`.
        seeds: seeds of the trainings.
        config: what all cells have in common; method, labelled and seed are replaced.
        variants: named variants, as a mapping or its YAML file: {name: {method, preset, labelled,
            options}}.
        preset: "ablation" for the variants of DiffRect that the package ships.
        shard: (k, n) does only the k-th of n parts of the matrix.
        split: patients to report, "val" or "test".
        checkpoint: the checkpoint of each training to score, see `evaluate`.
        against: the variant that the others are tested against; None takes diffrect, or the first.
        apart: train each cell in a process of its own, otherwise in this one.
        progress: report progress on stderr.

    Returns:
        What the tables hold; None if no cell is finished.

    Raises:
        InputError: an argument is wrong; nothing was started.
        CompareError: some cells failed.
        KeyboardInterrupt: a stop was asked for; the same call resumes.
    """
    cells = make_cells(
        methods=methods,
        labelled=labelled,
        seeds=seeds,
        config=config,
        variants=variants,
        preset=preset,
    )
    job = make_job(store, folder, split, checkpoint, progress)
    check_before(cells, job)
    if any(cell_state(Path(folder) / cell.folder, job) != "finished" for cell in cells):
        find_device(cells[0].config.device, cells[0].config.devices)
    remember_cells(cells, Path(folder))
    mine = running_order(take_shard(cells, shard))
    failures = run_cells(mine, job, apart, stderr_console(quiet=not progress))
    runs = [Path(folder) / cell.folder for cell in cells]
    done = [run for run in runs if cell_state(run, job) == "finished"]
    comparison = compare_table(folder, split=split, against=against) if done else None
    if failures:
        raise CompareError(done, failures, len(mine))
    return comparison


def plan_comparison(
    store: Path | str,
    folder: Path | str,
    *,
    shard: tuple[int, int] | None = None,
    split: str = "val",
    checkpoint: Checkpoint = "best",
    **matrix: Unpack[MatrixArguments],
) -> list[CellEstimate]:
    """Return the cells that `compare` would do, in its order, with the time they may take.

    Nothing is written.

    Args:
        store: as of `compare`.
        folder: as of `compare`.
        shard: as of `compare`.
        split: as of `compare`.
        checkpoint: as of `compare`.
        matrix: the other arguments of `compare` that describe its cells.

    Raises:
        InputError: an argument is wrong.
    """
    cells = make_cells(**matrix)
    job = make_job(store, folder, split, checkpoint, progress=False)
    check_before(cells, job)
    return estimate_cells(running_order(take_shard(cells, shard)), job)


def run_cells(
    cells: Sequence[Cell], job: CellJob, apart: bool, console: Console
) -> dict[Path, str]:
    """Do the cells; those that other processes work on are tried once more at the end.

    Args:
        cells: cells to do, in this order.
        job: what is asked of each.
        apart: do each in a process of its own.
        console: where to report progress.

    Returns:
        What is wrong with each failed cell.

    Raises:
        KeyboardInterrupt: a stop was asked for.
    """
    failures: dict[Path, str] = {}
    left = list(cells)
    for last in (False, True):
        taken = []
        for cell in left:
            run = Path(job.folder) / cell.folder
            where = f"[{1 + cells.index(cell)}/{len(cells)}] {cell.folder}"
            if cell_state(run, job) == "finished":
                console.print(f"{where}: is finished")
                continue
            console.print(f"{where}: {cell.config.iterations} iterations")
            outcome = _attempt(job, cell, apart)
            if outcome.kind == "taken":
                taken.append(cell)
            if outcome.kind in ("failed", "diverged"):
                failures[run] = f"{cell.folder}: {outcome.reason}"
            if outcome.kind != "finished" and (last or outcome.kind != "taken"):
                console.print(f"{where}: {outcome.kind}: {outcome.reason}")
        left = taken
    return failures


def _attempt(job: CellJob, cell: Cell, apart: bool) -> Outcome:
    try:
        return do_cell_apart(job, cell) if apart else do_cell(job, cell)
    except KeyboardInterrupt:
        message = f"stopped in {cell.folder}; the same command resumes it"
        raise KeyboardInterrupt(message) from None
