"""The tables of `rank_curve.py`: Dice of every arm, and what `rank` knows of errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

RANDOM = tuple(f"random-{draw}" for draw in range(1, 6))
ARMS = ("rank", "longest", *RANDOM)
FIRST = "first"
Dice = Mapping[str, float | None]


def mean_dice(cases: Mapping[str, Dice]) -> float:
    """Return the mean over the classes of the mean over the cases in which each is defined."""
    classes = next(iter(cases.values()))
    of_classes = [[_number(case[c]) for case in cases.values()] for c in classes]
    return float(np.mean([np.nanmean(values) for values in of_classes]))


def lines_of(results: Mapping[str, Any]) -> list[str]:
    """Return the tables of a report, in Markdown."""
    lines = _curve_lines(results)
    if "hidden" in results:
        lines += ["", *_hidden_lines(results)]
    return [*lines, "", *_seed_lines(results)] if "seeds" in results else lines


def _curve_lines(results: Mapping[str, Any]) -> list[str]:
    cells = results["cells"]
    rounds = 1 + max((int(name[-1]) for name in cells), default=0)
    heading = [f"{len(results['settings']['first']) + n} labelled" for n in range(rounds)]
    lines = [f"| arm | {' | '.join(heading)} |", f"| --- |{' ---: |' * rounds}"]
    of_arms = {arm: [dice_of(cells, arm, n) for n in range(rounds)] for arm in ARMS}
    for arm in ("rank", "longest"):
        lines.append(f"| {arm} | {' | '.join(map(_percent, of_arms[arm]))} |")
    drawn = np.array([of_arms[arm] for arm in RANDOM])
    lines.append(f"| random, mean of five | {' | '.join(map(_percent, drawn.mean(axis=0)))} |")
    for arm in RANDOM:
        lines.append(f"| {arm} | {' | '.join(map(_percent, of_arms[arm]))} |")
    val = results["settings"]["val"]
    gains = [difference(cells, n, val) for n in range(1, rounds)]
    lines.append(f"| rank - mean of random | | {' | '.join(gains)} |")
    return lines


def dice_of(cells: Mapping[str, Any], arm: str, number: int) -> float:
    """Return the mean Dice of a cell; NaN if it is not done."""
    name = f"{FIRST}-0" if number == 0 else f"{arm}-round{number}"
    return mean_dice(cells[name]["dice"]) if name in cells else float("nan")


def difference(cells: Mapping[str, Any], number: int, patients: Sequence[str]) -> str:
    """Return Dice by rank minus the mean of the random draws, with a 95 % interval, as text.

    The interval is a bootstrap over the draws and, within each, over the validation patients.

    Args:
        cells: the cells by name.
        number: the round.
        patients: those who validate; the id of a case begins with that of its patient.
    """
    names = [f"{arm}-round{number}" for arm in ("rank", *RANDOM)]
    if any(name not in cells for name in names):
        return "-"
    values = np.array([_patient_means(cells[name]["dice"], patients) for name in names])
    random = np.random.default_rng(0)
    means = []
    for _ in range(4000):
        draws = random.integers(1, len(names), len(RANDOM))
        chosen = random.integers(0, values.shape[1], values.shape[1])
        means.append(np.nanmean(values[0, chosen]) - np.nanmean(values[np.ix_(draws, chosen)]))
    low, high = np.percentile(means, [2.5, 97.5])
    found = np.nanmean(values[0]) - np.nanmean(values[1:])
    return f"{100 * found:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _patient_means(cases: Mapping[str, Dice], patients: Sequence[str]) -> list[float]:
    """Return the mean Dice of each patient's cases."""
    means = []
    for patient in patients:
        own = [_case_mean(dice) for case, dice in cases.items() if case.startswith(patient)]
        means.append(float(np.mean(own)) if own else float("nan"))
    return means


def _case_mean(classes: Dice) -> float:
    known = [value for value in classes.values() if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _hidden_lines(results: Mapping[str, Any]) -> list[str]:
    """Return how well each measure orders the candidates by their true error."""
    hidden = list(results["hidden"].values())
    errors = np.array([patient["error"] for patient in hidden])
    lines = ["| measure | rank correlation with the true error |", "| --- | ---: |"]
    for name in hidden[0]:
        if name != "error":
            found = correlation(np.array([patient[name] for patient in hidden]), errors)
            lines.append(f"| {name} | {found} |")
    return lines


def _seed_lines(results: Mapping[str, Any]) -> list[str]:
    """Return Dice of the first model and of the same with other seeds."""
    first = results["cells"][f"{FIRST}-0"]["dice"]
    dice = {str(results["settings"]["seed"]): first, **results["seeds"]}
    return [
        f"| seed of the first model | {' | '.join(dice)} |",
        f"| --- |{' ---: |' * len(dice)}",
        f"| Dice | {' | '.join(_percent(mean_dice(cases)) for cases in dice.values())} |",
    ]


def correlation(values: np.ndarray, errors: np.ndarray) -> str:
    """Return Spearman's correlation with a 95 % bootstrap interval over patients, as text."""
    random = np.random.default_rng(0)
    drawn = [random.integers(0, len(values), len(values)) for _ in range(2000)]
    low, high = np.nanpercentile([_spearman(values[d], errors[d]) for d in drawn], [2.5, 97.5])
    return f"{_spearman(values, errors):+.2f} [{low:+.2f}, {high:+.2f}]"


def _spearman(values: np.ndarray, errors: np.ndarray) -> float:
    """Return the correlation; 0 if all values or all errors are equal, which order nothing."""
    constant = np.ptp(values) == 0 or np.ptp(errors) == 0
    return 0.0 if constant else float(spearmanr(values, errors).statistic)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
