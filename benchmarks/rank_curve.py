"""Measure whether `diffrect rank` pays: Dice as patients are added by rank and by other orders.

    python benchmarks/rank_curve.py train STORE FOLDER [--split-file FILE] [--labelled 1] ...
    python benchmarks/rank_curve.py tables RESULTS.json

`train` begins with the first labelled patients of the split. In each round every arm adds one
patient, trains from the beginning on all that it has, and is scored on the validation patients:

    rank       the first of `rank` with the model of the round before
    longest    the patient with the most slices of all scans
    random-K   the K-th of five random orders, drawn before anything is trained

All arms share the first model, the seed and every setting. A cell that is done is not trained
again, so the command may be stopped and repeated. FOLDER/results.json holds the Dice of every
validation case, the patients of every cell, and for the first model the measures of all candidates
beside the true error of their predictions. Nothing else reads the labels of candidates.

The trainings are short, because there are 22 of them: a U-Net of half width on small slices, by the
default method without its rectifier, or by `supervised`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from diffrect.config import TrainConfig
from diffrect.data.choose_split import split_of
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.metrics import case_dice
from diffrect.inference.model import Model
from diffrect.inference.ranking.rank import rank
from diffrect.inference.ranking.result import Ranking
from diffrect.json_files import read_json, write_json
from diffrect.plugins.files import load_plugin
from diffrect.training.train import train

RANDOM = tuple(f"random-{draw}" for draw in range(1, 6))
ARMS = ("rank", "longest", *RANDOM)
RESULTS = "results.json"
FIRST = "first"
# Of diffrect its teacher and its views: without the rectifier, which costs most of the time. The
# ramp is the usual share of the iterations, which are fewer than its usual least.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "diffrect": {"rectification": False, "ramp_least": 0},
    "supervised": {},
}


def main() -> None:
    """Read the arguments and train, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    curve = commands.add_parser("train")
    curve.add_argument("store", type=Path)
    curve.add_argument("folder", type=Path)
    curve.add_argument("--split-file", type=Path)
    curve.add_argument("--labelled", type=int, default=1, help="patients of the first model")
    curve.add_argument("--rounds", type=int, default=3)
    curve.add_argument("--method", default="diffrect", choices=OPTIONS)
    curve.add_argument("--size", type=int, default=64)
    curve.add_argument("--iterations", type=int, default=300)
    curve.add_argument("--seed", type=int, default=1337)
    tables = commands.add_parser("tables")
    tables.add_argument("results", type=Path)
    given = vars(parser.parse_args())
    try:
        if given.pop("command") == "tables":
            print("\n".join(lines_of(read_json(given["results"]))))
        else:
            for line in curve_of(**given):
                print(line, flush=True)
    except InputError as error:
        parser.error(str(error))


def curve_of(
    store: Path,
    folder: Path,
    split_file: Path | None,
    labelled: int,
    rounds: int,
    method: str,
    size: int,
    iterations: int,
    seed: int,
) -> Iterator[str]:
    """Train and score the cells that are not done, round by round, and yield a line for each."""
    load_plugin("small_unet")  # a module beside this file, which runs may name from here on
    data = Store(store)
    config = TrainConfig(
        method=method,
        options=OPTIONS[method],
        network="small_unet:SmallUNet",
        size=size,
        iterations=iterations,
        validate_every=iterations,
        learning_rate=0.03,
        labelled=str(labelled),
        split_file=split_file,
        seed=seed,
        device="cpu",
        logger="none",
        log_images=0,
    )
    split = split_of(data, config)
    orders = fixed_orders(data, split)
    cells = Cells(data, split, config, folder)
    yield cells.do(FIRST, 0, split.labelled)
    for number in range(1, rounds + 1):
        for arm in ARMS:
            before = cells.patients(arm, number - 1)
            if arm == "rank":
                chosen = cells.first_ranked(number - 1)
            else:
                chosen = next(p for p in orders[arm] if p not in before)
            yield cells.do(arm, number, (*before, chosen))
    yield from lines_of(cells.results)


def fixed_orders(store: Store, split: Split) -> dict[str, list[str]]:
    """Return the orders of candidates that no model changes, by their arms."""
    present = set(store.patients)
    candidates = [p for p in split.unlabelled if p in present]
    slices = {p: len(store.slices([p])) for p in candidates}
    orders = {"longest": sorted(candidates, key=lambda p: (-slices[p], p))}
    for draw, arm in enumerate(RANDOM):
        shuffled = np.random.default_rng(draw).permutation(sorted(candidates))
        orders[arm] = [str(patient) for patient in shuffled]
    return orders


