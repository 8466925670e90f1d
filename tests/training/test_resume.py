"""Resuming after a crash: damaged checkpoints, a cut log, a stop at any point, --overwrite."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import diffrect.training.checkpoints.saving as saving_module
import diffrect.training.train as train_module
import diffrect.training.trainer as trainer_module
from diffrect.atomic import write_atomic
from diffrect.config import TrainConfig, read_config
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.runs.checkpoint import (
    FORMAT_VERSION,
    DamagedCheckpointError,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from diffrect.runs.log import Log
from diffrect.runs.names import LOG_FILE, REPLACED
from diffrect.training.stop import StopRequest
from diffrect.training.train import train
from support.runs import lines, same

CONFIG = TrainConfig(method="supervised", size=32, iterations=12, validate_every=3)


@pytest.fixture(scope="module")
def whole(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    return train(store.path, tmp_path_factory.mktemp("whole") / "run", CONFIG, progress=False)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def resume(store: Store, run: Path) -> None:
    train(store.path, run, read_config(run / "config.yaml"), resume=True, progress=False)


def check_same(run: Path, whole: Path) -> None:
    """Weights, best checkpoint and every line of the metrics."""
    for name in ("last", "best", "previous"):
        mine, theirs = (load_checkpoint(checkpoint_path(r, name)) for r in (run, whole))
        assert same(mine.pop("last_dice", None), theirs.pop("last_dice", None))
        assert same(mine, theirs), name
    assert lines(run) == lines(whole)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "zeros":
        content = bytearray(len(content))
    else:
        content = content[: {"cut": len(content) // 2, "empty": 0}[how]]
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "zeros", "gone"])
def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before(
    store: Store, run: Path, whole: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    last = checkpoint_path(run, "last")
    last.unlink() if how == "gone" else damage(last, how)
    resume(store, run)
    said = capsys.readouterr().err
    fault = "is not there" if how == "gone" else "is damaged"
    assert f"{last} {fault}; resuming from {run}/checkpoints/previous.pt, iteration 9" in said
    check_same(run, whole)


def test_a_kill_between_the_first_two_checkpoints(
    store: Store, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, save = tmp_path / "run", saving_module.save_checkpoint

    def killed(state: Any, path: Path, before: Path | None = None) -> None:
        if path.name == "best.pt":
            raise KeyError("killed")
        save(state, path, before)

    with monkeypatch.context() as patch:
        patch.setattr(saving_module, "save_checkpoint", killed)
        with pytest.raises(KeyError):
            train(store.path, run, CONFIG, progress=False)
    assert load_checkpoint(checkpoint_path(run, "last"))["best_step"] == 3
    assert not checkpoint_path(run, "best").exists()
    resume(store, run)
    check_same(run, whole)


def test_a_damaged_best_checkpoint_is_named(run: Path) -> None:
    from diffrect.inference.model import Model

    damage(checkpoint_path(run, "best"), "flipped")
    with pytest.raises(DamagedCheckpointError, match=r"checkpoints/best\.pt: expected .* damaged"):
        Model.load(run)
    Model.load(run, "last")


def test_any_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "last.pt"
    weights = {"a": torch.rand(40), "b": torch.rand(3, 5)}
    state = {"step": 7, "config": {"method": "x"}, "task": {}, "method": weights}
    save_checkpoint(state, path)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    found = 0
    for place, bit in zip(generator.permutation(len(content))[:300], range(300), strict=True):
        changed = bytearray(content)
        changed[place] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert same(load_checkpoint(path), {"format": FORMAT_VERSION, **state})
        except InputError:
            found += 1
    assert found > 100  # of the others most are padding


def test_lines_that_a_crash_left_are_dropped(store: Store, run: Path, whole: Path) -> None:
    shutil.copy(checkpoint_path(run, "previous"), checkpoint_path(run, "last"))
    with (run / LOG_FILE).open("a") as file:
        file.write('{"kind": "train", "step": 11, "supervi')
    resume(store, run)
    check_same(run, whole)


def test_the_closing_line_is_written_once(store: Store, run: Path, whole: Path) -> None:
    resume(store, run)
    assert lines(run) == lines(whole)
    kept = (run / LOG_FILE).read_text().splitlines()[:-1]
    (run / LOG_FILE).write_text("".join(f"{line}\n" for line in kept))
    resume(store, run)  # killed between the last checkpoint and its last line
    assert lines(run) == lines(whole)


def test_tensorboard_shows_every_step_once(store: Store, run: Path) -> None:
    def steps(tag: str) -> list[int]:
        board = EventAccumulator(str(run / "tensorboard"))
        board.Reload()
        return [event.step for event in board.Scalars(tag)]

    assert steps("val/dice") == [3, 6, 9, 12]
    checkpoint_path(run, "last").unlink()
    resume(store, run)
    assert steps("val/dice") == [3, 6, 9, 12]
    assert steps("train/supervised") == [10, 12]


def test_metrics_of_a_later_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / LOG_FILE
    file.write_text('{"kind": "format", "step": 0, "version": 2}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: expected metrics format 1, got 2"):
        Log(file, 3)
    file.write_text('{"kind": "val", "step": 3, "dice": 0.5}\n{"kind": "val", "step": 4}\n')
    Log(file, 3).close()  # as they were written before they had a version
    assert [json.loads(line)["kind"] for line in file.read_text().splitlines()] == ["format", "val"]


class StopInValidation(StopRequest):
    """SIGTERM in the middle of the second validation."""

    validations = 0

    @property
    def requested(self) -> bool:  # type: ignore[override]
        name = sys._getframe(1).f_code.co_name
        StopInValidation.validations += name == "validate"
        return StopInValidation.validations > 3

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


def test_a_stop_leaves_a_validation_for_later(
    store: Store, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "StopRequest", StopInValidation)
        with pytest.raises(KeyboardInterrupt, match="after iteration 6 of 12"):
            train(store.path, run, CONFIG, progress=False)
    assert load_checkpoint(checkpoint_path(run, "last"))["validated"] == 3
    resume(store, run)
    check_same(run, whole)


def test_checkpoints_from_before_this_was_remembered_go_on(store: Store, run: Path) -> None:
    path = checkpoint_path(run, "last")
    state = load_checkpoint(path)
    for name in ("validated", "skipped", "overflows", "format"):
        del state[name]
    save_checkpoint(state, path)
    before = lines(run)
    resume(store, run)
    assert lines(run) == before


def entries(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("error", [InputError("bad"), OSError(28, "No space left"), KeyError("x")])
def test_a_run_that_cannot_be_replaced_comes_back(
    store: Store, run: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        assert not checkpoint_path(run, "last").exists()
        raise error

    before = entries(run)
    monkeypatch.setattr(trainer_module.Trainer, "iteration", fail)
    with pytest.raises(type(error)):
        train(store.path, run, CONFIG, overwrite=True, progress=False)
    assert entries(run) == before


def test_a_killed_replacement_keeps_the_old_run_until_it_has_a_checkpoint(
    store: Store, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = train_module
    with monkeypatch.context() as patch:
        patch.setattr(module, "take_back", lambda *_, **__: None)  # killed: nobody takes it back
        patch.setattr(module.Trainer, "iteration", lambda *_: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                train(store.path, run, CONFIG, overwrite=True, progress=False)
            assert load_checkpoint(run / REPLACED / "checkpoints" / "last.pt")["step"] == 12
    train(store.path, run, CONFIG, resume=True, progress=False)
    assert not (run / REPLACED).exists()
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 12


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match=r"No space left.*a\.json"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_unfinished_files_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(os.fstat(number).st_mode & 0o777))
    write_atomic(tmp_path / "a", b"1")
    assert seen[0] == 0o600
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
