"""What finished cells say: their per-case scores and cost, read from a folder and checked.

A folder with CELL/metrics_SPLIT.json is all that is needed; CELL/cell.json adds name and cost. All
numbers of a report are worked out from the per-case scores.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrect.comparison.files import CELL_FORMAT, MATRIX_FILE
from diffrect.config import Role, TrainConfig, names_with, validation_interval
from diffrect.errors import InputError
from diffrect.evaluation.metrics import METRICS, Scores
from diffrect.json_files import read_json
from diffrect.runs.names import CELL_FILE, METRICS_FORMAT, metrics_file

# What makes numbers incomparable if it differs: `devices` too, each of which has its own batches.
_PROTOCOL = (*names_with(Role.RESULT), "devices")
# Older files do not name these, and had what is the default.
_ADDED = ("spacing", "crop", "sync_batchnorm", "deterministic")
_EVALUATION = ("split", "checkpoint", "empty")


@dataclass(frozen=True)
class Result:
    """A finished cell.

    Attributes:
        folder: the cell's folder.
        name: the variant's.
        seed: of its training.
        split_file: whether a split file named the patients.
        labelled: the labelled patients.
        unlabelled: number of unlabelled patients; 0 where all are labelled.
        protocol: what has to be equal in a table, by name.
        options: settings of method and views.
        cases: per case id the scores per class; undefined is NaN.
        patients: number of patients scored.
        step: iteration of the checkpoint.
        version: package version and commit, as text.
        cost: see `cost.training_cost`; empty if the folder does not tell.
    """

    folder: Path
    name: str
    seed: int
    split_file: bool
    labelled: tuple[str, ...]
    unlabelled: int
    protocol: Mapping[str, Any]
    options: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, Scores]]
    patients: int
    step: int
    version: str
    cost: Mapping[str, Any]

    @property
    def count(self) -> int:
        """Number of labelled patients."""
        return len(self.labelled)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(next(iter(self.cases.values())))


def load_results(folder: Path, split: str) -> list[Result]:
    """The finished cells of a folder, in the matrix's order where it is known.

    Raises:
        InputError: none is there, one cannot be read, two are the same cell, or they follow
            different protocols.
    """
    files = sorted(folder.glob(f"*/{metrics_file(split)}"))
    if not files:
        what = "no such folder" if not folder.is_dir() else f"no CELL/{metrics_file(split)}"
        raise InputError(f"{folder}: expected finished cells of a comparison, found {what}")
    order = list(planned_cells(folder))
    results = [read_result(file) for file in files]
    results.sort(key=lambda r: order.index(r.folder.name) if r.folder.name in order else 1e9)
    check_once(results)
    check_protocol(results)
    return results


def read_result(file: Path) -> Result:
    """A cell by its metrics file and the cell.json beside it.

    Raises:
        InputError: a file cannot be read, has another format or lacks its entries.
    """
    metrics = read_json(file)
    cell_file = file.with_name(CELL_FILE)
    cell = read_json(cell_file) if cell_file.is_file() else {}
    if metrics.get("format") != METRICS_FORMAT:
        found = metrics.get("format")
        raise InputError(f"{file}: expected metrics of format {METRICS_FORMAT}, got {found}")
    if cell.get("format", CELL_FORMAT) != CELL_FORMAT:
        raise InputError(f"{cell_file}: expected format {CELL_FORMAT}, got {cell['format']}")
    try:
        return _result(file.parent, metrics, cell)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__} {error}"
        raise InputError(f"{file}: expected what evaluate writes: {reason}") from None


def _result(folder: Path, metrics: Mapping[str, Any], cell: Mapping[str, Any]) -> Result:
    told = metrics["protocol"]
    named = re.fullmatch(r"(.+?)(-labelled.+)?-seed\d+", folder.name)
    cases = {case["id"]: _scores(case["classes"]) for case in metrics["cases"]}
    if not cases:
        raise ValueError("no cases")
    names = [str(cell.get("name") or ""), *(n for scores in cases.values() for n in scores)]
    strange = next((name for name in names if not name.isprintable()), None)
    if strange is not None:
        raise ValueError(f"{strange!r} is no name that can be shown")
    commit = cell.get("commit")
    version = f"{metrics['diffrect']}{f' ({commit})' if commit else ''}"
    return Result(
        folder=folder,
        name=cell.get("name") or (named[1] if named else told["method"]),
        seed=told["seed"],
        split_file=told["split_file"] is not None,
        labelled=tuple(told["labelled_patients"]),
        unlabelled=told["unlabelled_patients"],
        protocol={
            **{name: metrics[name] for name in _EVALUATION},
            **protocol_of(told),
            "classes": ", ".join(next(iter(cases.values()))),
        },
        options=told.get("options") or {},
        cases=cases,
        patients=len({case["patient"] for case in metrics["cases"]}),
        step=metrics["step"],
        version=version,
        cost=cell.get("cost") or {},
    )


def protocol_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be equal in a table of a training's configuration, see `config_to_dict`."""
    interval = validation_interval(settings["iterations"], settings["validate_every"])
    before = {name: getattr(TrainConfig, name) for name in _ADDED}
    named = {name: {**before, **settings}[name] for name in _PROTOCOL}
    return {**named, "validate_every": interval}


