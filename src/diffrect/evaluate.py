"""A run and a split in, its scores out: per case, per class, and what the numbers mean."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffrect
from diffrect.data.splits import Split
from diffrect.data.store import CaseRecord, Store, write_json
from diffrect.errors import InputError
from diffrect.metrics import EMPTY_CONVENTIONS, EmptyConvention, case_metrics, summarise
from diffrect.report import progress_bar

if TYPE_CHECKING:
    from diffrect.model import Model

FORMAT_VERSION = 1
SPLITS = ("val", "test")
SPLIT_FILE = "split.json"


def evaluate(
    run: Path | str,
    *,
    split: str = "val",
    checkpoint: str = "best",
    empty: EmptyConvention = "undefined",
    store: Path | str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Score a trained model on every labelled case of a split, and write RUN/metrics_SPLIT.json.

    Volumes are compared on the store's own grid, whatever size the model was trained at. `split`
    is "val" or "test", `checkpoint` "best" or "last"; `empty` says what a class counts that is
    missing from a case (see `case_metrics`); `store` replaces the store the run was trained on.

    Returns what it writes: "mean" over the classes' means, "classes", "cases", "undefined" counts
    and the facts without which the numbers mean nothing. Undefined values are None.

    Raises:
        InputError: no such run, checkpoint or store, a store with other classes or channels than
            the model's, or a split without labelled cases.
    """
    from diffrect.model import Model

    run = Path(run)
    _check_choice("--split", split, SPLITS)
    _check_choice("--empty", empty, EMPTY_CONVENTIONS)
    model = Model.load(run, checkpoint=checkpoint, device=device)
    data = _open_store(run, model, None if store is None else Path(store))
    records = _labelled_cases(run, split, data)
    cases = [
        _score(model, data, record, empty)
        for record in progress_bar(records, f"evaluating {split}", progress)
    ]
    classes, mean, undefined = summarise(case["classes"] for case in cases)
    result: dict[str, Any] = {
        "split": split,
        "checkpoint": checkpoint,
        "step": model.step,
        "empty": empty,
        **_facts(run, model, data),
        "mean": mean,
        "classes": classes,
        "undefined": undefined,
        "cases": cases,
    }
    result = _without_nan(result)
    write_json(run / f"metrics_{split}.json", result)
    return result


def _score(
    model: "Model", store: Store, record: CaseRecord, empty: EmptyConvention
) -> dict[str, Any]:
    prediction = model.predict_slices(store.image(record.id))
    truth = store.label(record.id)
    scores = case_metrics(prediction, truth, model.classes, record.spacing, empty)
    return {"id": record.id, "patient": record.patient, "classes": scores}


def _open_store(run: Path, model: "Model", store: Path | None) -> Store:
    """The store given, or the one the run remembers; it must be of the model's kind."""
    path = store or Path(model.config.store)
    if store is None and not path.exists():
        raise InputError(f"{path}: the store of {run} is not there; name it with --store")
    data = Store(path)
    for name in ("classes", "channels", "intensity"):
        expected, found = getattr(model, name), getattr(data, name)
        if found != expected:
            raise InputError(f"{path}: expected the {name} of {run}, {expected}, got {found}")
    return data


def _labelled_cases(run: Path, split: str, store: Store) -> list[CaseRecord]:
    file = run / SPLIT_FILE
    try:
        parts = Split.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: expected the split of the run: {error}") from None
    patients = set(getattr(parts, split))
    records = [record for record in store.cases.values() if record.patient in patients]
    labelled = [record for record in records if record.labelled]
    if not patients:
        raise InputError(f"--split {split}: expected patients in that part of {file}, it is empty")
    if not labelled:
        found = f"{len(records)} unlabelled cases" if records else "no case"
        raise InputError(f"{store.path}: expected labelled cases of split {split}, found {found}")
    return labelled


def _facts(run: Path, model: "Model", store: Store) -> dict[str, Any]:
    """What has to stand beside every number."""
    return {
        "run": str(run),
        "store": str(store.path.resolve()),
        "diffrect": diffrect.__version__,
        "format": FORMAT_VERSION,
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
