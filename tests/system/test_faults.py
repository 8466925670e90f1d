"""A full disk, a read-only folder, a clock that jumps, SIGTERM, a worker that dies."""

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import diffrect.data.prepare as prepare_module
import diffrect.inference.predict_file as predict_module
from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.data.workers import WorkerDiedError
from diffrect.errors import InputError
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from support.disk import check_told, contents, full_disk, without_lock
from support.runs import lines
from support.tiny import scan, write_nifti

resource = pytest.importorskip("resource")

TRAIN = ["--method", "supervised", "--size", "32", "--quiet"]


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_prepare_on_a_full_disk(
    decathlon_folder: Path,
    decathlon_store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "store"
    command = ["prepare", str(decathlon_folder), str(path), "--workers", "1", "--quiet"]
    with full_disk(2000):
        assert cli.main(command) == 2
    case = path / "cases" / "part_000"
    check_told(capsys, case)
    assert unfinished(path) == []
    assert cli.main([*command, "--resume"]) == 0
    assert contents(path) == contents(decathlon_store.path)


def test_prepare_on_a_full_disk_with_workers(
    decathlon_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store"
    command = ["prepare", str(decathlon_folder), str(path), "--workers", "2", "--quiet"]
    with full_disk(2000):
        assert cli.main(command) == 2
    assert f": {os.strerror(errno.EFBIG)}" in capsys.readouterr().err
    assert cli.main([*command, "--resume"]) == 0
    Store(path).verify()


def test_train_on_a_full_disk(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_options = [*TRAIN, "--iterations", "4", "--validate-every", "2"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert cli.main(["train", str(store.path), str(whole), *train_options]) == 0
    capsys.readouterr()
    with full_disk(1_000_000):
        assert cli.main(["train", str(store.path), str(run), *train_options]) == 2
    check_told(capsys, checkpoint_path(run, "last"))
    assert unfinished(run) == []
    assert cli.main(["train", str(store.path), str(run), "--resume", "--quiet"]) == 0
    assert lines(run) == lines(whole)


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(method="supervised", size=32, iterations=4, validate_every=2)
    whole = train(store.path, tmp_path / "whole", config, progress=False)
    run, iteration = tmp_path / "run", Trainer.iteration

    def full(trainer: Trainer, raw: Any) -> Any:
        if trainer.step == 3:
            limits = (1_000_000, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return iteration(trainer, raw)

    with full_disk(10**9), monkeypatch.context() as patch:
        patch.setattr(Trainer, "iteration", full)
        with pytest.raises(OSError, match=r"checkpoints/(best|last)\.pt"):
            train(store.path, run, config, progress=False)
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 2
    train(store.path, run, config, resume=True, progress=False)
    assert lines(run) == lines(whole)


def test_metrics_on_a_full_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_lock(monkeypatch, "training.train")
    config = TrainConfig(method="supervised", size=32, iterations=20, validate_every=20)
    with full_disk(150), pytest.raises(OSError, match=r"config\.yaml"):
        train(store.path, tmp_path / "run", config, progress=False)
    with (
        full_disk(2500),
        pytest.raises(OSError, match=r"options\.yaml|metrics\.jsonl|tensorb|last"),
    ):
        train(store.path, tmp_path / "run", config, overwrite=True, progress=False)


def test_predict_on_a_full_disk(
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without_lock(monkeypatch, "inference.predict")
    image = write_nifti(tmp_path / "a.nii.gz", scan((20, 20, 2), 4, seed=1)[0])
    out = tmp_path / "out"
    command = ["predict", str(tiny_run), str(out), str(image), "--quiet"]
    with full_disk(20):
        assert cli.main(command) == 2
    check_told(capsys, out / "a.nii.gz")
    assert list(out.iterdir()) == []
    assert cli.main(command) == 0


def test_a_read_only_folder_is_named(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(path: Any, *_: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    run = tmp_path / "run"
    monkeypatch.setattr(os, "open", refuse)
    assert cli.main(["train", str(store.path), str(run), *TRAIN, "--iterations", "1"]) == 2
    err = capsys.readouterr().err
    assert err == f"diffrect: error: {run}: {os.strerror(errno.EROFS)}\n"


def test_a_clock_that_jumps_changes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(method="supervised", size=32, iterations=10, validate_every=5)
    whole = train(store.path, tmp_path / "whole", config, progress=False)
    monkeypatch.setattr(time, "time", lambda: random.Random().uniform(0, 4e9))
    jumped = train(store.path, tmp_path / "jumped", config, progress=False)
    assert lines(jumped) == lines(whole)
    costs = [json.loads(line) for line in (jumped / "metrics.jsonl").read_text().splitlines()]
    assert 0 < costs[-1]["minutes"] < 60


def test_a_worker_that_dies_is_explained(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iteration = Trainer.iteration

    def kill(trainer: Trainer, raw: Any) -> Any:
        if trainer.step == 1:
            for child in multiprocessing.active_children():
                child.kill()
        return iteration(trainer, raw)

    monkeypatch.setattr(Trainer, "iteration", kill)
    config = TrainConfig(method="supervised", size=32, iterations=50, validate_every=1, workers=1)
    with pytest.raises(InputError, match=r"^--workers 1: expected processes that last, one was"):
        train(store.path, tmp_path / "run", config, progress=False)
    assert load_checkpoint(checkpoint_path(tmp_path / "run", "last"))["step"] >= 1


@pytest.mark.parametrize("command", ["predict", "prepare"])
def test_sigterm_ends_a_command_as_ctrl_c_does(
    decathlon_folder: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    out, before = tmp_path / "out", signal.getsignal(signal.SIGTERM)
    if command == "predict":
        image = write_nifti(tmp_path / "a.nii.gz", scan((20, 20, 2), 4, seed=1)[0])
        monkeypatch.setattr(predict_module, "segment_by_all", stop)
        arguments = ["predict", str(tiny_run), str(out), str(image), "--probabilities"]
        said = "diffrect: interrupted\n"
    else:
        monkeypatch.setattr(prepare_module, "write_case", stop)
        arguments = ["prepare", str(decathlon_folder), str(out), "--workers", "1"]
        said = f"interrupted; resume with: diffrect prepare {decathlon_folder} {out} --resume\n"
    assert cli.main([*arguments, "--quiet"]) == 130
    assert capsys.readouterr().err.endswith(said)
    assert unfinished(out) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_killed_process_of_prepare_costs_no_finished_case(
    decathlon_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def one_is_killed(function: Any, calls: Any, workers: int) -> Iterator[str]:
        yield function(*calls[0])
        raise WorkerDiedError("one was killed")

    monkeypatch.setattr(prepare_module, "in_parallel", one_is_killed)
    out = tmp_path / "store"
    command = ["prepare", str(decathlon_folder), str(out), "--quiet"]
    assert cli.main([*command, "--workers", "2"]) == 2
    assert "finished cases are kept, resume with: diffrect prepare" in capsys.readouterr().err
    assert [path.name for path in (out / "cases").iterdir()] == ["part_000"]
    assert cli.main([*command, "--workers", "1", "--resume"]) == 0


def test_sigterm_to_all_processes_saves(store: Store, tmp_path: Path) -> None:
    """As SLURM sends it, 30 seconds before it kills: to the workers too."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "diffrect", "train", str(store.path), str(run), *TRAIN]
    command += ["--iterations", "100000", "--validate-every", "50000", "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if (run / "metrics.jsonl").exists() and len(lines(run)) > 1:
                break
            time.sleep(0.1)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGTERM)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert time.monotonic() - started < 30
    assert process.returncode == 130, said
    assert "resume with: diffrect train" in said
    assert "Traceback" not in said
    step = load_checkpoint(checkpoint_path(run, "last"))["step"]
    assert f"stopped after iteration {step} of 100000" in said
    shutil.rmtree(run)
