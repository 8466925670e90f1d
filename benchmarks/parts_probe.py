"""Measure what the removal of parts does to the predictions of a training.

    python benchmarks/parts_probe.py RUN STORE [--patients val]

What is one part is decided by the volumes that the run was trained on, as `largest_part` and
`joined_foreground` = auto do; of a class, parts of half the largest one's size stay. Prints the
mean Dice of predictions on the scans' own slices, in per cent, by class, before and after. The
difference of the last row from the first has a 95 % bootstrap interval over patients.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from diffrect.data.splits.chosen import choose_cases
from diffrect.data.store import Store
from diffrect.inference.model import Model
from diffrect.methods.diffrect.largest_parts import LargestParts
from diffrect.runs.folder import read_split

LEAST = 0.5
DRAWS = 10_000


def rules(store: Store, labelled: tuple[str, ...], classes: int) -> Mapping[str, LargestParts]:
    """Return what is removed in each row of the table."""
    known = [
        torch.from_numpy(store.label(case.id))
        for case in store.cases.values()
        if case.patient in labelled and case.labelled
    ]
    return {
        "prediction": LargestParts(False, classes, ()),
        "largest parts of classes": LargestParts("auto", classes, known, LEAST),
        "one part of the foreground": LargestParts(False, classes, known, LEAST, "auto"),
        "both": LargestParts("auto", classes, known, LEAST, "auto"),
    }


def dice(found: np.ndarray, truth: np.ndarray, classes: int) -> list[float]:
    """Return the Dice of each class of two label maps; NaN where neither has it."""
    scores = []
    for code in range(1, classes):
        sizes = (found == code).sum() + (truth == code).sum()
        both = ((found == code) & (truth == code)).sum()
        scores.append(2 * both / sizes if sizes else np.nan)
    return scores


def interval(gains: Mapping[str, list[float]]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean over patients."""
    means = np.array([np.mean(values) for values in gains.values()])
    drawn = np.random.default_rng(0).integers(len(means), size=(DRAWS, len(means)))
    low, high = np.percentile(means[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def main() -> None:
    """Read the arguments, predict and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--patients", default="val")
    arguments = parser.parse_args()
    store, split = Store(arguments.store), read_split(arguments.run)
    model = Model.load(arguments.run)
    count = len(model.classes)
    removal = rules(store, split.labelled, count)
    rows: dict[str, list[list[float]]] = {name: [] for name in removal}
    gains: dict[str, list[float]] = {}
    for case in choose_cases(arguments.patients, store.cases, split):
        label = model.predict_slices(store.image(case.id), spacing=case.spacing)
        truth = store.label(case.id)
        for name, rule in removal.items():
            rows[name].append(dice(rule.reduce(torch.from_numpy(label)).numpy(), truth, count))
        gain = np.nanmean(rows["both"][-1]) - np.nanmean(rows["prediction"][-1])
        gains.setdefault(case.patient, []).append(float(gain))
    print(f"| label | {' | '.join(model.classes[1:])} | mean |")
    print(f"| --- |{' ---: |' * count}")
    for name, scores in rows.items():
        means = 100 * np.nanmean(np.array(scores), axis=0)
        print(f"| {name} | {' | '.join(f'{v:.1f}' for v in means)} | {means.mean():.1f} |")
    low, high = interval(gains)
    mean = np.mean([np.mean(values) for values in gains.values()])
    print(f"gain of both: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")


if __name__ == "__main__":
    main()
