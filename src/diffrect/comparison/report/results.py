"""The result of a finished cell: its per-case scores and its cost, read from its folder.

CELL/metrics_SPLIT.json is all that is needed; CELL/cell.json adds name and cost. All numbers of a
report are worked out from the per-case scores.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrect.comparison.cost import TrainingCost, cost_from_dict
from diffrect.comparison.names import CELL_FORMAT
from diffrect.config import Role, TrainConfig, names_with, validation_interval
from diffrect.errors import InputError
from diffrect.evaluation.metrics import METRICS, Scores
from diffrect.json_files import read_json
from diffrect.runs.names import CELL_FILE, METRICS_FORMAT

# Numbers are not comparable if one of these differs. `devices` is among them, because each device
# has batches of its own.
_PROTOCOL = (*names_with(Role.RESULT), "devices")
# Files of earlier versions do not name these, and had the defaults.
_ADDED = ("spacing", "crop", "sync_batchnorm", "precise_statistics", "deterministic")
_EVALUATION = ("split", "checkpoint", "empty")


@dataclass(frozen=True)
class CellResult:
    """A finished cell.

    Attributes:
        folder: the cell's folder.
        name: name of its variant.
        seed: seed of its training.
        split_file: whether a split file named the patients.
        labelled: the labelled patients.
        unlabelled: number of unlabelled patients; 0 if all are labelled.
        protocol: what must be equal in a table, by name.
        options: settings of method and views.
        cases: per case id the scores per class; undefined is NaN.
        patients: number of patients scored.
        step: iteration of the checkpoint.
        version: package version and commit, as text.
        cost: cost of the training, as far as it is known.
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
    cost: TrainingCost

    @property
    def count(self) -> int:
        """Number of labelled patients."""
        return len(self.labelled)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(next(iter(self.cases.values())))


def read_result(file: Path) -> CellResult:
    """Return a cell by its metrics file and the cell.json beside it.

    Raises:
        InputError: a file cannot be read, has another format or lacks its entries.
    """
    metrics = read_json(file)
    cell_file = file.with_name(CELL_FILE)
    cell = read_json(cell_file) if cell_file.is_file() else {}
    if metrics.get("format") != METRICS_FORMAT:
        expected = f"metrics of format {METRICS_FORMAT}"
        raise InputError(file, expected, got=str(metrics.get("format")))
    if cell.get("format", CELL_FORMAT) != CELL_FORMAT:
        raise InputError(cell_file, f"format {CELL_FORMAT}", got=str(cell["format"]))
    try:
        return _result(file.parent, metrics, cell)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__} {error}"
        raise InputError(file, "what evaluate writes", reason=reason) from None


def _result(folder: Path, metrics: Mapping[str, Any], cell: Mapping[str, Any]) -> CellResult:
    settings = metrics["protocol"]
    named = re.fullmatch(r"(.+?)(-labelled.+)?-seed\d+", folder.name)
    cases = {case["id"]: _scores(case["classes"]) for case in metrics["cases"]}
    if not cases:
        raise ValueError("no cases")
    _check_printable(str(cell.get("name") or ""), *(n for scores in cases.values() for n in scores))
    commit = cell.get("commit")
    return CellResult(
        folder=folder,
        name=cell.get("name") or (named[1] if named else settings["method"]),
        seed=settings["seed"],
        split_file=settings["split_file"] is not None,
        labelled=tuple(settings["labelled_patients"]),
        unlabelled=settings["unlabelled_patients"],
        protocol={
            **{name: metrics[name] for name in _EVALUATION},
            **protocol_of(settings),
            "classes": ", ".join(next(iter(cases.values()))),
        },
        options=settings.get("options") or {},
        cases=cases,
        patients=len({case["patient"] for case in metrics["cases"]}),
        step=metrics["step"],
        version=f"{metrics['diffrect']}{f' ({commit})' if commit else ''}",
        cost=cost_from_dict(cell.get("cost") or {}),
    )


def _check_printable(*names: str) -> None:
    """Refuse names, which may be anything, that would steer a terminal."""
    strange = next((name for name in names if not name.isprintable()), None)
    if strange is not None:
        raise ValueError(f"{strange!r} is not a name that can be shown")


def protocol_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return which of a training's settings must be equal in a table, see `config_to_dict`."""
    interval = validation_interval(settings["iterations"], settings["validate_every"])
    defaults = {name: getattr(TrainConfig, name) for name in _ADDED}
    named = {name: {**defaults, **settings}[name] for name in _PROTOCOL}
    return {**named, "validate_every": interval}


def _scores(classes: Mapping[str, Mapping[str, float | None]]) -> dict[str, Scores]:
    """Return the scores of a case with NaN where the file has null."""
    return {
        name: {metric: _number(values[metric]) for metric in METRICS}
        for name, values in classes.items()
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
