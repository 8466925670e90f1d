"""Measure what `diffrect rectify` makes of labels with errors, and of right ones.

    python benchmarks/rectify_labels.py RUN [--other RUN2] [--patients val] [--every 1] [--rule X]

Labels are spoilt in several ways and corrected; Dice before and after is the mean over classes and
cases, on the store's own grid. `--patients unlabelled` takes patients of the training whose labels
it did not read, to choose settings by; `val` others, to report. `--rule sure=0.8,decoded=0.5` tries
other settings, as often as it is given, on the same labels. `--other` adds what another model
predicts. Intervals of the gain are 95 % bootstraps over patients.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import zoom as resized

from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.metrics import case_dice
from diffrect.inference.model import Model
from diffrect.inference.rectifying.label_rectifier import LabelRectifier, Rule
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.runs.folder import read_split
from diffrect.runs.names import STORE_LINK_FILE

Labels = np.ndarray


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--checkpoint", default="best", choices=("last", "best"))
    parser.add_argument("--other", type=Path, action="append", default=[], metavar="RUN2")
    parser.add_argument("--patients", default="val", choices=("val", "unlabelled"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th case")
    parser.add_argument("--guidance", default="auto", help="auto or a number from 0 to 1")
    parser.add_argument("--rule", type=parse_rule, action="append", help="NAME=VALUE,... of Rule")
    parser.add_argument("--only", default="", help="only kinds of labels whose names hold this")
    try:
        for line in measure(**vars(parser.parse_args())):
            print(line, flush=True)
    except InputError as error:
        parser.error(str(error))


def parse_rule(text: str) -> Rule:
    """Return the rule of an argument; `blend` is two numbers with a slash, such as 0.2/0.5."""
    values: dict[str, float | tuple[float, ...]] = {}
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if name not in Rule.__dataclass_fields__:
            raise argparse.ArgumentTypeError(f"no setting {name}")
        numbers = tuple(float(number) for number in value.split("/"))
        values[name] = numbers if name == "blend" else numbers[0]
    return replace(Rule(), **values)  # type: ignore[arg-type]


def measure(
    run: Path,
    store: Path | None,
    checkpoint: str,
    other: Sequence[Path],
    patients: str,
    every: int,
    guidance: str,
    rule: Sequence[Rule] | None,
    only: str = "",
) -> Iterator[str]:
    """Yield the lines of a table for each rule, in Markdown.

    Args:
        run: the RUN folder of a DiffRect.
        store: its store; None takes the one that it remembers.
        checkpoint: "last" or "best".
        other: runs whose predictions are corrected, too.
        patients: "val", or "unlabelled" ones of the training.
        every: every n-th case is taken.
        guidance: "auto" or a number from 0 to 1.
        rule: what changes a label; None for the default.
        only: take only kinds of labels whose names hold this.
    """
    data = Store(store or Path((run / STORE_LINK_FILE).read_text("utf-8").strip()))
    which = "best" if checkpoint == "best" else "last"
    rectifier = LabelRectifier.load(run, which, torch.device("cpu"))
    once = Once(rectifier)
    models = {path.name: Model.load(path, device="cpu") for path in other}
    cases, atlas = chosen(data, run, patients, every)
    rules = rule or [Rule()]
    scores: list[dict[str, list[tuple[str, float, float, float]]]] = [{} for _ in rules]
    given = "auto" if guidance == "auto" else float(guidance)
    for case in cases:
        images, truth = data.image(case.id), data.label(case.id)
        zoom = data.zoom(case.id, rectifier.config.spacing)
        wrong = spoilt(truth, case, len(data.classes))
        wrong["another patient's, scaled onto the scan"] = scaled(atlas, truth.shape)
        for name, model in models.items():
            wrong[f"predictions of {name}"] = model.predict_slices(images, spacing=case.spacing)
        for name, labels in ((n, x) for n, x in wrong.items() if only in n):
            before = mean_dice(labels, truth, data.classes)
            once.forget()
            for tried, found in zip(rules, scores, strict=True):
                rectifier.rule = tried
                once.start()
                after = rectifier.rectify(images, labels, zoom, given)
                row = (case.patient, before, mean_dice(after.labels, truth, data.classes))
                found.setdefault(name, []).append((*row, after.guidance))
    for tried, found in zip(rules, scores, strict=True):
        people = len({case.patient for case in cases})
        yield f"{run.name}, {len(cases)} cases of {people} patients ({patients}), {tried}"
        yield from table(found)


class Once:
    """Lets the networks of a rectifier compute once what several rules ask for alike.

    The rules that are tried on a label call the networks in the same order with the same things, so
    the n-th answer to one of them is the n-th answer to all.
    """

    def __init__(self, rectifier: LabelRectifier) -> None:
        """Put what remembers in the place of the networks' methods."""
        self.answers: dict[tuple[str, int], Any] = {}
        self.calls: Counter[str] = Counter()
        self.images: tuple[Any, list[Any]] = (None, [])
        self.logits = rectifier.segmenter.logits
        object.__setattr__(rectifier.segmenter, "logits", self.of_images)  # it is frozen
        network = rectifier.network
        if isinstance(network, LatentRectifier):
            for name in ("encode_images", "encode", "sample"):
                setattr(network, name, partial(self.numbered, name, getattr(network, name)))
            network.decode = partial(self.decoded, network.decode)  # type: ignore[method-assign]

    def forget(self) -> None:
        """Begin another label."""
        self.answers.clear()

    def start(self) -> None:
        """Begin another rule."""
        self.calls.clear()

    def of_images(self, images: Any, zoom: Any) -> Iterator[Any]:
        """Return the teacher's logits, which are the same for all labels of a scan."""
        if self.images[0] is not images:
            self.images = (images, list(self.logits(images, zoom)))
        return iter(self.images[1])

    def numbered(self, name: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        """Return the answer to the n-th call since `start`."""
        self.calls[name] += 1
        key = (name, self.calls[name])
        if key not in self.answers:
            self.answers[key] = compute(*arguments)
        return self.answers[key]

    def decoded(self, compute: Callable[..., Any], latent: Any, *arguments: Any) -> Any:
        """Return what a latent is decoded to; not every rule decodes both."""
        key = ("decode", id(latent))
        if key not in self.answers:
            self.answers[key] = compute(latent, *arguments)
        return self.answers[key]


def chosen(data: Store, run: Path, patients: str, every: int) -> tuple[list[CaseRecord], Labels]:
    """Return the cases to take, and the label of a labelled patient to serve as an atlas."""
    split = read_split(run)
    taken = set(split.val if patients == "val" else split.unlabelled)
    cases = [c for c in data.cases.values() if c.patient in taken and c.labelled][::every]
    first = next(c for c in data.cases.values() if c.patient in split.labelled)
    return cases, data.label(first.id)


def table(scores: Mapping[str, Sequence[tuple[str, float, float, float]]]) -> Iterator[str]:
    """Yield the lines of a table of (patient, Dice before, after, guidance) by kind of label."""
    yield "| label | before | after | gain | harmed | guidance |"
    yield "| --- | ---: | ---: | --- | ---: | ---: |"
    for name, rows in scores.items():
        before, after, strength = (np.mean([row[k] for row in rows]) for k in (1, 2, 3))
        gains = np.array([row[2] - row[1] for row in rows])
        gain = interval([row[0] for row in rows], gains)
        harmed = f"{np.count_nonzero(gains < -0.05)} of {len(gains)}, {gains.min():+.1f}"
        yield f"| {name} | {before:.2f} | {after:.2f} | {gain} | {harmed} | {strength:.2f} |"


def scaled(atlas: Labels, shape: Sequence[int]) -> Labels:
    """Return the label of another patient, scaled to a shape, as the crudest of atlases."""
    factors = [new / old for new, old in zip(shape, atlas.shape, strict=True)]
    found: Labels = resized(atlas, factors, order=0, grid_mode=True, mode="nearest")
    return found


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
