"""A run and a store in, the order in which its unlabelled patients are worth annotating out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from diffrect.checks import at_least, one_of
from diffrect.console import count, progress_bar
from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.distributed.ranks import together
from diffrect.errors import InputError
from diffrect.imaging.resample import probabilities_from_logits
from diffrect.inference.measures import entropy
from diffrect.inference.model import Model
from diffrect.inference.ranking.doubt import Doubter
from diffrect.inference.ranking.opinions import opinions_of
from diffrect.inference.ranking.places import ranked_patients, ranked_slices
from diffrect.inference.ranking.result import (
    By,
    RankedPatient,
    RankedSlice,
    RankedSlicePicture,
    Ranking,
)
from diffrect.inference.segmenter import Segmenter
from diffrect.inference.views import angle_of, choose_views
from diffrect.networks.mean import MeanOfViews, Views
from diffrect.runs.folder import read_split
from diffrect.runs.folds import is_cross_validation
from diffrect.runs.names import Checkpoint
from diffrect.runs.recognise import check_is_run
from diffrect.runs.store_of_run import open_store

BY: tuple[By, ...] = ("combined", "entropy", "disagreement", "augmentation", "diversity")
MOST_SHOWN = 20  # patients with a picture


def rank(
    run: Path | str,
    store: Path | str,
    *,
    by: By = "combined",
    top: int | None = None,
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    progress: bool = True,
) -> Ranking:
    """Order the unlabelled patients of a store by what annotating them is expected to gain.

    Labels are not read, except that a rectifier learns from those of the labelled patients which
    classes are one part. A patient of several scans is ranked by all of them together.

    Example:
        >>> import diffrect
        >>> ranking = diffrect.rank("run", "store", progress=False)
        >>> ranking.patients[0].rank, len(ranking.patients) == ranking.candidates
        (1, True)

    Args:
        run: folder made by `train`, of any method.
        store: the store of its training, or another of the same task. Candidates are its patients
            who are neither labelled, nor validate or test, in the run's split.
        by: `entropy` of the prediction; `disagreement` of the teacher and the rectifier, or else of
            the teacher and the student; `augmentation`, the disagreement of views of a slice, see
            `inference.ranking.doubt` for these; `diversity` of pooled features of the network's
            deepest map; or `combined`: the mean rank of the first three weighs how much nearer to a
            labelled patient all candidates come, see `inference.ranking.order`.
        top: return only the first so many patients, and their slices.
        checkpoint: `best` by validation, `last`, or of a training with `average` the best `student`
            or `average`.
        device: such as `cpu` or `cuda:1`; `auto` takes a GPU if there is one.
        progress: show a progress bar on stderr.

    Raises:
        InputError: no such run, checkpoint or store; a store of another task than the run's, or
            without unlabelled patients; or the run has nothing of what `by` names.
    """
    run = Path(run)
    one_of("--by", by, BY)
    if top is not None:
        at_least("--top", top, 1)
    _check_run(run)
    model = Model.load(run, checkpoint, device)
    data = open_store(run, model.task, Path(store))
    labelled, candidates = _patients(run, data)
    doubter, views = _doubter(run, model, checkpoint, data)
    if by not in ("combined", "diversity", *doubter.measures):
        has = ", ".join(("combined", "diversity", *doubter.measures))
        raise InputError(f"--by {by}", f"one that {run} has, of {has}")
    with together() as ranks:
        told = progress and ranks.first
        mine = progress_bar(ranks.share(_cases(data, candidates)), "looking at scans", told)
        doubts = ranks.gather([doubter.doubt(data, record) for record in mine])
        shared = ranks.share(_cases(data, labelled))
        known = ranks.gather([(r.patient, doubter.features(data, r)) for r in shared])
    whose = None if doubter.opinions is None else doubter.opinions.whose
    found = ranked_patients(candidates, doubts, known, by, whose)
    first = found[:top]
    slices = ranked_slices(doubts, by, {patient.patient: patient.rank for patient in first})
    return Ranking(
        by=by,
        patients=_with_pictures(first, slices, data, model.segmenter),
        slices=slices,
        candidates=len(candidates),
        labelled=len(labelled),
        opinions=whose,
        views=views,
        classes=tuple(data.classes),
        run=str(run.resolve()),
        store=str(data.path.resolve()),
    )


def _check_run(run: Path) -> None:
    """Refuse what is no run of its own.

    Raises:
        InputError: a model that was exported, which knows no patients, or a cross-validation.
    """
    check_is_run(run, "rank needs the patients of the training")
    if is_cross_validation(run):
        hint = f"each of its folds is one, such as {run / 'fold_1'}"
        raise InputError(run, "a run", found="a cross-validation", hint=hint)


def _patients(run: Path, store: Store) -> tuple[list[str], list[str]]:
    """Return the labelled patients and the candidates of a store.

    Raises:
        InputError: there is no candidate.
    """
    split, present = read_split(run), store.patients
    labelled = [patient for patient in present if patient in set(split.labelled)]
    used = {*split.labelled, *split.val, *split.test}
    candidates = [patient for patient in present if patient not in used]
    if not candidates:
        found = f"{count(len(present), 'patient')}, who are all labelled, validate or test"
        raise InputError(store.path, f"patients whose labels {run} did not use", found=found)
    return labelled, candidates


def _cases(store: Store, patients: Sequence[str]) -> list[CaseRecord]:
    wanted = set(patients)
    return [record for record in store.cases.values() if record.patient in wanted]


def _doubter(
    run: Path, model: Model, checkpoint: Checkpoint, store: Store
) -> tuple[Doubter, Views | None]:
    """Return the model of a run as it is asked how sure it is, and its views."""
    try:
        views = choose_views("auto", model.task, model.config, run)
    except InputError:  # it was trained on none
        views = None
    averaging = None
    if views is not None:
        averaging = MeanOfViews(model.segmenter.network, views, angle_of(model.config))
    opinions = opinions_of(run, checkpoint, model.segmenter.device, store)
    return Doubter(model.segmenter, averaging, opinions), views


def _with_pictures(
    patients: Sequence[RankedPatient],
    slices: Sequence[RankedSlice],
    store: Store,
    segmenter: Segmenter,
) -> list[RankedPatient]:
    """Return the patients, the first of them with their slice of most doubt."""
    worst: dict[str, RankedSlice] = {}
    for one in slices:
        worst.setdefault(one.patient, one)
    return [
        replace(patient, picture=_picture(worst[patient.patient], store, segmenter))
        if patient.rank <= MOST_SHOWN
        else patient
        for patient in patients
    ]


@torch.inference_mode()
def _picture(one: RankedSlice, store: Store, segmenter: Segmenter) -> RankedSlicePicture:
    record = store.cases[one.case]
    image, zoom = store.image(one.case, one.slice - 1), store.zoom(one.case, segmenter.spacing)
    ((_, logits),) = segmenter.logits(image[np.newaxis], zoom)
    shares = probabilities_from_logits(logits, record.shape, segmenter.interpolation, zoom)[0]
    found = shares.float().cpu().numpy()
    return RankedSlicePicture(
        case=one.case,
        index=one.slice - 1,
        slices=record.slices,
        image=image[0],
        labels=found.argmax(axis=0).astype(np.uint8),
        entropy=entropy(found.transpose(1, 2, 0)),
        spacing=None if record.spacing is None else record.spacing[1:],
    )
