"""The comparison: a matrix of cells, trained and scored one after another, and its report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from diffrect.comparison.cell import Outcome, Task, cell_state, check_cell, do_cell
from diffrect.comparison.estimate import Plan, plan
from diffrect.comparison.files import MATRIX_FILE
from diffrect.comparison.matrix import (
    PRESETS,
    Cell,
    Variants,
    build_matrix,
    check_variants,
    choose_variants,
    preset_variants,
    read_variants,
    running_order,
    take_shard,
)
from diffrect.comparison.report.report import compare_table
from diffrect.comparison.report.results import planned_cells, protocol_of, read_result
from diffrect.comparison.report.sections import Report
from diffrect.comparison.worker import do_cell_apart
from diffrect.config import TrainConfig, config_to_dict
from diffrect.data.names import STORE_FILE
from diffrect.data.store import Store
from diffrect.errors import InputError, PartialFailure
from diffrect.json_files import write_json
from diffrect.methods.registry import resolve
from diffrect.runs.names import CONFIG_FILE, metrics_file


class CompareError(PartialFailure):
    """Some cells failed; the others are finished and reported in the folder.

    Args:
        folder: the folder of the comparison, which holds its report.
        cells: how many cells there are.
        failures: what is wrong with each failed cell, one line each.
    """

    def __init__(self, folder: Path, cells: int, failures: dict[Path, str]) -> None:
        summary = f"{len(failures)} of {cells} cells failed: {'; '.join(failures.values())}"
        super().__init__(summary, [folder], failures)


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
    checkpoint: Literal["best", "last"] = "best",
    against: str | None = None,
    apart: bool = True,
    progress: bool = True,
) -> Report | None:
    """Trains and scores methods x labelled patients x seeds, and writes tables and plots.

    Finished cells are kept, begun ones go on, a failed one does not stop the others. Several
    processes may work in one folder: each cell is locked while one works on it.

    Args:
        store: folder made by `prepare`.
        folder: gets a RUN folder per cell and the report, see `compare_table`.
        methods: names of methods or variants, wildcards for variants; NAME@LABELLED trains one with
            that many labelled patients alone. None = all variants.
        labelled: numbers of labelled patients, as `TrainConfig.labelled`.
        seeds: seeds.
        config: what all cells have in common; method, labelled and seed are replaced.
        variants: named cells, a mapping or its YAML file: {name: {method, preset, labelled,
            options}}.
        preset: "ablation" for the variants of DiffRect that the package ships.
        shard: (k, n): the k-th of n parts of the matrix alone.
        split: patients to report, "val" or "test".
        checkpoint: of each training, "best" by validation or "last".
        against: the variant that others are tested against; default diffrect, or the first.
        apart: train each cell in a process of its own, otherwise in this one.
        progress: say what is going on, on stderr.

    Returns:
        What the tables hold; None if no cell is finished.

    Raises:
        InputError: something given is wrong; nothing was started.
        CompareError: some cells failed.
        KeyboardInterrupt: a stop was asked for; the same call goes on.
    """
    cells = make_cells(methods, labelled, seeds, config, variants, preset)
    task = make_task(store, folder, split, checkpoint, progress)
    check_before(cells, task)
    remember_matrix(cells, Path(folder))
    mine = running_order(take_shard(cells, shard))
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True)
    failures = run_cells(mine, task, apart, console)
    report = None
    if any(cell_state(Path(folder) / cell.folder, task) == "finished" for cell in cells):
        report = compare_table(folder, split=split, against=against)
    if failures:
        raise CompareError(Path(folder), len(mine), failures)
    return report


def plan_comparison(
    store: Path | str,
    folder: Path | str,
    *,
    shard: tuple[int, int] | None = None,
    split: str = "val",
    checkpoint: Literal["best", "last"] = "best",
    **matrix: Any,
) -> list[Plan]:
    """The cells that `compare` would do, in its order, with the time they may take.

    Nothing is written. The arguments are those of `compare`, `matrix` its methods, labelled, seeds,
    config, variants and preset.
    """
    cells = make_cells(**matrix)
    task = make_task(store, folder, split, checkpoint, progress=False)
    check_before(cells, task)
    return plan(running_order(take_shard(cells, shard)), task)


def make_cells(
    methods: Sequence[str] = (),
    labelled: Sequence[str | int] = (),
    seeds: Sequence[int] = (1337,),
    config: TrainConfig | None = None,
    variants: Path | str | Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> list[Cell]:
    """The matrix that the arguments of `compare` describe, every method and option checked.

    Raises:
        InputError: one of them is wrong.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(f"--preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    known: Variants = preset_variants(preset) if preset else {}
    if isinstance(variants, Mapping):
        known = {**known, **check_variants(variants, "variants")}
    elif variants is not None:
        known = {**known, **read_variants(Path(variants))}
    chosen = choose_variants(methods, known)
    cells = build_matrix(chosen, [str(count) for count in labelled], seeds, config or TrainConfig())
    for cell in {cell.name: cell for cell in cells}.values():
        try:
            resolve(cell.config)
        except InputError as error:
            raise InputError(f"--methods {cell.name}: {error}") from None
    return cells


def make_task(
    store: Path | str,
    folder: Path | str,
    split: str,
    checkpoint: Literal["best", "last"],
    progress: bool,
) -> Task:
    """What is asked of every cell, checked.

    Raises:
        InputError: no such store, or a folder that is a file or holds something else.
    """
    Store(store)
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected a folder for the cells, found a file")
    for name, kind in ((STORE_FILE, "store"), (CONFIG_FILE, "run")):
        if (path / name).exists():
            raise InputError(f"{path}: expected a folder for the cells, found a {kind}")
    return Task(str(store), str(folder), split, checkpoint, progress)


def check_before(cells: Sequence[Cell], task: Task) -> None:
    """Before anything is trained: what is there already fits this comparison.

    Raises:
        InputError: naming a cell and what differs.
    """
    folder = Path(task.folder)
    for cell in cells:
        check_cell(folder / cell.folder, cell, task.split)
    asked = {
        **protocol_of(config_to_dict(cells[0].config)),
        **{"split": task.split, "checkpoint": task.checkpoint, "empty": "undefined"},
    }
    own = {cell.folder for cell in cells}
    for file in sorted(folder.glob(f"*/{metrics_file(task.split)}")):
        found = {} if file.parent.name in own else read_result(file).protocol
        for name in sorted(found.keys() & asked.keys()):
            if found[name] != asked[name]:
                raise InputError(
                    f"{file.parent}: expected cells of one protocol in a folder, got {name} "
                    f"{found[name]} where this comparison asks for {asked[name]}"
                )


def remember_matrix(cells: Sequence[Cell], folder: Path) -> None:
    """Adds the cells to FOLDER/matrix.json, so that a report can tell which are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        cell.folder: {
            "name": cell.name,
            "labelled": cell.config.labelled,
            "seed": cell.config.seed,
        }
        for cell in cells
    }
    write_json(folder / MATRIX_FILE, {"format": 1, "cells": {**planned_cells(folder), **facts}})


def run_cells(cells: Sequence[Cell], task: Task, apart: bool, console: Console) -> dict[Path, str]:
    """Does the cells; those that others work on are tried once more at the end.

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
            run = Path(task.folder) / cell.folder
            where = f"[{1 + cells.index(cell)}/{len(cells)}] {cell.folder}"
            if cell_state(run, task) == "finished":
                console.print(f"{where}: is finished", markup=False)
                continue
            console.print(f"{where}: {cell.config.iterations} iterations", markup=False)
            outcome = _attempt(task, cell, apart)
            if outcome.kind == "taken":
                taken.append(cell)
            if outcome.kind == "failed":
                failures[run] = f"{cell.folder}: {outcome.reason}"
            if outcome.kind != "finished" and (last or outcome.kind != "taken"):
                console.print(f"{where}: {outcome.kind}: {outcome.reason}", markup=False)
        left = taken
    return failures


def _attempt(task: Task, cell: Cell, apart: bool) -> Outcome:
    try:
        return do_cell_apart(task, cell) if apart else do_cell(task, cell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped in {cell.folder}; the same command goes on from there"
        ) from None
