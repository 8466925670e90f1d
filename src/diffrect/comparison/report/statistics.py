"""Means and spread over seeds, and paired tests per patient with Holm's correction.

Nothing here reads files: results go in, numbers come out.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from diffrect.comparison.report.intervals import Interval, bootstrap_interval
from diffrect.comparison.report.results import CellResult
from diffrect.evaluation.metrics import METRICS
from diffrect.evaluation.summary import summarise

TESTED = ("dice", "hd95_mm", "hd95_voxel")
MEAN = "mean"


class Spread(NamedTuple):
    """Mean and sample standard deviation of `number` defined values; NaN if there are too few."""

    mean: float
    deviation: float
    number: int


class Condition(NamedTuple):
    """The facts that cells share if they differ only in their seed.

    Attributes:
        labelled: number of labelled patients.
        complete: whether these are all training patients.
        name: name of the variant.
    """

    labelled: int
    complete: bool
    name: str

    @property
    def labels(self) -> tuple[int, bool]:
        """Number of labelled patients, and whether these are all; the same for all rivals."""
        return self.labelled, self.complete

    @property
    def labelled_words(self) -> str:
        """Number of labelled patients as text, such as "3" or "70 (all)"."""
        return f"{self.labelled} (all)" if self.complete else str(self.labelled)


@dataclass(frozen=True)
class TableRow:
    """All seeds of a condition.

    Attributes:
        condition: labelled patients and variant.
        seeds: seeds of its cells.
        scores: per class, and `MEAN` over the classes, the spread over seeds of each metric, where
            the value of a seed is the mean over its cases.
        undefined: per class and metric, in how many cases of all seeds it is undefined.
        values: how many values there are per class and metric, undefined ones included.
        cost: spread over seeds of what a cell cost, for the numbers that all its cells know.
    """

    condition: Condition
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, Spread]]
    undefined: Mapping[str, Mapping[str, int]]
    values: int
    cost: Mapping[str, Spread]


@dataclass(frozen=True)
class PairedTest:
    """The test of a variant against another on the same patients, by one metric.

    Attributes:
        condition: labelled patients and variant.
        against: the other variant.
        metric: name of the metric.
        seeds: number of trainings of each variant, paired by their seed.
        patients: number of patients with a defined pair of values.
        difference: variant minus other, mean and interval, in the metric's unit.
        better: number of patients for whom the variant is better, on the mean over the seeds.
        p: p of the two-sided Wilcoxon signed-rank test.
        p_holm: the same after Holm's correction over all tests of this metric.
    """

    condition: Condition
    against: str
    metric: str
    seeds: int
    patients: int
    difference: Interval
    better: int
    p: float
    p_holm: float


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation (n - 1) of the values that are defined."""
    defined = [value for value in values if not math.isnan(value)]
    mean = float(np.mean(defined)) if defined else math.nan
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan
    return Spread(mean, deviation, len(defined))


def by_condition(results: Sequence[CellResult]) -> dict[Condition, list[CellResult]]:
    """Return the cells of each condition: few labels first, variants in the given order."""
    names = list(dict.fromkeys(result.name for result in results))
    found: dict[Condition, list[CellResult]] = {}
    for result in results:
        condition = Condition(result.count, result.unlabelled == 0, result.name)
        found.setdefault(condition, []).append(result)
    ordered = sorted(found, key=lambda c: (c.complete, c.labelled, names.index(c.name)))
    return {condition: sorted(found[condition], key=lambda r: r.seed) for condition in ordered}


def summarise_rows(results: Sequence[CellResult]) -> list[TableRow]:
    """Return the rows of a table, worked out from the per-case scores."""
    return [_row(condition, members) for condition, members in by_condition(results).items()]


