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
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.evaluation.metrics import METRICS, Scores
from diffrect.evaluation.scores_file import is_sealed, read_scores
from diffrect.json_files import read_json
from diffrect.networks.spec import UNET
from diffrect.runs.names import CELL_FILE

# Numbers are not comparable if one of these differs. `devices` is among them, because each device
# has batches of its own.
_PROTOCOL = (*names_with(Role.RESULT, Role.CHOICE), "devices")
# Files of earlier versions do not name these, and had the defaults.
_ADDED = ("spacing", "crop", "sync_batchnorm", "precise_statistics", "average", "deterministic")
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
        network: the network that segments.
        learning_rate: the initial one.
        options: settings of method and views.
        cases: per case id the scores per class; undefined is NaN.
        patient_of: the patient of each case.
        step: iteration of the checkpoint.
        version: package version and commit, as text.
        cost: cost of the training, as far as it is known.
        sealed: whether its scores are sealed; those of earlier versions are not.
    """

    folder: Path
    name: str
    seed: int
    split_file: bool
    labelled: tuple[str, ...]
    unlabelled: int
    protocol: Mapping[str, Any]
    network: str
    learning_rate: float
    options: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, Scores]]
    patient_of: Mapping[str, str]
    step: int
    version: str
    cost: TrainingCost
    sealed: bool = True

    @property
    def count(self) -> int:
        """Number of labelled patients."""
        return len(self.labelled)

    @property
    def patients(self) -> int:
        """Number of patients scored."""
        return len(set(self.patient_of.values()))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(next(iter(self.cases.values())))


def read_result(file: Path) -> CellResult:
    """Return a cell by its metrics file and the cell.json beside it.

    Raises:
        InputError: a file cannot be read, has another format, has changed since it was written, or
            an entry is missing or of another kind.
    """
    metrics = Fields(read_scores(file), file)
    cell = _read_cell(file.with_name(CELL_FILE))
    settings = metrics.fields("protocol")
    cases = {case.text("id"): _scores(case.fields("classes")) for case in metrics.each("cases")}
    if not cases or not all(cases.values()):
        raise metrics.refuse("cases", "at least one case with classes")
    if len({tuple(scores) for scores in cases.values()}) > 1:
        raise metrics.refuse("cases", "the same classes in all cases", found="others")
    commit = None if cell.get("commit", None) is None else cell.text("commit")
    folder = file.parent
    named = re.fullmatch(r"(.+?)(-labelled.+)?-seed\d+", folder.name)
    name = cell.text("name", "") or (named[1] if named else settings.text("method"))
    for shown in (name, *(n for scores in cases.values() for n in scores)):
        if not shown.isprintable():  # it would steer a terminal
            raise InputError(file, "names that can be shown", got=repr(shown))
    version = metrics.text("diffrect")
    return CellResult(
        folder=folder,
        name=name,
        seed=settings.whole("seed", 0, 2**63 - 1),
        split_file=settings.get("split_file") is not None,
        labelled=settings.texts("labelled_patients"),
        unlabelled=settings.whole("unlabelled_patients", 0),
        protocol={
            **{name: metrics.text(name) for name in _EVALUATION},
            **protocol_of(settings.values, file),
            "classes": ", ".join(next(iter(cases.values()))),
        },
        network=settings.text("network", UNET),
        learning_rate=settings.number("learning_rate", 0, 1e9),
        options={} if not settings.get("options", {}) else settings.fields("options").values,
        cases=cases,
        patient_of={case.text("id"): case.text("patient") for case in metrics.each("cases")},
        step=metrics.whole("step", 0),
        version=f"{version}{f' ({commit})' if commit else ''}",
        cost=cost_from_dict(cell.fields("cost", {}).values),
        sealed=is_sealed(metrics.values),
    )


def _read_cell(file: Path) -> Fields:
    """Return the content of a cell.json, nothing if there is none.

    Raises:
        InputError: it cannot be read, or is of another format.
    """
    cell = Fields(read_json(file) if file.is_file() else {}, file)
    if cell.get("format", CELL_FORMAT) != CELL_FORMAT:
        raise InputError(file, f"format {CELL_FORMAT}", got=str(cell.get("format")))
    return cell


def protocol_of(settings: Mapping[str, Any], where: object = "protocol") -> dict[str, Any]:
    """Return which of a training's settings must be equal in a table, see `config_to_dict`.

    Args:
        settings: the training's configuration.
        where: what messages call the place that it comes from, such as the file.

    Raises:
        InputError: a setting is missing, or is not a plain value.
    """
    defaults = {name: getattr(TrainConfig, name) for name in _ADDED}
    fields = Fields({**defaults, **settings}, where, "protocol")
    given = fields.get("validate_every")
    interval = validation_interval(
        fields.whole("iterations", 1), given if given is None else fields.whole("validate_every", 1)
    )
    named = {name: fields.get(name) for name in _PROTOCOL}
    for name, value in named.items():
        if not (value is None or isinstance(value, str | int | float)):
            raise fields.refuse(name, "a plain value")
    return {**named, "validate_every": interval}


def _scores(classes: Fields) -> dict[str, Scores]:
    """Return the scores of a case with NaN where the file has null."""
    return {name: _values(classes.fields(name)) for name in classes.values}


def _values(metrics: Fields) -> Scores:
    return {
        name: math.nan if metrics.get(name) is None else metrics.number(name, 0, 1e9)
        for name in METRICS
    }
