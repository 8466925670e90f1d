"""A run and a split in, its scores out: per case, per class, and what the numbers mean."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffrect.config import config_to_dict
from diffrect.console import progress_bar
from diffrect.data.splits import Split
from diffrect.data.store import CaseRecord, Store, write_json
from diffrect.distributed.ranks import together
from diffrect.errors import InputError
from diffrect.evaluation.metrics import EMPTY_CONVENTIONS, EmptyConvention, case_metrics, summarise
from diffrect.inference.model import Model
from diffrect.labels import IGNORED
from diffrect.runs.names import (
    METRICS_FORMAT,
    SPLIT_FILE,
    SPLITS,
    STORE_LINK_FILE,
    metrics_file,
)
from diffrect.version import package_version

FORMAT_VERSION = METRICS_FORMAT
_OF_PREPARE = ("intensity", "axis")  # settings of a store that are options


def evaluate(
    run: Path | str,
    *,
    split: str = "val",
    checkpoint: Literal["best", "last"] = "best",
    empty: EmptyConvention = "undefined",
    store: Path | str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Score a trained model on every labelled case of a split, and write RUN/metrics_SPLIT.json.

    Volumes are compared on the store's own grid, whatever size the model was trained at. `split`
    is "val" or "test", `checkpoint` "best" or "last"; `empty` says what a class counts that is
    missing from a case (see `case_metrics`); `store` replaces the store the run was trained on.
    "all" scores every labelled case of a `store` of other patients, such as another hospital's.

    Processes started by torchrun or srun share the cases; the first one writes.

    Returns what it writes: "mean" over the classes' means, "classes", "cases", "undefined" counts
    and the facts without which the numbers mean nothing. Undefined values are None.

    Raises:
        InputError: no such run, checkpoint or store, a store with other classes or channels than
            the model's, or normalised or cut in another way, or a split without labelled cases.
    """
    run = Path(run)
    _check_choice("--split", split, SPLITS)
    _check_choice("--empty", empty, EMPTY_CONVENTIONS)
    model = Model.load(run, checkpoint=checkpoint, device=device)
    data = _open_store(run, model, None if store is None else Path(store))
    parts = _read_split(run)
    patients = _all_patients(data, parts, store) if split == "all" else getattr(parts, split)
    records = _labelled_cases(data, patients, split)
    scored = {record.patient for record in records}
    with together() as ranks:
        mine = progress_bar(ranks.share(records), f"evaluating {split}", progress and ranks.first)
        cases = ranks.gather([_score(model, data, record, empty) for record in mine])
    classes, mean, undefined = summarise(case["classes"] for case in cases)
    result: dict[str, Any] = {
        "split": split,
        "checkpoint": checkpoint,
        "step": model.step,
        "empty": empty,
        **_facts(run, model, data, parts),
        "missing_patients": [patient for patient in patients if patient not in scored],
        "mean": mean,
        "classes": classes,
        "undefined": undefined,
        "cases": cases,
    }
    result = _without_nan(result)
    if ranks.first:
        write_json(run / metrics_file(split), result)
    return result


def _score(
    model: Model, store: Store, record: CaseRecord, empty: EmptyConvention
) -> dict[str, Any]:
    prediction = model.predict_slices(store.image(record.id), spacing=record.spacing)
    truth = store.label(record.id)
    scores = case_metrics(prediction, truth, model.classes, record.spacing, empty)
    ignored = int(np.count_nonzero(truth == IGNORED))
    return {
        "id": record.id,
        "patient": record.patient,
        "ignored_voxels": ignored,
        "classes": scores,
    }


def _open_store(run: Path, model: Model, given: Path | None) -> Store:
    """The store given, or the one the run was trained on; it must suit the model."""
    path = given or _remembered_store(run)
    store = Store(path)
    for name in ("classes", "channels", "intensity", "axis"):
        expected, found = getattr(model, name), getattr(store, name)
        if found != expected:
            option = f"; prepare it with --{name} {expected}" if name in _OF_PREPARE else ""
            raise InputError(
                f"{path}: expected the {name} of {run}, {expected}, got {found}{option}"
            )
    return store


def _remembered_store(run: Path) -> Path:
    file = run / STORE_LINK_FILE
    path = Path(file.read_text("utf-8", "replace").strip()) if file.is_file() else None
    if path is None or not path.is_dir():
        found = "does not say where" if path is None else f"{path} is not there"
        raise InputError(f"{run}: expected the store it was trained on, {found}; give --store")
    return path


def _read_split(run: Path) -> Split:
    file = run / SPLIT_FILE
    try:
        return Split.from_json(file.read_text("utf-8"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: expected the split of the run: {error}") from None


def _all_patients(data: Store, parts: Split, given: Path | str | None) -> tuple[str, ...]:
    """The patients of another store; none of them may have been trained on."""
    if given is None:
        raise InputError("--split all: expected --store with another store than that of the run")
    patients = tuple(dict.fromkeys(record.patient for record in data.cases.values()))
    known = set(parts.train).intersection(patients)
    if known:
        raise InputError(
            f"--split all: expected patients that were not trained on in {data.path}, "
            f"found {len(known)}, such as {min(known)}"
        )
    return patients


def _labelled_cases(store: Store, patients: tuple[str, ...], split: str) -> list[CaseRecord]:
    if not patients:
        raise InputError(f"--split {split}: expected patients in it, the run's split has none")
    records = [record for record in store.cases.values() if record.patient in set(patients)]
    labelled = [record for record in records if record.labelled]
    if not labelled:
        found = f"{len(records)} cases without labels" if records else "none of its patients"
        raise InputError(f"{store.path}: expected labelled cases of split {split}, found {found}")
    return labelled


def _facts(run: Path, model: Model, store: Store, parts: Split) -> dict[str, Any]:
    """What has to stand beside every number."""
    return {
        "run": str(run.resolve()),
        "store": str(store.path.resolve()),
        "diffrect": package_version(),
        "format": FORMAT_VERSION,
        "protocol": {
            **config_to_dict(model.config),
            "labelled_patients": list(parts.labelled),
            "unlabelled_patients": len(parts.unlabelled),
        },
    }


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{option}: expected one of {', '.join(choices)}, got {value!r}")


def _without_nan(value: Any) -> Any:
    """The same with None for every NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