class Cells:
    """The trainings of a curve, those that are done and those that are not."""

    def __init__(self, store: Store, split: Split, config: TrainConfig, folder: Path) -> None:
        self.store, self.split, self.config, self.folder = store, split, config, folder
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / RESULTS
        self.results: dict[str, Any] = {"cells": {}, "settings": settings_of(store, split, config)}
        if file.is_file():
            known = read_json(file)
            if known["settings"] != self.results["settings"]:
                raise InputError(file, "the results of the same settings", got="others")
            self.results = known

    def name(self, arm: str, number: int) -> str:
        """Return the name of a cell; all arms share the first."""
        return f"{FIRST}-0" if number == 0 else f"{arm}-round{number}"

    def patients(self, arm: str, number: int) -> tuple[str, ...]:
        """Return the labelled patients of a cell that is done."""
        return tuple(self.results["cells"][self.name(arm, number)]["labelled"])

    def do(self, arm: str, number: int, labelled: Sequence[str]) -> str:
        """Train and score a cell unless that is done, and return a line about it."""
        name = self.name(arm, number)
        if name not in self.results["cells"]:
            run = self.folder / name
            self._train(run, labelled)
            dice = dice_of_patients(self.store, Model.load(run, device="cpu"), self.split.val)
            self.results["cells"][name] = {"labelled": list(labelled), "dice": dice}
            write_json(self.folder / RESULTS, self.results)
        cell = self.results["cells"][name]
        return f"{name}: {100 * mean_dice(cell['dice']):.1f} ({', '.join(cell['labelled'])})"

    def _train(self, run: Path, labelled: Sequence[str]) -> None:
        file = self.folder / f"{run.name}.json"
        file.write_text(replace(self.split, labelled=tuple(labelled)).to_json(), "utf-8")
        config = replace(self.config, labelled=None, split_file=file)
        train(self.store.path, run, config, overwrite=True, progress=False)

    def first_ranked(self, number: int) -> str:
        """Return the patient whom `rank` puts first by the model of a round.

        Of the first model, the measures of all candidates are noted, beside its true error.
        """
        run = self.folder / self.name("rank", number)
        ranking = rank(run, self.store.path, device="cpu", progress=False)
        if number == 0 and "hidden" not in self.results:
            model = Model.load(run, device="cpu")
            self.results["hidden"] = hidden_errors(self.store, model, ranking)
            write_json(self.folder / RESULTS, self.results)
        return ranking.patients[0].patient


def settings_of(store: Store, split: Split, config: TrainConfig) -> dict[str, Any]:
    """Return what the cells share, as plain values."""
    shared = (
        "method",
        "network",
        "size",
        "iterations",
        "batch_labelled",
        "batch_unlabelled",
        "learning_rate",
    )
    return {
        **{name: getattr(config, name) for name in (*shared, "seed")},
        "classes": list(store.classes[1:]),
        "first": list(split.labelled),
        "candidates": len(split.unlabelled),
        "val": list(split.val),
    }


def dice_of_patients(
    store: Store, model: Model, patients: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Return Dice of the predictions of some patients, by case and class; None where undefined."""
    found = {}
    for record in store.cases.values():
        if record.patient in patients and record.labelled:
            labels = model.predict_slices(store.image(record.id), spacing=record.spacing)
            scores = case_dice(labels, store.label(record.id), store.classes)
            found[record.id] = {name: _plain(value) for name, value in scores.items()}
    return found


def hidden_errors(store: Store, model: Model, ranking: Ranking) -> dict[str, dict[str, float]]:
    """Return of each candidate what `rank` says, and `error`: 1 - Dice by its hidden labels.

    Dice is the mean over the classes and the cases in which it is defined.
    """
    hidden = {}
    for p in ranking.patients:
        dice = dice_of_patients(store, model, [p.patient]).values()
        known = [value for case in dice for value in case.values() if value is not None]
        if known:
            facts = {"score": p.score, "uncertainty": p.uncertainty, "diversity": p.diversity}
            facts |= {**p.measures, "error": 1 - float(np.mean(known))}
            hidden[p.patient] = {name: round(value, 5) for name, value in facts.items()}
    return hidden


Dice = Mapping[str, float | None]


def mean_dice(cases: Mapping[str, Dice]) -> float:
    """Return the mean over the classes of the mean over the cases in which each is defined."""
    classes = next(iter(cases.values()))
    of_classes = [[_number(case[c]) for case in cases.values()] for c in classes]
    return float(np.mean([np.nanmean(values) for values in of_classes]))


def _plain(value: float) -> float | None:
    """Return a number as JSON holds it: None for NaN, and no more digits than mean anything."""
    return None if np.isnan(value) else round(value, 5)


# ---- tables -----------------------------------------------------------------------------------


def lines_of(results: Mapping[str, Any]) -> list[str]:
    """Return the tables of a report, in Markdown."""
    lines = _curve_lines(results)
    return [*lines, "", *_hidden_lines(results)] if "hidden" in results else lines


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
    gains = [difference(cells, n) for n in range(1, rounds)]
    lines.append(f"| rank - mean of random | | {' | '.join(gains)} |")
    return lines


def dice_of(cells: Mapping[str, Any], arm: str, number: int) -> float:
    """Return the mean Dice of a cell; NaN if it is not done."""
    name = f"{FIRST}-0" if number == 0 else f"{arm}-round{number}"
    return mean_dice(cells[name]["dice"]) if name in cells else float("nan")


def difference(cells: Mapping[str, Any], number: int) -> str:
    """Return Dice by rank minus the mean of the random draws, with a 95 % interval, as text.

    The interval is a bootstrap over the draws and, within each, over the validation cases.
    """
    names = [f"{arm}-round{number}" for arm in ("rank", *RANDOM)]
    if any(name not in cells for name in names):
        return "-"
    cases = list(cells[names[0]]["dice"])
    values = np.array([[_case_mean(cells[n]["dice"][c]) for c in cases] for n in names])
    random = np.random.default_rng(0)
    means = []
    for _ in range(4000):
        draws = random.integers(1, len(names), len(RANDOM))
        chosen = random.integers(0, len(cases), len(cases))
        means.append(np.nanmean(values[0, chosen]) - np.nanmean(values[np.ix_(draws, chosen)]))
    low, high = np.percentile(means, [2.5, 97.5])
    found = np.nanmean(values[0]) - np.nanmean(values[1:])
    return f"{100 * found:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


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


if __name__ == "__main__":
    main()
