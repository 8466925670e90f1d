"""The demo from end to end on a few patients, and words that follow from the numbers."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from matplotlib.image import imread

import diffrect
import diffrect.showcase.demo as demo_module
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.view_options import ViewOptions
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.result import CaseScores, Evaluation
from diffrect.inference.load import load_method
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.showcase.demo import ENTRIES, REPORT_FILE, demo, start_folder
from diffrect.showcase.rectification import rectify_unlabelled
from diffrect.showcase.report import claim, table_rows, undefined_notes
from diffrect.showcase.settings import METHODS, DemoSettings
from diffrect.showcase.slices import complete_slices, median_case, slice_dice

SETTINGS = DemoSettings(
    patients=5,
    validation=1,
    test=2,
    size=32,
    iterations=4,
    rectify_from=1,
    validate_every=2,
    batch_labelled=2,
    batch_unlabelled=2,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small demo."""
    return demo(tmp_path_factory.mktemp("demo") / "made", settings=SETTINGS, progress=False)


def test_makes_everything_and_nothing_else(made: Path):
    assert {path.name for path in made.iterdir()} == {*ENTRIES, REPORT_FILE}
    assert json.loads((made / "demo.json").read_text()) == asdict(SETTINGS)
    picture = imread(made / "demo.png")
    assert min(picture.shape[:2]) > 1200
    assert picture.std() > 0.1


def test_split_has_one_labelled_patient_and_held_out_ones(made: Path):
    split = json.loads((made / "split.json").read_text())
    assert split == {
        "train": ["phantom001", "phantom002"],
        "val": ["phantom003"],
        "test": ["phantom004", "phantom005"],
        "labelled": ["phantom001"],
    }


def test_both_methods_are_trained_and_tested_alike(made: Path):
    results = [json.loads((made / m / "metrics_test.json").read_text()) for m in METHODS]
    protocols = [result["protocol"] for result in results]
    assert [protocol.pop("method") for protocol in protocols] == list(METHODS)
    options = [protocol.pop("options") for protocol in protocols]
    assert [values.get("rectify_from") for values in options] == [None, 1]
    views = set(vars(ViewOptions()))
    first, second = ({k: v for k, v in o.items() if k in views} for o in options)
    assert first == second
    assert first.keys() == views
    assert protocols[0] == protocols[1]
    assert protocols[0]["labelled_patients"] == ["phantom001"]
    assert {case["patient"] for case in results[1]["cases"]} == {"phantom004", "phantom005"}


def test_predictions_are_a_test_patients(made: Path):
    files = sorted((made / "predictions").iterdir())
    patient = files[0].name[:10]
    assert patient in ("phantom004", "phantom005")
    assert len(files) == 2
    for file in files:
        label, image = nib.load(file), nib.load(made / "data" / patient / file.name)
        assert label.shape == image.shape
        assert np.array_equal(label.affine, image.affine)


def test_report_holds_the_numbers_and_the_protocol(made: Path):
    text = (made / REPORT_FILE).read_text()
    for method, name in zip(METHODS, ("supervised", "DiffRect"), strict=True):
        result = json.loads((made / method / "metrics_test.json").read_text())
        score = f"{100 * result['mean']['dice']:.1f}"
        assert f"| **mean** | **{name}** | **{score}** |" in text
    assert text.count("| left ventricle |") == 2
    for fact in (diffrect.__version__, "4 iterations", "32 x 32", "seed 1337", "phantom005"):
        assert fact in text
    assert re.search(r"the mean Dice of the pseudo-label is \d+\.\d % before and \d+\.\d %", text)


def test_refuses_a_folder_with_something_in_it(made: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"expected a new or empty folder, it holds data already"):
        demo(made)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="expected a folder to make, found a file"):
        demo(tmp_path / "file")


