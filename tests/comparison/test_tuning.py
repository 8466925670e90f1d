import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffrect.comparison.cell import CellJob, Outcome
from diffrect.comparison.matrix import Cell
from diffrect.comparison.tuning import tune as tuning_module
from diffrect.comparison.tuning.held_out import hold_out
from diffrect.comparison.tuning.search import next_values
from diffrect.comparison.tuning.space import (
    Range,
    own_values,
    read_sections,
    space_of,
    with_values,
)
from diffrect.comparison.tuning.trials import Trial
from diffrect.comparison.tuning.tune import Budget, tune
from diffrect.comparison.variants import read_variants
from diffrect.config import TrainConfig
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.errors import InputError, PartialFailure
from diffrect.methods.registry import METHODS

pytest.importorskip("optuna")
TINY = TrainConfig(size=16, iterations=2, batch_labelled=2, batch_unlabelled=2, labelled="1")
RATE = {"all": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}}


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(RATE), "utf-8")
    return file


def write_space(folder: Path, content: Any) -> Path:
    file = folder / "own-space.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


# ---- the search space --------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_shipped_space_holds_the_methods_own_settings(method: str) -> None:
    config = TrainConfig(method=method)
    space = space_of(config, read_sections(None), None)
    own = own_values(config, space)
    for name, values in space.items():
        if isinstance(values, Range):
            assert values.low <= own[name] <= values.high, (method, name)
        else:
            assert own[name] in values, (method, name)


def test_strong_views_are_tuned_only_where_a_method_reads_them() -> None:
    sections = {"all": RATE["all"], "strong_views": {"jitter_probability": {"low": 0, "high": 1}}}
    assert "jitter_probability" in space_of(TrainConfig(method="fixmatch"), sections, None)
    assert "jitter_probability" not in space_of(TrainConfig(method="supervised"), sections, None)


def test_a_methods_section_replaces_and_removes() -> None:
    sections = {
        "all": {"learning_rate": {"low": 0.001, "high": 0.1}, "blur_sigma": {"low": 0, "high": 2}},
        "cps": {"learning_rate": [0.01, 0.02], "blur_sigma": None},
    }
    assert space_of(TrainConfig(method="cps"), sections, None) == {"learning_rate": (0.01, 0.02)}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            {"cps": {"ramp": {"low": 0, "high": 1}}},
            "ramp: expected learning_rate or an option of cps",
        ),
        ({"all": {"learning_rate": {"low": 1, "high": 0.1}}}, "low below high"),
        ({"all": {"learning_rate": {"low": 0, "high": 0.1, "log": True}}}, "above 0 with log"),
        ({"all": {"learning_rate": 0.1}}, "{low, high, log} or a list"),
        ({"all": {"learning_rate": [0.1]}}, "a list of two values or more"),
        ({"cps": {"ramp_share": {"low": 0, "high": 2}}}, "a number from 0 to 1"),
        ({"all": {"strong_view": ["os:system", "os:abort"]}}, "strong_view"),
        ({"cpps": {"ramp_share": [0, 1]}}, "cpps"),
        ({"all": {"ramp_stairs": {"low": 1.5, "high": 20}}}, "whole numbers"),
        ({"all": []}, "something to tune"),
        ([1], "sections of settings"),
    ],
)
def test_a_wrong_space_is_one_line(content: Any, line: str, tmp_path: Path) -> None:
    file = write_space(tmp_path, content)
    with pytest.raises(InputError) as caught:
        space_of(TrainConfig(method="cps"), read_sections(file), file)
    text = str(caught.value)
    assert line in text
    assert str(file) in text
    assert "\n" not in text


# ---- the search --------------------------------------------------------------------------------

SPACE = {"learning_rate": Range(0.001, 0.1, log=True), "ramp_stairs": Range(10, 300)}
OWN = {"learning_rate": 0.01, "ramp_stairs": 200}


def test_the_first_trial_has_the_methods_own_settings() -> None:
    assert next_values(SPACE, [], OWN, 0) == OWN


def test_the_next_values_follow_from_the_trials_and_the_seed_alone() -> None:
    done = [Trial(0, OWN, 0.5)]
    first, again = (next_values(SPACE, done, OWN, 3) for _ in range(2))
    assert first == again
    assert first != next_values(SPACE, done, OWN, 4)
    assert 0.001 <= first["learning_rate"] <= 0.1
    assert isinstance(first["ramp_stairs"], int)


def test_the_search_goes_where_the_score_is_high() -> None:
    """Dice peaks at a rate of 0.05; after some trials most proposals are near it."""
    space, own = {"learning_rate": Range(0.001, 0.1, log=True)}, {"learning_rate": 0.002}
    trials: list[Trial] = []
    for number in range(24):
        values = next_values(space, trials, own, 0)
        trials.append(Trial(number, values, 1 - abs(values["learning_rate"] - 0.05)))
    late = [trial.values["learning_rate"] for trial in trials[14:]]
    assert sum(0.03 < rate < 0.08 for rate in late) >= 6


def test_a_failed_trial_teaches_no_score_and_stops_nothing() -> None:
    done = [Trial(0, OWN, 0.5), *(Trial(n, OWN, None, failed="diverged") for n in range(1, 6))]
    assert next_values(SPACE, done, OWN, 0).keys() == SPACE.keys()


# ---- the patients ------------------------------------------------------------------------------


def test_validation_and_test_patients_are_in_no_part(store: Store) -> None:
    official = store.official_split
    assert official is not None
    split = hold_out(store, TINY, 1)
    assert set(split.val) <= set(official.train) - set(split.labelled)
    assert not set(split.train) & set(split.val)
    assert not (set(official.val) | set(official.test)) & {*split.train, *split.val, *split.test}


