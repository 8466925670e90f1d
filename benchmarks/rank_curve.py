"""Measure whether `diffrect rank` pays: Dice as patients are added by rank and by other orders.

    python benchmarks/rank_curve.py train STORE FOLDER [--split-file FILE] [--labelled 1] ...
    python benchmarks/rank_curve.py seeds RESULTS.json OTHER.json ...
    python benchmarks/rank_curve.py tables RESULTS.json

`train` begins with the first labelled patients of the split. In each round every arm adds one
patient, trains from the beginning on all that it has, and is scored on the validation patients:

    rank       the first of `rank` with the model of the round before
    longest    the patient with the most slices of all scans
    random-K   the K-th of five random orders, drawn before anything is trained

All arms share the first model, the seed and every setting. A cell that is done is not trained
again, so the command may be stopped and repeated. FOLDER/results.json holds the Dice of every
validation case, the patients of every cell, and for the first model the measures of all candidates
beside the true error of their predictions. Nothing else reads the labels of candidates. `seeds`
notes the first models of other seeds (`train --rounds 0 --seed N`), which say how much is chance.

The trainings are short, because there are 22 of them: a U-Net of half width on small slices, by the
default method without its rectifier, or by `supervised`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

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
from rank_tables import ARMS, FIRST, RANDOM, lines_of, mean_dice

RESULTS = "results.json"
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
    seeds = commands.add_parser("seeds")
    seeds.add_argument("results", type=Path)
    seeds.add_argument("others", type=Path, nargs="+")
    given = vars(parser.parse_args())
    command = given.pop("command")
    try:
        if command == "seeds":
            note_seeds(**given)
        elif command == "tables":
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


def _plain(value: float) -> float | None:
    """Return a number as JSON holds it: None for NaN, and no more digits than mean anything."""
    return None if np.isnan(value) else round(value, 5)


def note_seeds(results: Path, others: Sequence[Path]) -> None:
    """Note in a file of results the Dice of first models that only their seed tells apart.

    Args:
        results: the file to change.
        others: results of the other seeds.

    Raises:
        InputError: something else differs.
    """
    content = read_json(results)
    content["seeds"] = {}
    for file in others:
        other = read_json(file)
        if other["settings"] | {"seed": 0} != content["settings"] | {"seed": 0}:
            raise InputError(file, f"the settings of {results}", got="others")
        content["seeds"][str(other["settings"]["seed"])] = other["cells"][f"{FIRST}-0"]["dice"]
    write_json(results, content)


if __name__ == "__main__":
    main()
