"""`inspect` recognises runs and models, and says which command takes them."""

import json
import shutil
from pathlib import Path

import pytest

from diffrect.cli import main as cli
from diffrect.data.store import Store


def test_a_run(tiny_run: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(tiny_run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tiny_run}: a run of train\n")
    for fact in ("supervised", "2 of 2", "labelled 1, unlabelled 2, val 1, test 1", "best, last"):
        assert fact in out
    assert out.endswith(f"problems: none\nnext: diffrect evaluate {tiny_run}\n")
    assert cli.main(["inspect", str(tiny_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["problems"]) == ("a run of train", [])
    assert found["facts"]["store"] == str(store.path.resolve())


def test_what_is_wrong_with_a_run(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "my run"))
    shutil.rmtree(run / "checkpoints")
    (run / "split.json").write_text("{")
    (run / "store.txt").write_text("gone\n")
    assert cli.main(["inspect", str(run)]) == 1
    out = capsys.readouterr().out
    assert "problems: 3\n" in out
    assert f"{run}/split.json: expected the split of the run" in out
    assert f"{run}/store.txt: gone is not there; give evaluate --store" in out
    assert f"{run}/checkpoints: expected a checkpoint, found none" in out
    assert out.endswith(f"next: diffrect train STORE '{run}' --resume\n")


def test_a_scored_run_is_ready_to_predict(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (run / "metrics_val.json").touch()
    (run / "checkpoints" / "best.pt").unlink()
    assert cli.main(["inspect", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"next: diffrect predict {run} OUT IMAGE... --checkpoint last\n")


def test_a_checkpoint_names_its_run(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(tiny_run / "checkpoints" / "best.pt")]) == 0
    out = capsys.readouterr().out
    assert ": a checkpoint of train\n" in out
    assert "left ventricle" in out
    assert out.endswith(f"next: diffrect evaluate {tiny_run}\n")
    (tmp_path / "text.pt").write_text("text")
    assert cli.main(["inspect", str(tmp_path / "text.pt")]) == 1
    assert "problems: 1\n" in capsys.readouterr().out


def test_an_exported_model(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(exported)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{exported}: a model made by export\n")
    assert out.endswith(f"next: diffrect predict {exported} OUT IMAGE...\n")