def test_overwrites_a_demo_and_nothing_but_a_demo(tmp_path: Path):
    start_folder(tmp_path / "new", SETTINGS, overwrite=True)
    (tmp_path / "new" / "predictions").mkdir()
    start_folder(tmp_path / "new", DemoSettings(), overwrite=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["demo.json"]
    (tmp_path / "new" / "thesis.tex").write_text("mine")
    with pytest.raises(
        InputError, match=r"nothing but an earlier demo to replace, got thesis\.tex"
    ):
        start_folder(tmp_path / "new", SETTINGS, overwrite=True)
    (tmp_path / "other" / "data").mkdir(parents=True)
    with pytest.raises(InputError, match="nothing but an earlier demo to replace, got data"):
        start_folder(tmp_path / "other", SETTINGS, overwrite=True)
    assert (tmp_path / "other" / "data").is_dir()


def test_settings():
    with pytest.raises(InputError, match=r"patients: expected at least 12, .* got 11"):
        DemoSettings(patients=11)
    shorter = DemoSettings(iterations=1000, rectify_from=300, validate_every=100).lasting(100)
    assert (shorter.iterations, shorter.rectify_from, shorter.validate_every) == (100, 30, 10)


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt("stopped after iteration 3")

    monkeypatch.setattr(demo_module, "make_data", interrupt)
    with pytest.raises(KeyboardInterrupt, match="holds an unfinished demo"):
        demo(tmp_path / "new", iterations=10, progress=False)


def test_prints_the_table(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    module = demo_module
    results = {m: evaluate(made / m, split="test", progress=False) for m in METHODS}
    monkeypatch.setattr(module, "make_data", lambda *_: (Store(made / "store"), None))
    monkeypatch.setattr(module, "train_method", lambda *_: 0.5)
    monkeypatch.setattr(module, "evaluate_methods", lambda *_: results)
    monkeypatch.setattr(module, "show_slices", lambda *_: "")
    monkeypatch.setattr(module, "write_report", lambda *_: None)
    demo(tmp_path / "new")
    printed = capsys.readouterr().out
    assert "95HD mm" in printed
    assert claim(results) in printed
    assert str(tmp_path / "new" / "demo.png") in printed


# ---- words and tables -------------------------------------------------------------------------


def result(dice: list[float], undefined: int = 0) -> Evaluation:
    """The evaluation of patients with one scan and one structure each."""
    scores = {"jaccard": 0.5, "hd95_mm": math.nan, "asd_mm": 1.0}
    cases = [
        CaseScores(f"p{i}_frame01", f"p{i}", 0, {"heart": {"dice": d, **scores}})
        for i, d in enumerate(dice)
    ]
    mean = {"dice": float(np.mean(dice)), **scores}
    return Evaluation(
        split="test",
        checkpoint="best",
        step=1,
        empty="undefined",
        run="run",
        store="store",
        diffrect=diffrect.__version__,
        format=1,
        protocol={},
        missing_patients=[],
        mean=mean,
        classes={"heart": mean},
        undefined={"heart": {"hd95_mm": undefined}},
        cases=cases,
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            [0.5, 0.6],
            [0.7, 0.5],
            r"is better than .* 60\.0 % against 55\.0 % \(\+5\.0\), .* 1 of 2",
        ),
        ([0.5, 0.6], [0.5, 0.5], r"is worse than .* 50\.0 % against 55\.0 % \(-5\.0\), .* 0 of 2"),
        ([0.5, 0.6], [0.6, 0.5], r"is as good as supervised .* 1 of 2 test patients"),
    ],
)
def test_claim_follows_from_the_numbers(before: list[float], after: list[float], words: str):
    assert re.search(words, claim({"supervised": result(before), "diffrect": result(after)}))


def test_claim_without_numbers():
    nothing = replace(result([0.5]), mean={"dice": math.nan})
    assert "cannot be compared" in claim({"supervised": nothing, "diffrect": nothing})


def test_table_and_what_is_left_out_of_it():
    results = {"supervised": result([0.5]), "diffrect": result([0.7], undefined=1)}
    assert list(table_rows(results)) == [
        ("heart", "supervised", "50.0", "50.0", "–", "1.00"),
        ("heart", "DiffRect", "70.0", "50.0", "–", "1.00"),
        ("mean", "supervised", "50.0", "50.0", "–", "1.00"),
        ("mean", "DiffRect", "70.0", "50.0", "–", "1.00"),
    ]
    (note,) = undefined_notes(results)
    assert note.startswith("DiffRect: heart missing from prediction or truth in 1 of 1 scans")


# ---- slices and the rectifier -----------------------------------------------------------------


def test_median_case():
    assert median_case(result([0.5, 0.5, 0.5]), result([0.4, 0.9, 0.6])) == "p2_frame01"


def test_complete_slices():
    truth = np.array([[0, 1], [0, 0], [1, 0]])[:, None]
    assert complete_slices(truth, classes=2) == [0, 2]
    assert complete_slices(truth, classes=3) == [0, 1, 2]


def test_load_method_restores_the_rectifier(made: Path):
    loaded = load_method(made / "diffrect", "last")
    saved = load_checkpoint(checkpoint_path(made / "diffrect", "last"))
    assert loaded.step == 4
    assert loaded.task.classes[1] == "right ventricle"
    restored = loaded.method.state_dict()
    weights = {name: v for name, v in saved["method"].items() if torch.is_tensor(v)}
    assert any(name.startswith("rectifier.") for name in weights)
    assert all(torch.equal(restored[name], value) for name, value in weights.items())


def test_rectified_slices_lie_on_their_own_grid_and_repeat(made: Path):
    store = Store(made / "store")
    split = Split.from_json((made / "split.json").read_text())
    before = torch.get_rng_state()
    first = rectify_unlabelled(made / "diffrect", store, split)
    assert torch.equal(torch.get_rng_state(), before)
    again = rectify_unlabelled(made / "diffrect", store, split)
    assert len(first) == sum(c.slices for c in store.cases.values() if c.patient == "phantom002")
    for one, two in zip(first, again, strict=True):
        assert one.before.shape == one.after.shape == one.truth.shape == one.case.shape
        assert np.array_equal(one.truth, store.label(one.case.id, one.index))
        assert np.array_equal(one.after, two.after)


def test_slice_dice_leaves_absent_classes_out():
    labels = np.array([[1, 1, 0]])
    assert slice_dice(labels, np.array([[1, 0, 0]]), ("", "a", "b")) == pytest.approx(2 / 3)
