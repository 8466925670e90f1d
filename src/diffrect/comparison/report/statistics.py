"""Means and spread over seeds, and paired tests per case with Holm's correction.

No torch, no files: results in, numbers out.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from diffrect.comparison.report.results import Result
from diffrect.evaluation.metrics import METRICS, summarise

TESTED = ("dice", "hd95_mm", "hd95_voxel")
MEAN = "mean"


class Spread(NamedTuple):
    """Mean and sample standard deviation of `number` defined values; NaN of too few."""

    mean: float
    deviation: float
    number: int


class Group(NamedTuple):
    """What the cells of a row share: so many labelled patients, perhaps all, and a variant."""

    labelled: int
    complete: bool
    name: str


@dataclass(frozen=True)
class Row:
    """All seeds of a variant with so many labelled patients.

    Attributes:
        group: which.
        seeds: of its cells.
        scores: per class, and `MEAN` over the classes, the spread over seeds of each metric, where
            a seed's value is the mean over its cases.
        undefined: per class and metric, in how many cases of all seeds it is undefined.
        values: how many values there are per class and metric, undefined ones included.
        cost: spread over seeds of what a cell cost; without entries that are not known.
    """

    group: Group
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, Spread]]
    undefined: Mapping[str, Mapping[str, int]]
    values: int
    cost: Mapping[str, Spread]


@dataclass(frozen=True)
class Test:
    """A variant against another on the same cases, by one metric.

    Attributes:
        group: labelled patients and variant.
        against: the other variant.
        metric: of METRICS.
        cases: pairs of defined values.
        difference: median of variant minus other.
        better: pairs in which the variant is better.
        p: two-sided Wilcoxon signed-rank test.
        p_holm: the same after Holm's correction over all tests of this metric.
    """

    group: Group
    against: str
    metric: str
    cases: int
    difference: float
    better: int
    p: float
    p_holm: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation (n - 1) of the values that are defined."""
    defined = [value for value in values if not math.isnan(value)]
    mean = float(np.mean(defined)) if defined else math.nan
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan
    return Spread(mean, deviation, len(defined))


def group_results(results: Sequence[Result]) -> dict[Group, list[Result]]:
    """Cells by labelled patients and variant: few labels first, variants in the given order."""
    names = list(dict.fromkeys(result.name for result in results))
    groups: dict[Group, list[Result]] = {}
    for result in results:
        group = Group(result.count, result.unlabelled == 0, result.name)
        groups.setdefault(group, []).append(result)
    ordered = sorted(groups, key=lambda g: (g.complete, g.labelled, names.index(g.name)))
    return {group: sorted(groups[group], key=lambda r: r.seed) for group in ordered}


def summarise_rows(results: Sequence[Result]) -> list[Row]:
    """The rows of a table, worked out from the per-case scores."""
    return [_row(group, members) for group, members in group_results(results).items()]


def _row(group: Group, members: Sequence[Result]) -> Row:
    summaries = [summarise(map(dict, member.cases.values())) for member in members]
    scores = {
        name: {metric: spread([s[0][name][metric] for s in summaries]) for metric in METRICS}
        for name in members[0].classes
    }
    scores[MEAN] = {metric: spread([s[1][metric] for s in summaries]) for metric in METRICS}
    undefined = {
        name: {metric: sum(s[2][name][metric] for s in summaries) for metric in METRICS}
        for name in members[0].classes
    }
    known = [{k: v for k, v in m.cost.items() if isinstance(v, int | float)} for m in members]
    names = [name for name in known[0] if all(name in cost for cost in known)]
    cost = {name: spread([float(c[name]) for c in known]) for name in names}
    values = sum(len(member.cases) for member in members)
    return Row(group, tuple(m.seed for m in members), scores, undefined, values, cost)


def paired_tests(results: Sequence[Result], against: str) -> list[Test]:
    """Every variant against one, for each number of labelled patients that both have.

    A case counts once: its values, means over the classes, are averaged over the seeds that both
    variants have of it. Pairs with an undefined value are left out.
    """
    groups = group_results(results)
    tests = []
    for metric in TESTED:
        family = []
        for group, members in groups.items():
            others = groups.get(group._replace(name=against))
            if group.name == against or others is None:
                continue
            mine, theirs = paired_values(members, others, metric)
            if len(mine):
                family.append(_test(group, against, metric, mine, theirs))
        corrected = holm([test.p for test in family])
        tests += [_corrected(test, p) for test, p in zip(family, corrected, strict=True)]
    return tests


def _test(group: Group, against: str, metric: str, mine: np.ndarray, theirs: np.ndarray) -> Test:
    difference = mine - theirs
    better = difference > 0 if METRICS[metric].higher_is_better else difference < 0
    return Test(
        group,
        against,
        metric,
        len(mine),
        float(np.median(difference)),
        int(better.sum()),
        wilcoxon(difference),
        math.nan,
    )


def _corrected(test: Test, p_holm: float) -> Test:
    return Test(**{**vars(test), "p_holm": p_holm})


def paired_values(
    one: Sequence[Result], other: Sequence[Result], metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Values of two variants on the cases of both, (N,) each: see `paired_tests`."""
    first, second = case_values(one, metric), case_values(other, metric)
    pairs: dict[str, list[tuple[float, float]]] = {}
    for key in sorted(first.keys() & second.keys()):  # sums depend on the order
        if not (math.isnan(first[key]) or math.isnan(second[key])):
            pairs.setdefault(key[1], []).append((first[key], second[key]))
    means = np.array([np.mean(pairs[case], axis=0) for case in sorted(pairs)]).reshape(-1, 2)
    return means[:, 0], means[:, 1]


def case_values(results: Sequence[Result], metric: str) -> dict[tuple[int, str], float]:
    """(seed, case) -> mean over the classes that are defined."""
    return {
        (result.seed, case): spread([scores[metric] for scores in classes.values()]).mean
        for result in results
        for case, classes in result.cases.items()
    }


def wilcoxon(differences: np.ndarray) -> float:
    """p of the two-sided signed-rank test that differences (N,) are symmetric about 0.

    Wilcoxon, Biometrics Bulletin 1945. Differences of 0 are left out; if none is left, p is 1.
    """
    rounded = np.round(differences, 12)  # equal values differ by rounding after averaging
    nonzero = rounded[rounded != 0]
    if not len(nonzero):
        return 1.0
    with warnings.catch_warnings():  # few pairs: the number of cases stands beside p
        warnings.simplefilter("ignore")
        return float(stats.wilcoxon(nonzero).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p values of a family of tests -> corrected ones, in the same order.

    Holm, Scandinavian Journal of Statistics 1979: the k-th smallest of m is multiplied by
    m - k + 1, is at least the one before it and at most 1.
    """
    corrected = [1.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(values)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected
