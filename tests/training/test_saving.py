"""Checkpoints are written in the background, whole, and take little room."""

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import diffrect.training.checkpoints.saving as saving_module
from diffrect.atomic import write_atomic
from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.batch import RawBatch
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.inference.load import load_method
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.registry import complete
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.checkpoints.saving import Saver, copied
from diffrect.training.checkpoints.state import model_of, state_of
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from support.runs import lines, same

CONFIG = TrainConfig(method="supervised", size=32, iterations=9, validate_every=3)
PATIENCE = 60  # seconds, on a busy machine


def test_iterations_continue_while_a_checkpoint_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is so slow that the first checkpoint is not there before two more iterations."""
    whole = train(store.path, tmp_path / "whole", CONFIG, progress=False)
    save, iteration = saving_module.save_checkpoint, Trainer.iteration
    continued, waited = threading.Event(), []

    def slow(state: Any, path: Path, before: Path | None = None) -> None:
        waited.append(continued.wait(PATIENCE))
        save(state, path, before)

    def counted(trainer: Trainer, raw: RawBatch) -> dict[str, float]:
        logs = iteration(trainer, raw)
        if trainer.step == 5:
            assert not checkpoint_path(trainer.run, "last").exists()
            continued.set()
        return logs

    monkeypatch.setattr(saving_module, "save_checkpoint", slow)
    monkeypatch.setattr(Trainer, "iteration", counted)
    run = train(store.path, tmp_path / "run", CONFIG, progress=False)
    assert waited
    assert all(waited)
    # What was written late is the state of the validation, and not of the iterations since.
    for name in ("last", "best", "previous"):
        mine, theirs = (load_checkpoint(checkpoint_path(r, name)) for r in (run, whole))
        assert same(mine, theirs), name
    assert lines(run) == lines(whole)


def test_a_write_that_fails_ends_the_training_at_once(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    iteration, done = Trainer.iteration, []

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.pt")

    def counted(trainer: Trainer, raw: RawBatch) -> dict[str, float]:
        logs = iteration(trainer, raw)
        deadline = time.monotonic() + PATIENCE
        while trainer.step == 4 and not trainer.saver.failed and time.monotonic() < deadline:
            time.sleep(0.01)
        done.append(trainer.step)
        return logs

    monkeypatch.setattr(saving_module, "save_checkpoint", full)
    monkeypatch.setattr(Trainer, "iteration", counted)
    options = ["--method", "supervised", "--size", "32", "--iterations", "9", "--quiet"]
    run = tmp_path / "run"
    assert cli.main(["train", str(store.path), str(run), *options, "--validate-every", "3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"diffrect: error: last.pt: {os.strerror(errno.ENOSPC)}; free some")
    assert said.count("\n") == 1
    assert done in ([1, 2, 3], [1, 2, 3, 4])  # and not until the next validation
    assert not list(run.glob("checkpoints/*"))


def test_a_stop_waits_for_the_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, iteration = saving_module.save_checkpoint, Trainer.iteration

    def slow(state: Any, path: Path, before: Path | None = None) -> None:
        time.sleep(0.2)
        save(state, path, before)

    def stopped(trainer: Trainer, raw: RawBatch) -> dict[str, float]:
        logs = iteration(trainer, raw)
        if trainer.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return logs

    monkeypatch.setattr(saving_module, "save_checkpoint", slow)
    monkeypatch.setattr(Trainer, "iteration", stopped)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="stopped after iteration 4 of 9"):
        train(store.path, run, CONFIG, progress=False)
    steps = {n: load_checkpoint(checkpoint_path(run, n))["step"] for n in ("last", "best")}
    assert steps == {"last": 4, "best": 3}
    assert not [path for path in run.rglob(".*")]
    assert "checkpoint" not in {thread.name for thread in threading.enumerate()}


def test_a_second_ctrl_c_waits_until_nothing_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = Saver(Trainer(store, tmp_path, complete(CONFIG), resolve_split(store)).fabric, tmp_path)
    written: list[int] = []
    saver.thread = threading.Thread(target=lambda: (time.sleep(0.3), written.append(1)))
    saver.thread.start()
    join, interrupts = threading.Thread.join, iter([True, True])

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if next(interrupts, False):
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        saver.close()
    assert written == [1]


def test_a_copy_is_one() -> None:
    tensor = torch.arange(4.0).view(2, 2).t()
    state = {"a": tensor, "b": [tensor, {"c": (tensor, 3)}], "d": "text"}
    copy = copied(state)
    assert same(copy["a"], tensor.clone())
    assert copy["a"].stride() == tensor.stride()
    tensor += 1
    assert copy["a"][0, 0] == copy["b"][0][0, 0] == copy["b"][1]["c"][0][0, 0] == 0
    assert (copy["b"][1]["c"][1], copy["d"]) == (3, "text")


def test_what_the_disk_does_not_hold_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, fsync = tmp_path / "a", os.fsync
    write_atomic(file, b"old", verify=True)

    def worn_out(number: int) -> None:
        fsync(number)
        os.pwrite(number, b"x", 2_000_000)

    monkeypatch.setattr(os, "fsync", worn_out)
    with pytest.raises(OSError, match=r"the disk does not hold what was written.*a'"):
        write_atomic(file, bytes(3_000_000), verify=True)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_the_room_that_a_diffrect_run_takes(store: Store, tmp_path: Path, preset: Any) -> None:
    config = TrainConfig(preset=preset, size=32, batch_labelled=2, batch_unlabelled=2)
    trainer = Trainer(store, tmp_path, complete(config), resolve_split(store))
    for optimizer in trainer.optimizers.values():  # they have moments from the first step on
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    for _ in range(2):
        trainer.saver.save(state_of(trainer), {"best": model_of(trainer)})
    trainer.saver.wait()
    files = {path.name: path.stat().st_size for path in (tmp_path / "checkpoints").iterdir()}
    assert files.keys() == {"last.pt", "best.pt"}
    assert 100_000_000 < sum(files.values()) < 200_000_000
    best, last = load_method(tmp_path, "best").method, load_method(tmp_path, "last").method
    assert same(best.predictor.state_dict(), last.predictor.state_dict())
    assert isinstance(best, DiffRect)
    assert isinstance(last, DiffRect)
    halves = {n: v for n, v in last.rectifier.state_dict().items()}
    for name, value in best.rectifier.state_dict().items():
        rounded = halves[name].half().float() if value.dim() > 1 else halves[name]
        assert torch.equal(value, rounded), name
