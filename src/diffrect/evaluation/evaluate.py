"""A run and a split in, its scores out: per case, per class, and what the numbers mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from diffrect.atomic import remove_unfinished
from diffrect.checks import one_of
from diffrect.config import config_to_dict
from diffrect.console import count, progress_bar
from diffrect.data.record import CaseRecord
from diffrect.data.split import Split
from diffrect.data.splits.blocks import blocks_of, check_blocks
from diffrect.data.store import Store
from diffrect.distributed.locks import Lock, sole_writer_of_file
from diffrect.distributed.ranks import is_first, together
from diffrect.errors import InputError
from diffrect.evaluation.metrics import (
    EMPTY_CONVENTIONS,
    EmptyConvention,
    case_metrics,
    count_voxels,
)
from diffrect.evaluation.result import CaseScores, Evaluation, PackedLabels
from diffrect.evaluation.scores_file import write_scores
from diffrect.evaluation.summary import summarise
from diffrect.imaging.label_codes import IGNORED
from diffrect.inference.model import Model
from diffrect.runs.folder import read_split
from diffrect.runs.folds import SCORES_FILE, is_cross_validation
from diffrect.runs.names import (
    METRICS_FORMAT,
    SPLIT_FILE,
    SPLITS,
    Checkpoint,
    metrics_file,
)
from diffrect.runs.recognise import check_is_run
from diffrect.runs.store_of_run import open_store
from diffrect.version import package_version


def evaluate(
    run: Path | str,
    *,
    split: str = "val",
    checkpoint: Checkpoint = "best",
    empty: EmptyConvention = "undefined",
    store: Path | str | None = None,
    device: str = "auto",
    keep_predictions: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Score a trained model on every labelled case of a split, and write RUN/metrics_SPLIT.json.

    Volumes are compared on the store's own grid, whatever size the model was trained at. Processes
    started by torchrun or srun share the cases; the first one writes.

    Example:
        >>> import diffrect
        >>> scores = diffrect.evaluate("run", split="val", progress=False)
        >>> 0 <= scores.mean["dice"] <= 1
        True

    Args:
        run: folder made by `train`.
        split: `val`, `test`, or `all` for every labelled case of a `store` of other patients, such
            as another hospital's.
        checkpoint: `best` by validation, `last`, or of a training with `average` the best `student`
            or `average`.
        empty: what a class counts that is missing from a case, see `case_metrics`.
        store: store to read in place of the one that the run was trained on.
        device: such as `cpu` or `cuda:1`; `auto` takes a GPU if there is one.
        keep_predictions: keep the label maps in the result, for `write_report`.
        progress: show a progress bar on stderr.

    Returns:
        The scores, and the facts without which they mean nothing.

    Raises:
        InputError: no such run, checkpoint or store, a store with other classes or channels than
            the model's, or normalised or cut in another way, or a split without labelled cases; or
            another process scores the same split, or has replaced the run meanwhile.
    """
    run = Path(run)
    one_of("--split", split, SPLITS)
    one_of("--empty", empty, EMPTY_CONVENTIONS)
    check_is_run(run)
    if is_cross_validation(run):
        hint = f"its scores are in {run / SCORES_FILE}; each of its folds is a run"
        raise InputError(run, "a run", found="a cross-validation", hint=hint)
    before = _identity(run)
    model = Model.load(run, checkpoint=checkpoint, device=device)
    data = open_store(run, model.task, None if store is None else Path(store))
    parts = read_split(run)
    patients = _patients(split, parts, data, another=store is not None)
    blocks = _blocks(split, parts, data)
    records = _labelled_cases(data, patients, split)
    if blocks:
        records = [record for record in records if record.id in blocks]
    with _sole_report(run, split) as lock, together() as ranks:
        mine = progress_bar(ranks.share(records), f"evaluating {split}", progress and ranks.first)
        scored = ranks.gather(
            [
                _score(model, data, r, blocks.get(r.id, slice(None)), empty, keep_predictions)
                for r in mine
            ]
        )
        cases = [case for case, _ in scored]
        summary = summarise(case.classes for case in cases)
        seen = {case.patient for case in cases}
        result = Evaluation(
            split=split,
            checkpoint=checkpoint,
            step=model.step,
            empty=empty,
            run=str(run.resolve()),
            store=str(data.path.resolve()),
            diffrect=package_version(),
            format=METRICS_FORMAT,
            protocol=_protocol(model, parts),
            missing_patients=[patient for patient in patients if patient not in seen],
            mean=summary.mean,
            classes=summary.classes,
            undefined=summary.undefined,
            cases=cases,
            predictions={case.id: labels for case, labels in scored if labels is not None},
        )
        if lock is not None:
            lock.check()
            if _identity(run) != before:
                raise InputError(run, problem="was replaced by another run while it was scored")
            write_scores(result, run / metrics_file(split))
    return result


@contextmanager
def _sole_report(run: Path, split: str) -> Iterator[Lock | None]:
    """Be the only command that writes the scores of a split, and remove what a killed one left.

    Of several processes, the first holds the lock.
    """
    if not is_first():
        yield None
        return
    with sole_writer_of_file(run / metrics_file(split)) as lock:
        remove_unfinished(run, metrics_file(split))
        yield lock


def _identity(run: Path) -> tuple[int, int] | None:
    """Return what differs between two runs in one folder: which file of the split it holds."""
    try:
        facts = (run / SPLIT_FILE).stat()
    except OSError:  # reading it will say so
        return None
    return facts.st_ino, facts.st_mtime_ns


def _score(
    model: Model,
    store: Store,
    record: CaseRecord,
    part: slice,
    empty: EmptyConvention,
    keep: bool,
) -> tuple[CaseScores, PackedLabels | None]:
    """Return the scores of a part of a case, and its whole prediction if it is to be kept."""
    whole = model.predict_slices(store.image(record.id), spacing=record.spacing)
    prediction, truth = whole[part], store.label(record.id)[part]
    scores = case_metrics(prediction, truth, model.classes, record.spacing, empty)
    ignored = int(np.count_nonzero(truth == IGNORED))
    voxels = count_voxels(prediction, truth, model.classes)
    case = CaseScores(record.id, record.patient, ignored, scores, voxels)
    return case, PackedLabels.of(whole) if keep else None


def _patients(split: str, parts: Split, store: Store, *, another: bool) -> tuple[str, ...]:
    """Return the patients to score.

    Args:
        split: one of `SPLITS`.
        parts: how the run's patients were split.
        store: the store that will be read.
        another: whether it is another one than that of the run.

    Raises:
        InputError: with `all`, the store is the run's or holds patients that it was trained on.
    """
    if split == "val":
        return parts.labelled if parts.val_slices else parts.val
    if split == "test":
        return parts.test
    if not another:
        raise InputError("--split all", "--store with another store than that of the run")
    known = set(parts.train).intersection(store.patients)
    if known:
        expected = f"patients that were not trained on in {store.path}"
        raise InputError("--split all", expected, found=f"{len(known)}, such as {min(known)}")
    return store.patients


def _blocks(split: str, parts: Split, store: Store) -> dict[str, slice]:
    """Return the slices to score of each case of which not all are."""
    if split != "val":
        return {}
    check_blocks(parts, store.cases, f"split of {store.path}")
    return {block.case: block.part for block in blocks_of(parts)}


def _labelled_cases(store: Store, patients: tuple[str, ...], split: str) -> list[CaseRecord]:
    """Return the labelled cases of some patients; of a patient without any, none.

    Raises:
        InputError: there are no patients, or none of them has a labelled case.
    """
    if not patients:
        hint = "train with --cross-validate to score all patients with labels"
        raise InputError(f"--split {split}", "patients in it, the run's split has none", hint=hint)
    records = [record for record in store.cases.values() if record.patient in set(patients)]
    labelled = [record for record in records if record.labelled]
    if not labelled:
        unlabelled = f"{count(len(records), 'case')} without labels"
        found = unlabelled if records else "none of its patients"
        raise InputError(store.path, f"labelled cases of split {split}", found=found)
    return labelled


def _protocol(model: Model, parts: Split) -> dict[str, Any]:
    """Return how the model was trained, and on whom."""
    slices = {"val_slices": list(parts.val_slices)} if parts.val_slices else {}
    return {
        **config_to_dict(model.config),
        "labelled_patients": list(parts.labelled),
        "unlabelled_patients": len(parts.unlabelled),
        **slices,
    }
