"""A run and a store in, the order in which its unlabelled patients are worth annotating out."""

from collections.abc import Mapping, Sequence
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
from diffrect.inference.ranking.deepest import distances
from diffrect.inference.ranking.doubt import CaseDoubt, Doubter, pooled_share
from diffrect.inference.ranking.opinions import opinions_of
from diffrect.inference.ranking.order import Choice, by_value, cover, k_centre, percentiles
from diffrect.inference.ranking.result import (
    By,
    RankedPatient,
    RankedSlice,
    RankedSlicePicture,
    Ranking,
    explain,
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
    found = _ranked(candidates, doubts, known, by, whose)
    first = found[:top]
    slices = _ranked_slices(doubts, by, {patient.patient: patient.rank for patient in first})
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


def _ranked(
    candidates: Sequence[str],
    doubts: Sequence[CaseDoubt],
    known: Sequence[tuple[str, np.ndarray]],
    by: By,
    opinions: str | None,
) -> list[RankedPatient]:
    """Return the candidates in their order, without pictures.

    Args:
        candidates: their ids.
        doubts: what the model makes of each of their cases.
        known: the labelled patients, and the features of each of their cases.
        by: see `rank`.
        opinions: who disagrees.
    """
    cases: dict[str, list[CaseDoubt]] = {patient: [] for patient in candidates}
    for case in doubts:
        cases[case.patient].append(case)
    names = list(doubts[0].doubts)
    measures = {n: np.array([pooled_share(cases[p], n) for p in candidates]) for n in names}
    places = {n: 1 + np.array([(v > x).sum() for x in v]) for n, v in measures.items() for v in [v]}
    uncertainty = np.mean([percentiles(values) for values in measures.values()], axis=0)
    features = np.stack([_pooled([c.features for c in cases[p]]) for p in candidates])
    labelled: dict[str, list[np.ndarray]] = {}
    for patient, found in known:
        labelled.setdefault(patient, []).append(found)
    between, nearest = distances(features, features), None
    if labelled:
        others = np.stack([_pooled(found) for found in labelled.values()])
        nearest = distances(features, others).min(axis=1)
    ranked = []
    for place, choice in enumerate(_order(by, measures, uncertainty, between, nearest), start=1):
        patient = candidates[choice.who]
        own = {name: float(values[choice.who]) for name, values in measures.items()}
        where = {name: int(values[choice.who]) for name, values in places.items()}
        ranked.append(
            RankedPatient(
                rank=place,
                patient=patient,
                cases=tuple(case.case for case in cases[patient]),
                slices=sum(len(case.features) for case in cases[patient]),
                score=choice.score,
                measures=own,
                places=where,
                uncertainty=float(uncertainty[choice.who]),
                diversity=choice.distance,
                nearer=choice.nearer,
                reason=explain(own, where, len(candidates), choice.nearer, opinions),
            )
        )
    return ranked


def _pooled(features: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean feature (D,) over all slices of a patient's cases."""
    mean: np.ndarray = np.concatenate(list(features)).mean(axis=0)
    return mean


def _order(
    by: By,
    measures: Mapping[str, np.ndarray],
    uncertainty: np.ndarray,
    between: np.ndarray,
    nearest: np.ndarray | None,
) -> list[Choice]:
    if by == "diversity":
        return k_centre(between, nearest)
    if by == "combined":
        return cover(uncertainty, between, nearest)
    return by_value(measures[by], between, nearest)


def _ranked_slices(
    doubts: Sequence[CaseDoubt], by: By, ranks: Mapping[str, int]
) -> list[RankedSlice]:
    """Return the slices of the ranked patients, those of the highest score first."""
    names = list(doubts[0].doubts)
    values = {n: np.concatenate([case.of_slices(n) for case in doubts]) for n in names}
    if by in values:
        scores = values[by]
    else:
        scores = np.mean([percentiles(each) for each in values.values()], axis=0)
    places = [(case, position) for case in doubts for position in range(len(case.features))]
    order = np.argsort(-scores, kind="stable")
    chosen = [index for index in order if places[index][0].patient in ranks]
    return [
        RankedSlice(
            rank=number,
            case=places[index][0].case,
            patient=places[index][0].patient,
            patient_rank=ranks[places[index][0].patient],
            slice=places[index][1] + 1,
            score=float(scores[index]),
            measures={name: float(each[index]) for name, each in values.items()},
        )
        for number, index in enumerate(chosen, start=1)
    ]


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
