"""Evaluation: the file and the table that it writes, their meaning, and its refusals."""

import io
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import diffrect
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.metrics import METRICS, case_metrics
from diffrect.evaluation.scores_file import sealed
from diffrect.evaluation.scores_table import print_scores
from diffrect.inference.model import Model
from diffrect.runs.folder import remember_store
from diffrect.runs.store_of_run import remembered_store


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run that a test may change."""
    return shutil.copytree(tiny_run, tmp_path / "run")


class Perfect:
    """A model that returns the label of each case, altered by `change`."""

    def __init__(self, store, change=None):
        self.answers = {store.image(name).tobytes(): store.label(name) for name in store.cases}
        self.change = change or (lambda labels: labels)

    def install(self, monkeypatch):
        def predict_slices(model, images, spacing):
            return self.change(self.answers[images.tobytes()].copy())

        monkeypatch.setattr(Model, "predict_slices", predict_slices)


def strict(path: Path):
    """Return the JSON in a file; NaN and Infinity, which are not JSON, fail the test."""
    return json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))


def shown(result) -> str:
    """Return the table of a result as text."""
    console = Console(width=100, file=io.StringIO())
    print_scores(result, console)
    return console.file.getvalue()


def test_writes_what_it_returns(run, store):
    result = evaluate(run, progress=False)
    assert strict(run / "metrics_val.json") == sealed(result.to_dict())
    assert list(result.mean) == list(METRICS)
    assert list(result.classes) == list(store.classes[1:])
    assert [case.id for case in result.cases] == ["patient028_frame01", "patient028_frame02"]
    assert {case.patient for case in result.cases} == {"patient028"}
    assert not list(run.glob(".metrics*"))


def test_numbers_name_what_they_were_measured_on(run, store):
    result = evaluate(run, split="test", checkpoint="last", empty="reference", progress=False)
    assert (result.split, result.checkpoint, result.step) == ("test", "last", 2)
    assert result.empty == "reference"
    assert result.diffrect == diffrect.__version__
    assert result.store == str(store.path)
    protocol = result.protocol
    assert (protocol["method"], protocol["preset"]) == ("supervised", "default")
    assert (protocol["size"], protocol["seed"]) == (32, 1337)
    assert protocol["labelled_patients"] == ["patient099"]
    assert (run / "metrics_test.json").is_file()


def test_scores_are_those_of_the_predictions_on_the_stores_grid(run, store):
    result = evaluate(run, progress=False)
    model = Model.load(run, device="cpu")
    for case in result.cases:
        name = case.id
        prediction = model.predict_slices(store.image(name))
        assert prediction.shape == store.label(name).shape
        expected = case_metrics(
            prediction, store.label(name), store.classes, store.cases[name].spacing
        )
        for organ, scores in expected.items():
            assert case.classes[organ] == pytest.approx(scores, nan_ok=True)


def test_a_perfect_prediction(run, store, monkeypatch):
    Perfect(store).install(monkeypatch)
    result = evaluate(run, progress=False)
    assert list(result.mean.values()) == [1, 1, 0, 0, 0, 0]
    assert not any(count for counts in result.undefined.values() for count in counts.values())


def test_a_missed_class_is_undefined_and_counted(run, store, monkeypatch):
    Perfect(store, lambda labels: np.where(labels == 1, 0, labels)).install(monkeypatch)
    result = evaluate(run, progress=False)
    missed, found = store.classes[1:3]
    written = result.to_dict()["classes"]
    assert list(written[missed].values()) == [0, 0, None, None, None, None]
    assert list(result.undefined[missed].values()) == [0, 0, 2, 2, 2, 2]
    # A mean over classes, undefined ones left out: Dice of 0, 1 and 1; distances of two classes.
    assert result.mean["dice"] == pytest.approx(2 / 3)
    assert result.mean["hd95_mm"] == 0
    assert result.classes[found]["dice"] == 1
    as_reference = evaluate(run, empty="reference", progress=False)
    assert list(as_reference.classes[missed].values()) == [0, 0, 50, 50, 10, 10]
    assert not any(as_reference.undefined[missed].values())


def test_the_table_names_its_split_and_what_is_undefined(run, store, monkeypatch):
    Perfect(store, lambda labels: np.where(labels == 1, 0, labels)).install(monkeypatch)
    text = shown(evaluate(run, split="test", progress=False))
    assert "test split: 2 cases, 1 patient; checkpoint best (step" in text
    assert re.search(r"mean +│ +66\.67 │ +66\.67 │ +0\.00", text)
    assert f"{store.classes[1]}: undefined in 2 of 2 cases: 95HD mm, 95HD voxels" in text


def test_another_place_for_the_store(run, store, tmp_path):
    moved = shutil.copytree(store.path, tmp_path / "moved")
    (run / "store.txt").write_text(str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"gone is not there; give --store$"):
        evaluate(run, progress=False)
    assert not (run / "metrics_val.json").exists()
    result = evaluate(run, store=moved, progress=False)
    assert result.store == str(moved)
    (run / "store.txt").unlink()
    with pytest.raises(InputError, match=r"does not say where; give --store$"):
        evaluate(run, progress=False)


def test_all_cases_of_another_data_set(run, store, acdc_folder, tmp_path):
    for option in ({}, {"store": store.path}):  # these patients were trained on
        with pytest.raises(InputError, match="--split all: expected "):
            evaluate(run, split="all", progress=False, **option)
    assert not (run / "metrics_all.json").exists()
    others = tmp_path / "others"
    for patient in ("patient028", "patient011"):
        shutil.copytree(acdc_folder / patient, others / patient)
    elsewhere = diffrect.prepare(others, tmp_path / "elsewhere", progress=False)
    result = evaluate(run, split="all", store=elsewhere.path, progress=False)
    assert strict(run / "metrics_all.json") == sealed(result.to_dict())
    assert {case.patient for case in result.cases} == {"patient011", "patient028"}
    assert "all split: 4 cases, 2 patients" in " ".join(shown(result).split())


def test_a_store_of_another_kind(run, decathlon_store):
    with pytest.raises(InputError, match=r"expected the classes of .*run, .*'Anterior'"):
        evaluate(run, store=decathlon_store.path, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": "0"}, "expected the axis of .*run, 2, got 0; prepare it with --axis 2"),
        ({"intensity": "zscore"}, "the intensity of .*, minmax, got zscore; prepare it with --int"),
    ],
)
def test_a_store_that_is_cut_or_normalised_otherwise(run, acdc_folder, tmp_path, options, message):
    shutil.copytree(acdc_folder / "patient028", tmp_path / "others" / "patient028")
    others = diffrect.prepare(tmp_path / "others", tmp_path / "s", progress=False, **options)
    with pytest.raises(InputError, match=message):
        evaluate(run, split="all", store=others.path, progress=False)


def change_split(run: Path, **parts: list[str]) -> None:
    split = json.loads((run / "split.json").read_text("utf-8"))
    (run / "split.json").write_text(json.dumps(split | parts))


def test_splits_without_cases(run):
    change_split(run, test=[])
    with pytest.raises(InputError, match=r"^--split test: expected patients"):
        evaluate(run, split="test", progress=False)
    change_split(run, test=["patient777"])
    with pytest.raises(InputError, match=r"labelled cases of split test, found none of its"):
        evaluate(run, split="test", progress=False)


def test_patients_that_are_not_in_the_store_are_named(run):
    change_split(run, val=["patient028", "patient777"])
    result = evaluate(run, progress=False)
    assert result.missing_patients == ["patient777"]
    assert "without a labelled case: patient777" in shown(result)


def test_unlabelled_cases_are_left_out(run, store, monkeypatch):
    real = Store.__init__

    def without_label(self, path):
        real(self, path)
        name = "patient028_frame02"
        self.cases[name] = type(self.cases[name])(**{**vars(self.cases[name]), "labelled": False})

    monkeypatch.setattr(Store, "__init__", without_label)
    assert [case.id for case in evaluate(run, progress=False).cases] == ["patient028_frame01"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"split": "train"}, "--split: expected one of val, test, all, got 'train'"),
        ({"empty": "zero"}, "--empty: expected one of undefined, reference, got 'zero'"),
        (
            {"device": "toaster"},
            "--device: expected auto, cpu, cuda, cuda:1 (one of several) or mps",
        ),
    ],
)
def test_bad_options(run, option, message):
    with pytest.raises(InputError, match=re.escape(message)):
        evaluate(run, progress=False, **option)


def test_bad_runs(run, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*expected a checkpoint"):
        evaluate(tmp_path / "nowhere", progress=False)
    (run / "split.json").write_text("{")
    with pytest.raises(InputError, match=r"split\.json: expected the split of the run"):
        evaluate(run, progress=False)
    (run / "checkpoints" / "best.pt").write_text("not a checkpoint")
    with pytest.raises(InputError, match=r"best\.pt: expected a checkpoint"):
        evaluate(run, progress=False)


def test_a_store_whose_name_is_not_utf8_is_found_again(tmp_path):
    name = os.fsdecode(b"st\xffre")
    try:
        (tmp_path / name).mkdir()
    except OSError:
        pytest.skip("needs a file system that takes any bytes as a name")
    remember_store(tmp_path, SimpleNamespace(path=tmp_path / name))
    assert remembered_store(tmp_path) == tmp_path / name