def _scores(classes: Mapping[str, Mapping[str, float | None]]) -> dict[str, Scores]:
    """The scores of a case with NaN where the file has null."""
    return {
        name: {metric: _number(values[metric]) for metric in METRICS}
        for name, values in classes.items()
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def check_once(results: Sequence[Result]) -> None:
    """Each cell is there once.

    Raises:
        InputError: naming two folders of the same cell.
    """
    seen: dict[tuple[str, frozenset[str], int], Path] = {}
    for result in results:
        key = (result.name, frozenset(result.labelled), result.seed)
        if key in seen:
            raise InputError(
                f"{seen[key]} and {result.folder}: expected one cell of {result.name} with "
                f"{result.count} labelled and seed {result.seed}, got two"
            )
        seen[key] = result.folder


def check_protocol(results: Sequence[Result]) -> None:
    """All cells follow one protocol, and those of a seed are scored on the same cases.

    Raises:
        InputError: naming every setting that differs, and two cells.
    """
    first = results[0]
    for other in results[1:]:
        differing = [
            f"{name} {first.protocol[name]} against {other.protocol[name]}"
            for name in first.protocol
            if first.protocol[name] != other.protocol[name]
        ]
        if differing:
            raise _mixed(first, other, "; ".join(differing))
    check_patients(results)


def check_patients(results: Sequence[Result]) -> None:
    """Cells share their cases and, if as many are labelled, their labelled and unlabelled patients.

    From seed to seed they may differ where no split file was given, because without a split of its
    own a data set's patients are drawn by the seed.

    Raises:
        InputError: naming two cells and a case or patient.
    """
    by_seed: dict[int | None, Result] = {}
    by_count: dict[tuple[int | None, int], Result] = {}
    for result in results:
        seed = None if result.split_file else result.seed
        first = by_seed.setdefault(seed, result)
        case = min(first.cases.keys() ^ result.cases.keys(), default=None)
        if case is not None:
            raise _mixed(first, result, f"split: case {case} is in one alone")
        alike = by_count.setdefault((seed, result.count), result)
        patient = min({*alike.labelled} ^ {*result.labelled}, default=None)
        if patient is not None:
            raise _mixed(alike, result, f"split: patient {patient} is labelled in one alone")
        if alike.unlabelled != result.unlabelled:
            counts = f"{alike.unlabelled} against {result.unlabelled}"
            raise _mixed(alike, result, f"split: unlabelled patients {counts}")


def _mixed(one: Result, other: Result, what: str) -> InputError:
    return InputError(
        f"{one.folder} and {other.folder}: expected cells of one protocol in a table, got {what}"
    )


def planned_cells(folder: Path) -> dict[str, Any]:
    """The cells that comparisons in this folder have planned, by folder name."""
    file = folder / MATRIX_FILE
    return dict(read_json(file).get("cells", {})) if file.is_file() else {}
