"""Measure what `diffrect rectify` makes of labels with errors, and of right ones.

    python benchmarks/rectify_labels.py RUN [--other RUN2] [--every 1] [--guidance G]

The labels of the validation patients are spoilt in several ways and corrected; Dice before and
after is the mean over classes and cases, on the store's own grid. `--other` adds the labels that
another model predicts. Intervals of the gain are 95 % bootstraps over patients.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.metrics import case_dice
from diffrect.inference.model import Model
from diffrect.inference.rectifying.label_rectifier import LabelRectifier
from diffrect.runs.folder import read_split
from diffrect.runs.names import STORE_LINK_FILE

Labels = np.ndarray


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--checkpoint", default="best", choices=("last", "best"))
    parser.add_argument("--other", type=Path, help="a run whose predictions are corrected, too")
    parser.add_argument("--every", type=int, default=1, help="take every n-th case")
    parser.add_argument("--guidance", default="auto", help="auto or a number from 0 to 1")
    try:
        for line in measure(**vars(parser.parse_args())):
            print(line, flush=True)
    except InputError as error:
        parser.error(str(error))


def measure(
    run: Path, store: Path | None, checkpoint: str, other: Path | None, every: int, guidance: str
) -> Iterator[str]:
    """Yield the lines of the table, in Markdown.

    Args:
        run: the RUN folder of a DiffRect.
        store: its store; None takes the one that it remembers.
        checkpoint: "last" or "best".
        other: a run whose predictions are corrected, too.
        every: every n-th validation case is taken.
        guidance: "auto" or a number from 0 to 1.
    """
    data = Store(store or Path((run / STORE_LINK_FILE).read_text("utf-8").strip()))
    which = "best" if checkpoint == "best" else "last"
    rectifier = LabelRectifier.load(run, which, torch.device("cpu"))
    model = None if other is None else Model.load(other, device="cpu")
    patients = set(read_split(run).val)
    cases = [c for c in data.cases.values() if c.patient in patients and c.labelled][::every]
    scores: dict[str, list[tuple[str, float, float, float]]] = {}
    given = "auto" if guidance == "auto" else float(guidance)
    for case in cases:
        images, truth = data.image(case.id), data.label(case.id)
        zoom = data.zoom(case.id, rectifier.config.spacing)
        for name, labels in spoilt(truth, case, len(data.classes)).items():
            after = rectifier.rectify(images, labels, zoom, given)
            pair = [mean_dice(x, truth, data.classes) for x in (labels, after.labels)]
            scores.setdefault(name, []).append((case.patient, *pair, after.guidance))
        if model is not None:
            labels = model.predict_slices(images, spacing=case.spacing)
            after = rectifier.rectify(images, labels, zoom, given)
            pair = [mean_dice(x, truth, data.classes) for x in (labels, after.labels)]
            scores.setdefault("predictions of another model", []).append(
                (case.patient, *pair, after.guidance)
            )
    yield f"{run.name}, {len(cases)} cases of {len({c.patient for c in cases})} patients"
    yield "| label | before | after | gain | guidance |"
    yield "| --- | ---: | ---: | --- | ---: |"
    for name, rows in scores.items():
        before, after, strength = (np.mean([row[k] for row in rows]) for k in (1, 2, 3))
        gain = interval([row[0] for row in rows], np.array([row[2] - row[1] for row in rows]))
        yield f"| {name} | {before:.2f} | {after:.2f} | {gain} | {strength:.2f} |"


def spoilt(truth: Labels, case: CaseRecord, classes: int) -> dict[str, Labels]:
    """Return the label of a case, right and with errors, by what is wrong with it."""
    errors: Mapping[str, Callable[[Labels, np.random.Generator, int], Labels]] = {
        "right": lambda labels, *_: labels,
        "a third of the slices empty": empty_slices,
        "three holes in each slice": holes,
        "classes swapped": swapped,
        "classes swapped in half of the slices": half_swapped,
        "moved by a sixteenth of the slice": moved,
    }
    return {
        name: change(truth.copy(), np.random.default_rng(0), classes)
        for name, change in errors.items()
    }


def empty_slices(labels: Labels, _: np.random.Generator, __: int) -> Labels:
    """Return labels without every third slice of those that show something."""
    labels[np.flatnonzero(labels.any(axis=(1, 2)))[1::3]] = 0
    return labels


def holes(labels: Labels, random: np.random.Generator, _: int) -> Labels:
    """Return labels with three square holes per slice, an eighth of the foreground's width."""
    for plane in labels:
        inside = np.argwhere(plane)
        if not len(inside):
            continue
        half = max(1, round(float(np.ptp(inside[:, 1]) + 1) / 16))
        for row, column in inside[random.integers(len(inside), size=3)]:
            rows = slice(max(0, row - half), row + half + 1)
            plane[rows, max(0, column - half) : column + half + 1] = 0
    return labels


def swapped(labels: Labels, _: np.random.Generator, classes: int) -> Labels:
    """Return labels whose first and last class have changed names."""
    codes = np.arange(256, dtype=np.uint8)
    codes[1], codes[classes - 1] = classes - 1, 1
    return codes[labels]


def half_swapped(labels: Labels, random: np.random.Generator, classes: int) -> Labels:
    """Return labels with the first and last class swapped in the second half of the slices."""
    half = len(labels) // 2
    labels[half:] = swapped(labels[half:], random, classes)
    return labels


def moved(labels: Labels, _: np.random.Generator, __: int) -> Labels:
    """Return labels moved along both axes, as those of an atlas that is registered badly."""
    steps = [round(size / 16) for size in labels.shape[1:]]
    return np.roll(labels, (steps[0], -steps[1]), axis=(1, 2))


def mean_dice(labels: Labels, truth: Labels, classes: tuple[str, ...]) -> float:
    """Return Dice in per cent, the mean over the classes that either has; 100 without any."""
    values = [v for v in case_dice(labels, truth, classes).values() if not np.isnan(v)]
    return 100 * float(np.mean(values)) if values else 100.0


def interval(patients: list[str], gains: np.ndarray) -> str:
    """Return the mean gain and its 95 % bootstrap interval over patients, as text."""
    names = sorted(set(patients))
    means = np.array([gains[[p == name for p in patients]].mean() for name in names])
    drawn = np.random.default_rng(0).choice(means, (4000, len(means))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{gains.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
