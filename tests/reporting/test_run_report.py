"""The report of a run: what it shows, and that text of a user stays text in it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import diffrect
from diffrect.cli.main import main
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.reporting import run_report
from diffrect.reporting.cases import case_table, telling_cases
from diffrect.reporting.run_report import telling_slices, write_report
from support.pages import HOSTILE, FakeStore, check_is_alone


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run that a test may change."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def report_of(store: FakeStore, folder: Path, monkeypatch, **changes) -> str:
    """The page of a store in memory."""
    monkeypatch.setattr(run_report, "Store", lambda path: store)
    folder.mkdir(exist_ok=True)
    return write_report(folder, store.evaluation(**changes)).read_text("utf-8")


def script_of(text: str) -> str:
    """The script of a page, which is not what it shows."""
    return re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]


def rows(text: str, number: int) -> list[list[str]]:
    """The cells of a table of a page, the first of which is 0."""
    body = re.findall(r"<tbody>(.*?)</tbody>", text, re.DOTALL)[number]
    lines = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL) for line in lines]


def test_the_command_writes_the_page(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    page = run / "report_val" / "index.html"
    assert f"{page}: the same with pictures, for a browser" in capsys.readouterr().out
    text = page.read_text("utf-8")
    words = check_is_alone(text).words
    scores = json.loads((run / "metrics_val.json").read_text())
    for case in scores["cases"]:
        assert case["id"] in words
    assert "1 labelled patient (patient099)" in words
    assert "supervised, preset default" in words
    assert f"diffrect evaluate {run} --split val --checkpoint best" in words
    assert diffrect.__version__ in words
    assert len(page.read_bytes()) < 300_000


def test_the_page_has_the_numbers_of_the_file(run):
    result = evaluate(run, progress=False, keep_predictions=True)
    text = write_report(run, result).read_text("utf-8")
    classes, cases = rows(text, 0), rows(text, 1)
    assert [row[0] for row in classes] == [*result.classes, "mean of the classes"]
    assert float(classes[-1][1]) == pytest.approx(100 * result.mean["dice"], abs=0.006)
    assert [row[0] for row in cases] == [case.id for case in result.cases]
    dice = [float(cell) for cell in cases[0][-3:]]
    wanted = [100 * scores["dice"] for scores in result.cases[0].classes.values()]
    assert dice == pytest.approx(wanted, abs=0.006)


def test_no_report_writes_none(run):
    assert main(["evaluate", str(run), "--no-report", "--quiet"]) == 0
    assert not (run / "report_val").exists()


def test_train_reports_its_validation_patients(store, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ["train", str(store.path), str(run), "--method", "supervised"]
    arguments += ["--size", "32", "--iterations", "2", "--batch-labelled", "2"]
    assert main(arguments) == 0
    page = check_is_alone((run / "report_val" / "index.html").read_text("utf-8"))
    assert "Validation Dice of each class by iteration" in [
        svg.get("aria-label") for svg in page.of("svg")
    ]
    assert (run / "metrics_val.json").is_file()
    assert "its validation patients, for a browser" in capsys.readouterr().out
    assert main([*arguments, "--overwrite", "--no-report", "--quiet"]) == 0
    assert not (run / "report_val").exists()  # it was that of the run before
    assert not (run / "metrics_val.json").exists()


def test_a_page_that_cannot_be_written_does_not_fail_a_training(run, store, capsys):
    (run / "report_val").write_text("in the way")
    assert main(["train", str(store.path), str(run), "--resume", "--quiet"]) == 0
    assert f"{run}: trained, but not scored: " in capsys.readouterr().err


def test_names_of_strangers_stay_text(tmp_path, monkeypatch):
    classes = ("background", *HOSTILE)
    store = FakeStore(classes, [*HOSTILE[:4], "case"])
    text = report_of(store, tmp_path / "<b>run", monkeypatch, missing="case", split="val")
    page = check_is_alone(text)
    assert not page.of("img")
    assert not page.of("b")
    assert "<script>alert(1)</script>" in page.words  # as text
    assert "{{ 7 * 7 }}" in page.words
    assert "\u202e" not in text
    assert "\\u202eevil\\u202c" in page.words


@pytest.mark.parametrize("count", [2, 20])
def test_few_and_many_classes(count, tmp_path, monkeypatch):
    classes = ("background", *(f"class {code}" for code in range(1, count)))
    store = FakeStore(classes, ["one", "two"])
    text = report_of(store, tmp_path, monkeypatch)
    page = check_is_alone(text)
    assert [row[0] for row in rows(text, 0)][:-1] == list(classes[1:])
    charts = [svg for svg in page.of("svg") if svg.get("class") == "chart"]
    assert len(charts) == 4 + 2 * (count - 1)  # metrics; volumes of each class, twice


def test_fifty_cases_are_small(tmp_path, monkeypatch):
    store = FakeStore(("background", "a", "b", "c"), [f"case {k}" for k in range(50)])
    text = report_of(store, tmp_path, monkeypatch)
    assert len(rows(text, 1)) == 50
    assert len(text) < 1_000_000


def test_one_slice_without_spacing_and_nothing_found(tmp_path, monkeypatch):
    store = FakeStore(("background", "a"), ["only"], (1, 24, 20), spacing=None)
    text = report_of(store, tmp_path, monkeypatch, missing="only")
    page = check_is_alone(text)
    assert rows(text, 0)[0] == ["a", "0.00", "0.00", "–", "–", "1 of 1"]
    assert "95HD voxels" in page.words
    assert "20 mm" not in page.words
    assert "bias -" in page.words
    assert "voxels" in page.words
    assert "nan" not in page.words.replace(script_of(text), "").lower()


def test_a_class_that_is_nowhere(tmp_path, monkeypatch):
    store = FakeStore(("background", "a", "b"), ["one", "two"])
    for label in store.labels.values():
        label[label == 2] = 0
    text = report_of(store, tmp_path, monkeypatch)
    check_is_alone(text)
    assert rows(text, 0)[1] == ["b", "–", "–", "–", "–", "2 of 2"]
    assert 'data-value="nan"' not in text


def test_cases_without_truth_are_counted(tmp_path, monkeypatch):
    store = FakeStore(("background", "a"), ["one", "two"])
    result = store.evaluation(missing_patients=["p-two"])
    result = result.__class__(**{**vars(result), "cases": result.cases[:1]})
    record = store.cases["two"]
    store.cases["two"] = record.__class__(**{**vars(record), "labelled": False})
    monkeypatch.setattr(run_report, "Store", lambda path: store)
    words = check_is_alone(write_report(tmp_path, result).read_text("utf-8")).words
    assert "Without a labelled case: p-two" in words
    assert "1 case of these patients without truth: not scored." in words


def test_the_same_scores_make_the_same_page(tmp_path, monkeypatch):
    store = FakeStore(("background", "a", "b"), ["one", "two", "three"])
    first, second = (report_of(store, tmp_path, monkeypatch) for _ in range(2))
    assert first == second


def test_worst_median_and_best():
    store = FakeStore(("background", "a", "b"), ["zero", "one", "two", "three"])
    found = telling_cases(store.evaluation(missing="one").cases)
    assert [(name, case.id) for name, case in found] == [
        ("worst", "one"),
        ("median", "two"),
        ("best", "zero"),
    ]
    (only,) = telling_cases(store.evaluation().cases[:1])
    assert only[0] == "worst and median and best"


def test_cases_are_sorted_by_stored_values():
    table = case_table(FakeStore(("background", "a"), ["one", "two"]).evaluation(missing="two"))
    first, second = table.rows
    assert first[2].value == 1.0
    assert (second[4].text, second[4].value) == ("–", None)


def test_slices_to_look_at():
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[1, :3], truth[2, 0] = 1, 1
    wrong = truth.copy()
    wrong[2] = 1 - wrong[2]
    assert telling_slices(wrong, truth) == {1: "the largest", 2: "the most errors"}
    assert telling_slices(truth, truth) == {1: "the largest"}
    assert telling_slices(wrong, np.zeros_like(truth)) == {1: "the most errors"}


def test_scores_without_predictions_are_refused(run):
    with pytest.raises(InputError, match="expected the predictions too; evaluate with keep_pre"):
        write_report(run, evaluate(run, progress=False))


def test_reports_load_no_matplotlib(tmp_path):
    code = "import sys, diffrect; diffrect.write_report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
