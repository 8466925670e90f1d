"""How a training begins: one at a time in a RUN, resumed from nothing, in place of a failed one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrect.cli import main as cli
from diffrect.cli.parsing import check_resume
from diffrect.cli.train import Train
from diffrect.config import TrainConfig, read_config
from diffrect.data.store import Store
from diffrect.distributed.locks import LOCK_FILE, LockedError, LostLockError
from diffrect.errors import InputError
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.names import CONFIG_FILE, LOG_FILE, REPLACED, SPLIT_FILE
from diffrect.training.train import train
from diffrect.training.trainer import Trainer

CONFIG = TrainConfig(
    method="supervised", size=32, iterations=2, validate_every=1, batch_labelled=2, seed=5
)
ITERATION = Trainer.iteration


def before_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[Trainer], Any]) -> None:
    """Have something done before an iteration."""

    def iteration(trainer: Trainer, raw: Any) -> Any:
        if trainer.step == step:
            act(trainer)
        return ITERATION(trainer, raw)

    monkeypatch.setattr(Trainer, "iteration", iteration)


def failed(store: Store, run: Path, monkeypatch: pytest.MonkeyPatch, **kept: Any) -> Path:
    """A training that ended before its first checkpoint, by a fault of the program."""
    with monkeypatch.context() as patch:
        before_step(patch, 0, lambda trainer: {}["fault"])
        with pytest.raises(KeyError, match="fault"):
            train(store.path, run, CONFIG, progress=False, **kept)
    return run


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


# ---- one at a time ----------------------------------------------------------------------------


def test_a_run_at_work_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    said = rf"^{run}: is being written by process \d+ on .* since 2"

    def others(trainer: Trainer) -> None:
        before = files(run)
        for flags in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(LockedError, match=said):
                train(store.path, run, CONFIG, progress=False, **flags)
        assert cli.main(["train", str(store.path), str(run), "--resume"]) == 2
        assert capsys.readouterr().err.startswith(f"diffrect: error: {run}: is being written by")
        assert files(run) == before

    before_step(monkeypatch, 0, others)
    train(store.path, run, CONFIG, progress=False)
    assert not (run / LOCK_FILE).exists()


@pytest.mark.parametrize("taken", [False, True])
def test_a_run_that_is_removed_under_its_training_stays_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    run = tmp_path / "run"

    def remove(trainer: Trainer) -> None:
        shutil.rmtree(run)
        if taken:  # another training has begun there, on another machine
            run.mkdir()
            (run / LOCK_FILE).write_text('{"pid": 4, "host": "elsewhere"}')
            (run / CONFIG_FILE).write_text("seed: 7")

    before_step(monkeypatch, 1, remove)
    said = "was taken over by process 4" if taken else "was removed while the command was at work"
    with pytest.raises(LostLockError, match=f"^{run}: {said}"):
        train(store.path, run, CONFIG, progress=False)
    assert {path.name for path in run.glob("*")} == ({LOCK_FILE, CONFIG_FILE} if taken else set())


def test_a_run_that_is_removed_before_its_log_is_open_stays_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(
        "diffrect.training.train._fit",
        lambda trainer, *_: [shutil.rmtree(run), (run / LOG_FILE).write_text("")],
    )
    with pytest.raises(LostLockError, match="run: was removed"):
        train(store.path, run, CONFIG, progress=False)
    assert not run.exists()


# ---- resuming ---------------------------------------------------------------------------------


def settings(*arguments: object) -> TrainConfig:
    given = ["train", "STORE", *map(str, arguments)]
    command = cli.parse(given)
    check_resume(command, given)
    assert isinstance(command, Train)
    return command.settings


def test_resume_alone_needs_something_to_resume(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    said = r"run: expected a training to resume, found {}; to start one .* such as --labelled 1$"
    assert cli.main(["train", str(store.path), str(run), "--resume"]) == 2
    assert "to resume, found no such folder; to start one with" in capsys.readouterr().err
    for arguments in ((), ("--workers", 2, "--devices=2", "--nonfinite", "skip", "--quiet")):
        with pytest.raises(InputError, match=said.format("no such folder")):
            settings(run, "--resume", *arguments)
    with pytest.raises(InputError, match=said.format("no such folder")):
        train(store.path, run, resume=True, progress=False)
    assert not run.exists()
    run.mkdir()
    with pytest.raises(InputError, match=said.format(r"no config\.yaml in it")):
        settings(run, "--resume")
    (run / REPLACED).mkdir()
    with pytest.raises(
        InputError, match=said.format("only the run that --overwrite was to replace")
    ):
        settings(run, "--resume")


@pytest.mark.parametrize(
    "option",
    [
        "--labelled 3",
        "--method diffrect",
        "--batch_labelled=4",
        "--option blur_sigma=2",
        "--rectify-from 7",
        "--preset default",
        "--cross-validate 3",
    ],
)
def test_a_command_that_says_what_to_train_starts_where_nothing_is(
    tmp_path: Path, option: str
) -> None:
    assert settings(tmp_path / "run", *option.split(), "--resume") is not None


def test_resume_alone_is_the_training_that_ended_before_its_first_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = failed(store, tmp_path / "run", monkeypatch)
    assert read_config(run / CONFIG_FILE) == settings(run, "--resume") == CONFIG
    patients = (run / SPLIT_FILE).read_text()
    train(store.path, run, resume=True, progress=False)
    assert (run / SPLIT_FILE).read_text() == patients
    state = load_checkpoint(checkpoint_path(run, "last"))
    assert (state["step"], state["config"]["seed"], state["config"]["size"]) == (2, 5, 32)


def test_a_begun_training_is_not_resumed_as_another(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = failed(store, tmp_path / "run", monkeypatch)
    before = files(run)
    for change, said in (
        ({"seed": 6}, "--resume expected seed 5 as the run was started with, got 6"),
        ({"labelled": 2}, r"--resume expected the patients of \S+split\.json, --labelled"),
    ):
        other = TrainConfig(**{**vars(CONFIG), **change})
        with pytest.raises(InputError, match=said):
            train(store.path, run, other, resume=True, progress=False)
    assert files(run) == before


def test_the_configuration_is_there_at_any_moment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a resumed training that has no checkpoint is killed while it starts again."""
    run = failed(store, tmp_path / "run", monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("diffrect.runs.folder.write_config", lambda *_: {}["killed"])
        with pytest.raises(KeyError, match="killed"):
            train(store.path, run, resume=True, progress=False)
    assert read_config(run / CONFIG_FILE) == CONFIG
    assert not (run / SPLIT_FILE).exists()  # so it cannot belong to another configuration


# ---- in place of another ----------------------------------------------------------------------


def test_a_run_that_failed_before_its_first_checkpoint_is_replaced(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = failed(store, tmp_path / "run", monkeypatch)
    assert (run / LOG_FILE).is_file()
    other = TrainConfig(**{**vars(CONFIG), "seed": 6, "iterations": 1})
    train(store.path, run, other, progress=False)
    said = f"{run}: replaces a training that ended before its first checkpoint\n"
    assert capsys.readouterr().err == said
    assert load_checkpoint(checkpoint_path(run, "last"))["config"]["seed"] == 6
    with pytest.raises(InputError, match="exists already; expected --resume or --overwrite"):
        train(store.path, run, other, progress=False)


@pytest.mark.parametrize("kept", ["metrics_test.json", "cell.json", REPLACED, LOG_FILE])
def test_a_run_that_holds_a_result_is_not(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    run = failed(store, tmp_path / "run", monkeypatch)
    with (run / kept).open("a") as file:
        file.write(json.dumps({"kind": "end", "step": 2}))
    before = files(run)
    with pytest.raises(InputError, match="exists already"):
        train(store.path, run, CONFIG, progress=False)
    assert files(run) == before


def test_nothing_is_left_of_a_learning_rate_that_is_too_high(store: Store, tmp_path: Path) -> None:
    rate = {**vars(CONFIG), "learning_rate": 1e6, "validate_every": 2}
    with pytest.raises(InputError, match="finite"):
        train(store.path, tmp_path / "run", TrainConfig(**rate), progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [1e308, float("inf"), float("nan"), 0, -1])
def test_a_learning_rate_is_a_number_of_32_bits(rate: float) -> None:
    with pytest.raises(InputError, match="learning_rate: expected a positive number up to 1e"):
        TrainConfig(learning_rate=rate)
