"""One writer at a time of what predict, evaluate, export and demo write; leftovers go."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import diffrect.evaluation.evaluate as evaluate_module
import diffrect.inference.export as export_module
import diffrect.inference.predict_file as predict_module
from diffrect.cli import main as cli
from diffrect.comparison.cell import clear_unusable
from diffrect.distributed.locks import LockedError, sole_writer
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.export import export
from diffrect.inference.predict import predict
from diffrect.runs.names import CONFIG_FILE, SPLIT_FILE
from diffrect.showcase.demo import SETTINGS_FILE, check_folder, demo, start_folder
from diffrect.showcase.settings import DemoSettings
from support.tiny import scan, write_nifti


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_nifti(tmp_path / "a.nii.gz", scan((20, 20, 2), 4, seed=1)[0])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_second_predict_into_a_folder_is_refused(
    tiny_run: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, segment = tmp_path / "out", predict_module.segment_by_all
    command = ["predict", str(tiny_run), str(out), str(image), "--overwrite", "--quiet"]

    def others(*arguments: Any, **options: Any) -> Any:
        assert cli.main(command) == 2
        return segment(*arguments, **options)

    monkeypatch.setattr(predict_module, "segment_by_all", others)
    predict(tiny_run, out, [image], progress=False)
    said = capsys.readouterr().err
    assert said.startswith(f"diffrect: error: {out}: is being written by process ")
    assert said.count("\n") == 1
    assert names(out) == {"a.nii.gz"}
    with pytest.raises(InputError, match=r"a\.nii\.gz: exists already"):
        predict(tiny_run, out, [image], progress=False)
    assert names(out) == {"a.nii.gz"}


def test_predict_removes_what_a_killed_one_left_of_probabilities(
    tiny_run: Path, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (
        ".a_probabilities.nii.gz.00ff.partial",
        ".a_probabilities.nii.gz.scratch.7.partial",
        ".a.nii.gz.00ff.partial",
        ".b.nii.gz.00ff.partial",
    ):
        (out / name).touch()
    predict(tiny_run, out, [image], progress=False)
    assert names(out) == {"a.nii.gz", ".b.nii.gz.00ff.partial"}  # b is not written


def test_a_split_is_scored_by_one_command_at_a_time(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, refused = evaluate_module._score, []

    def others(*arguments: Any) -> Any:
        monkeypatch.setattr(evaluate_module, "_score", score)
        with pytest.raises(LockedError, match=r"metrics_val\.json: is being written by") as error:
            evaluate(run, progress=False)
        refused.append(error)
        evaluate(run, split="test", progress=False)
        return score(*arguments)

    before = names(run)
    (run / ".metrics_val.json.00ff.partial").touch()
    monkeypatch.setattr(evaluate_module, "_score", others)
    with sole_writer(run):  # a RUN can be scored while it trains
        evaluate(run, progress=False)
    assert len(refused) == 1
    assert names(run) == before | {"metrics_val.json", "metrics_test.json"}


@pytest.mark.parametrize("fate", ["replaced", "removed"])
def test_scores_of_a_run_that_is_gone_are_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    score = evaluate_module._score

    def replace(*arguments: Any) -> Any:
        monkeypatch.setattr(evaluate_module, "_score", score)
        if fate == "removed":
            shutil.rmtree(run)
        else:
            (run / SPLIT_FILE).rename(run / "old")
            shutil.copy(run / "old", run / SPLIT_FILE)
        return score(*arguments)

    monkeypatch.setattr(evaluate_module, "_score", replace)
    with pytest.raises(InputError, match=f"run: was {fate} "):
        evaluate(run, progress=False)
    assert not list(run.parent.rglob("*metrics_*"))
    assert run.exists() == (fate == "replaced")


def test_an_exported_file_has_one_writer(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.onnx"

    def write(model: Any, path: Path) -> None:
        with pytest.raises(LockedError, match=r"model\.onnx: is being written by process"):
            export(tiny_run, file, overwrite=True)
        path.touch()

    (tmp_path / ".model.onnx.7.partial").touch()
    monkeypatch.setattr(export_module, "_write", write)
    monkeypatch.setattr(export_module, "_compare", lambda *_: None)
    monkeypatch.setattr(export_module, "OnnxNetwork", lambda _: None)
    export(tiny_run, file)
    assert names(tmp_path) == {"model.onnx"}


def test_a_demo_has_its_folder_to_itself(tmp_path: Path) -> None:
    start_folder(tmp_path, DemoSettings(), overwrite=False)
    with sole_writer(tmp_path):
        for overwrite in (False, True):
            with pytest.raises(LockedError):
                demo(tmp_path, overwrite=overwrite, progress=False)
    (tmp_path / f".{SETTINGS_FILE}.00ff.partial").touch()
    (tmp_path / ".split.json.00ff.partial").touch()
    assert len(check_folder(tmp_path, overwrite=True)) == 3
    start_folder(tmp_path, DemoSettings(), overwrite=True)
    assert names(tmp_path) == {SETTINGS_FILE}


def test_a_comparison_removes_no_run_at_work(tmp_path: Path) -> None:
    with sole_writer(tmp_path):
        (tmp_path / CONFIG_FILE).touch()
        with pytest.raises(LockedError):
            clear_unusable(tmp_path)
    assert (tmp_path / CONFIG_FILE).exists()
    clear_unusable(tmp_path)
    assert not tmp_path.exists()