def _row(condition: Condition, members: Sequence[CellResult]) -> TableRow:
    summaries = [summarise(member.cases.values()) for member in members]
    scores = {
        name: {metric: spread([s.classes[name][metric] for s in summaries]) for metric in METRICS}
        for name in members[0].classes
    }
    scores[MEAN] = {metric: spread([s.mean[metric] for s in summaries]) for metric in METRICS}
    undefined = {
        name: {metric: sum(s.undefined[name][metric] for s in summaries) for metric in METRICS}
        for name in members[0].classes
    }
    known = [member.cost.numbers for member in members]
    names = [name for name in known[0] if all(name in cost for cost in known)]
    cost = {name: spread([numbers[name] for numbers in known]) for name in names}
    values = sum(len(member.cases) for member in members)
    return TableRow(condition, tuple(m.seed for m in members), scores, undefined, values, cost)


def paired_tests(results: Sequence[CellResult], against: str) -> list[PairedTest]:
    """Test every variant against one, for each number of labelled patients that both have.

    A patient counts once: the values, means over the classes, are averaged over the patient's cases
    and over the seeds that both variants have. Pairs with an undefined value are left out.
    """
    conditions = by_condition(results)
    tests = []
    for metric in TESTED:
        family = []
        for condition, members in conditions.items():
            others = conditions.get(condition._replace(name=against))
            if condition.name == against or others is None:
                continue
            differences = paired_differences(members, others, metric)
            if differences.size:
                family.append(_test(condition, against, metric, differences))
        corrected = holm([test.p for test in family])
        tests += [replace(test, p_holm=p) for test, p in zip(family, corrected, strict=True)]
    return tests


def _test(condition: Condition, against: str, metric: str, differences: np.ndarray) -> PairedTest:
    """Test differences (S, P) of a variant from another; p is not corrected yet."""
    patients = np.round(np.asarray(np.nanmean(differences, axis=0)), 12)
    better = patients > 0 if METRICS[metric].higher_is_better else patients < 0
    return PairedTest(
        condition,
        against,
        metric,
        seeds=differences.shape[0],
        patients=differences.shape[1],
        difference=bootstrap_interval(differences),
        better=int(better.sum()),
        p=wilcoxon(patients),
        p_holm=math.nan,
    )


def paired_differences(
    one: Sequence[CellResult], other: Sequence[CellResult], metric: str
) -> np.ndarray:
    """Return one variant minus another, (S, P): per common seed and patient, the mean over cases.

    Cases with an undefined value are left out, and with them seeds and patients that have no other;
    what else is missing is NaN.
    """
    first, second = case_values(one, metric), case_values(other, metric)
    patient_of = {case: patient for result in one for case, patient in result.patient_of.items()}
    pairs: dict[tuple[int, str], list[float]] = {}
    for seed, case in sorted(first.keys() & second.keys()):  # sums depend on the order
        difference = first[seed, case] - second[seed, case]
        if not math.isnan(difference):
            pairs.setdefault((seed, patient_of[case]), []).append(difference)
    seeds, patients = (
        (sorted(set(names)) for names in zip(*pairs, strict=True)) if pairs else ([], [])
    )
    return np.array([[np.mean(pairs.get((s, p), [math.nan])) for p in patients] for s in seeds])


def case_values(results: Sequence[CellResult], metric: str) -> dict[tuple[int, str], float]:
    """Return (seed, case) -> mean over the classes in which the metric is defined."""
    return {
        (result.seed, case): spread([scores[metric] for scores in classes.values()]).mean
        for result in results
        for case, classes in result.cases.items()
    }


def wilcoxon(differences: np.ndarray) -> float:
    """Return p of the two-sided signed-rank test that differences (N,) are symmetric about 0.

    Wilcoxon, Biometrics Bulletin 1945. Differences of 0 are left out; if none is left, p is 1.
    """
    rounded = np.round(differences, 12)  # equal values differ by rounding after averaging
    nonzero = rounded[rounded != 0]
    if not len(nonzero):
        return 1.0
    # scipy warns when there are few pairs; the table says beside p how many there are.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(stats.wilcoxon(nonzero).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Return the corrected p values of a family of tests, in the same order.

    Holm, Scandinavian Journal of Statistics 1979: the k-th smallest of m is multiplied by
    m - k + 1; it is at least the one before it and at most 1.
    """
    corrected = [1.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(values)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected
