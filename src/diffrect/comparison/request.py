"""Job of a comparison, checked with its cells and its folder before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

from diffrect.checks import folder_to_make
from diffrect.comparison.cell import CellJob, check_cell
from diffrect.comparison.matrix import Cell
from diffrect.comparison.report.results import protocol_of, read_result
from diffrect.config import config_to_dict
from diffrect.data.record import STORE_FILE
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.runs.names import CONFIG_FILE, Checkpoint, metrics_file


def make_job(
    store: Path | str,
    folder: Path | str,
    split: str,
    checkpoint: Checkpoint,
    progress: bool,
) -> CellJob:
    """Return what is asked of every cell, after a look at the store and the folder.

    Args:
        store: folder made by `prepare`.
        folder: folder for the cells, which need not exist.
        split: patients to score.
        checkpoint: the checkpoint of each training to score.
        progress: show progress bars.

    Raises:
        InputError: no such store, or a folder that is a file or holds something else.
    """
    Store(store)
    path = Path(folder)
    folder_to_make(path, "a folder for the cells")
    for name, kind in ((STORE_FILE, "store"), (CONFIG_FILE, "run")):
        if (path / name).exists():
            raise InputError(path, "a folder for the cells", found=f"a {kind}")
    return CellJob(str(store), str(folder), split, checkpoint, progress)


def check_before(cells: Sequence[Cell], job: CellJob) -> None:
    """Check that what the folder holds already fits this comparison.

    Raises:
        InputError: naming a cell and what differs.
    """
    folder = Path(job.folder)
    for cell in cells:
        check_cell(folder / cell.folder, cell, job.split)
    asked = {
        **protocol_of(config_to_dict(cells[0].config)),
        **{"split": job.split, "checkpoint": job.checkpoint, "empty": "undefined"},
    }
    if cells[0].config.validate_every is None:  # as each training sees fit
        del asked["validate_every"]
    own = {cell.folder for cell in cells}
    for file in sorted(folder.glob(f"*/{metrics_file(job.split)}")):
        found = {} if file.parent.name in own else read_result(file).protocol
        for name in sorted(found.keys() & asked.keys()):
            if found[name] != asked[name]:
                raise InputError(
                    file.parent,
                    "cells of one protocol in a folder",
                    got=f"{name} {found[name]} where this comparison asks for {asked[name]}",
                )
