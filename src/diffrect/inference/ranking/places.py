"""The places of patients and of their slices, by what a model makes of every case."""

from collections.abc import Mapping, Sequence

import numpy as np

from diffrect.inference.ranking.deepest import distances
from diffrect.inference.ranking.doubt import CaseDoubt, pooled_share
from diffrect.inference.ranking.order import Choice, by_value, cover, k_centre, percentiles
from diffrect.inference.ranking.result import By, RankedPatient, RankedSlice, explain


def ranked_patients(
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


def ranked_slices(
    doubts: Sequence[CaseDoubt], by: By, ranks: Mapping[str, int]
) -> list[RankedSlice]:
    """Return the slices of the ranked patients, those of the highest score first.

    Args:
        doubts: what the model makes of the candidates' cases.
        by: see `rank`; where it is no measure, the mean percentile of all measures counts.
        ranks: the ranks of these patients.
    """
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
