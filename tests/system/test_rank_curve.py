"""The curve of annotated patients: fair arms, resumable cells, tables that count right."""

import json
import math
import shutil
from pathlib import Path

import pytest

import rank_curve
import rank_tables
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.json_files import read_json

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "reports" / "results").glob("rank-*.json"))
OPTIONS = {"method": "supervised", "size": 32, "iterations": 1, "seed": 1}


@pytest.fixture
def trained(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The labelled patients of each training; none is made, each run is the tiny one."""
    calls: list[tuple[str, ...]] = []

    def copy(_store: Path, run: Path, config: object, **_: object) -> None:
        shutil.copytree(tiny_run, run, dirs_exist_ok=True)
        split = Path(config.split_file).read_text("utf-8")  # type: ignore[attr-defined]
        (run / "split.json").write_text(split, "utf-8")
        calls.append(tuple(json.loads(split)["labelled"]))

    monkeypatch.setattr(rank_curve, "train", copy)
    return calls


def test_each_arm_adds_one_patient_per_round_and_nothing_is_done_twice(
    store: Store, tmp_path: Path, trained: list[tuple[str, ...]]
) -> None:
    split = tmp_path / "split.json"
    train = ("patient099", "patient050", "patient038", "patient011")
    split.write_text(Split(train=train, val=("patient028",)).to_json())
    given = {"store": store.path, "folder": tmp_path / "curve", "split_file": split, "labelled": 1}
    lines = list(rank_curve.curve_of(**given, rounds=2, **OPTIONS))
    assert len(trained) == 1 + 2 * len(rank_tables.ARMS)
    assert trained[0] == ("patient099",)
    assert [len(labelled) for labelled in trained] == [1] + [2] * 7 + [3] * 7
    assert all(len(set(labelled)) == len(labelled) for labelled in trained)
    assert lines[0].startswith("first-0: ")
    again = list(rank_curve.curve_of(**given, rounds=2, **OPTIONS))
    assert again == lines
    assert len(trained) == 15
    found = read_json(tmp_path / "curve" / "results.json")
    assert set(found["hidden"]) == {"patient050", "patient038", "patient011"}
    assert set(found["cells"]["rank-round1"]["dice"]) == {
        "patient028_frame01",
        "patient028_frame02",
    }
    with pytest.raises(InputError, match="expected the results of the same settings, got others"):
        list(rank_curve.curve_of(**given, rounds=2, **OPTIONS | {"seed": 2}))


def test_fixed_orders_are_drawn_beforehand_and_longest_counts_slices(store: Store) -> None:
    split = Split(train=("patient099", "patient050", "patient038", "patient011"))
    split = Split(split.train, labelled=("patient099",))
    one, two = (rank_curve.fixed_orders(store, split) for _ in range(2))
    assert one == two
    assert one["longest"] == ["patient011", "patient038", "patient050"]  # as long: by name
    assert set(one) == {"longest", *rank_tables.RANDOM}
    assert len({tuple(order) for order in one.values()}) > 1
    assert {tuple(sorted(order)) for order in one.values()} == {tuple(one["longest"])}


def cells(**dice: float) -> dict[str, dict[str, object]]:
    """Cells of two cases and two classes, one of them undefined once."""
    return {
        name.replace("_", "-"): {
            "labelled": ["a"],
            "dice": {"x": {"one": value, "two": None}, "y": {"one": value, "two": value}},
        }
        for name, value in dice.items()
    }


def test_tables_have_means_draws_and_the_difference() -> None:
    random = {f"random_{k}_round1": 0.1 * k for k in range(1, 6)}
    results = {
        "settings": {"first": ["a"], "val": ["x", "y"]},
        "cells": cells(first_0=0.2, rank_round1=0.5, longest_round1=0.25, **random),
        "hidden": {
            str(k): {"score": k / 10, "entropy": 1 - k / 10, "error": k / 20} for k in range(8)
        },
    }
    lines = rank_tables.lines_of(results)
    assert lines[:5] == [
        "| arm | 1 labelled | 2 labelled |",
        "| --- | ---: | ---: |",
        "| rank | 20.0 | 50.0 |",
        "| longest | 20.0 | 25.0 |",
        "| random, mean of five | 20.0 | 30.0 |",
    ]
    assert lines[9] == "| random-5 | 20.0 | 50.0 |"
    gain = lines[10].split("|")[3].strip()
    low, high = (float(x) for x in gain.split("[")[1].rstrip("]").split(","))
    assert gain.startswith("+20.0 [")
    assert 0 < low < 20 < high < 40
    assert "| score | +1.00 [+1.00, +1.00] |" in lines
    assert "| entropy | -1.00 [-1.00, -1.00] |" in lines


def test_what_is_not_done_is_a_dash() -> None:
    results = {
        "settings": {"first": ["a"], "val": ["x", "y"]},
        "cells": cells(first_0=0.2, rank_round1=0.5),
    }
    lines = rank_tables.lines_of(results)
    assert lines[3] == "| longest | 20.0 | - |"
    assert lines[-1] == "| rank - mean of random | | - |"
    assert math.isnan(rank_tables.dice_of(results["cells"], "longest", 1))


def test_other_seeds_are_noted_beside_the_first(tmp_path: Path) -> None:
    for seed, dice in ((1337, 0.2), (1, 0.4)):
        settings = {"first": ["a"], "val": ["x", "y"], "seed": seed, "size": 8}
        content = {"settings": settings, "cells": cells(first_0=dice)}
        (tmp_path / f"{seed}.json").write_text(json.dumps(content))
    one, other = tmp_path / "1337.json", tmp_path / "1.json"
    rank_curve.note_seeds(one, [other])
    lines = rank_tables.lines_of(read_json(one))
    assert lines[-3:] == [
        "| seed of the first model | 1337 | 1 |",
        "| --- | ---: | ---: |",
        "| Dice | 20.0 | 40.0 |",
    ]
    changed = read_json(other)
    changed["settings"]["size"] = 16
    other.write_text(json.dumps(changed))
    with pytest.raises(InputError, match=r"1\.json: expected the settings of .*, got others"):
        rank_curve.note_seeds(one, [other])


def test_dice_is_the_mean_over_classes_of_the_cases_that_have_them() -> None:
    dice = {"x": {"one": 0.2, "two": None}, "y": {"one": 0.4, "two": 0.9}}
    assert rank_tables.mean_dice(dice) == pytest.approx((0.3 + 0.9) / 2)


@pytest.mark.parametrize("results", RESULTS, ids=lambda file: file.stem)
def test_the_report_has_the_tables_of_the_kept_results(results: Path) -> None:
    page = (ROOT / "docs" / "reports" / "rank.md").read_text("utf-8")
    for line in rank_tables.lines_of(read_json(results)):
        assert not line or line in page.splitlines(), line