def test_too_few_patients_to_hold_out_is_one_line(store: Store) -> None:
    with pytest.raises(InputError, match="--held-out: expected at most"):
        hold_out(store, TINY, 50)


def test_labelled_patients_judge_where_no_other_has_labels(store: Store) -> None:
    split = hold_out(store, replace(TINY, labelled="all"), 1)
    assert split.labelled
    assert not set(split.labelled) & set(split.val)


# ---- tuning ------------------------------------------------------------------------------------


def test_a_budget_counts_trainings_and_processor_minutes() -> None:
    from diffrect.comparison.cost import TrainingCost

    done = [Trial(n, {}, 0.5, cost=TrainingCost(processor_minutes=2.0)) for n in range(3)]
    assert Budget(4).allows(done)
    assert not Budget(3).allows(done)
    assert not Budget(8, 6.0).allows(done)
    assert Budget(8, 6.1).allows(done)


class Trainings:
    """In place of trainings: writes the scores that a rate would have, or fails."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.outcome = Outcome("finished")

    def __call__(self, job: CellJob, cell: Cell) -> Outcome:
        self.cells.append(cell)
        return self.outcome


def test_tuning_trains_scores_resumes_and_freezes(
    store: Store, rates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tuning"
    arguments: dict[str, Any] = {
        "methods": ["supervised"],
        "held_out": 1,
        "space": rates,
        "config": TINY,
        "apart": False,
        "progress": False,
    }
    tuning = tune(store.path, folder, trials=2, **arguments)
    (tuned,) = tuning.methods
    first, second = tuned.trials
    assert first.values == {"learning_rate": 0.01}
    assert second.values != first.values
    assert all(trial.dice is not None and trial.cost.processor_minutes for trial in tuned.trials)

    # Frozen: what compare reads trains with the best rate.
    variants = read_variants(folder / "tuned.yaml")
    best = tuned.best
    assert best is not None
    assert variants["supervised-tuned"].learning_rate == best.values["learning_rate"]
    with (folder / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["dice"]) for row in rows] == [first.dice, second.dice]
    assert "supervised" in (folder / "tuning.md").read_text("utf-8")

    # Again with more trials: nothing that is finished is trained again.
    trainings = Trainings()
    monkeypatch.setattr(tuning_module, "do_cell", trainings)
    again = tune(store.path, folder, trials=2, **arguments)
    assert trainings.cells == []
    assert [trial.dice for trial in again.methods[0].trials] == [first.dice, second.dice]

    trainings.outcome = Outcome("diverged", "the loss is not finite")
    longer = tune(store.path, folder, trials=3, **arguments)
    assert len(trainings.cells) == 1
    assert longer.methods[0].trials[2].failed == "the loss is not finite"
    assert longer.methods[0].best == best
    tune(store.path, folder, trials=3, **arguments)
    assert len(trainings.cells) == 1  # it would diverge again

    trainings.outcome = Outcome("failed", "disk full")
    for count in (1, 2):  # it is tried again, with the same values
        with pytest.raises(PartialFailure, match="disk full"):
            tune(store.path, folder, trials=4, **arguments)
        assert len(trainings.cells) == 1 + count
    assert trainings.cells[1] == trainings.cells[2]


def test_another_tuning_in_the_folder_is_one_line(
    store: Store, rates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings()
    trainings.outcome = Outcome("diverged", "not finite")
    monkeypatch.setattr(tuning_module, "do_cell", trainings)
    folder = tmp_path / "tuning"

    def again(**changes: Any) -> None:
        arguments: dict[str, Any] = {"trials": 1, "held_out": 1, "space": rates, "config": TINY}
        arguments |= {"methods": ["supervised"], "apart": False, "progress": False}
        tune(store.path, folder, **{**arguments, **changes})

    again()
    assert not json.loads((folder / "supervised.trials.json").read_text("utf-8")).get("best")
    with pytest.raises(InputError, match="the config of this one, found another"):
        again(config=replace(TINY, iterations=3))
    with pytest.raises(InputError, match="the seed of this one, found another"):
        again(seed=1)
    other = write_space(tmp_path, {"all": {"learning_rate": [0.01, 0.02]}})
    with pytest.raises(InputError, match="the space of this one, found another"):
        again(space=other)
    others = Split(train=("a", "b"), val=("c",), labelled=("a",))
    (folder / "split.json").write_text(others.to_json(), "utf-8")
    with pytest.raises(InputError, match=r"split\.json: expected the patients of this tuning"):
        again()
    assert len(trainings.cells) == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trials": 0}, "--trials: expected at least 1"),
        ({"minutes": 0.0}, "--minutes: expected above 0"),
        ({"held_out": 0}, "--held-out: expected at least 1"),
        ({"methods": []}, "--methods: expected names"),
        ({"methods": ["cpps"]}, "did you mean cps"),
    ],
)
def test_wrong_arguments_leave_nothing(
    changes: dict[str, Any], line: str, store: Store, tmp_path: Path
) -> None:
    arguments = {"methods": ["supervised"], "config": TINY, "held_out": 1, **changes}
    with pytest.raises(InputError, match=line):
        tune(store.path, tmp_path / "tuning", progress=False, **arguments)
    assert not (tmp_path / "tuning").exists()


def test_values_are_set_where_training_reads_them() -> None:
    config = with_values(TINY, {"learning_rate": 0.02, "blur_sigma": 1.0})
    assert config.learning_rate == 0.02
    assert config.options == {"blur_sigma": 1.0}
