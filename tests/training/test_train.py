"""The training loop: resuming, stopping, what is written, what is refused."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

import diffrect.training.train as train_module
from diffrect.config import TrainConfig, config_from_dict, read_config
from diffrect.data.batch import Batch
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.data.view_options import VIEW_PRESETS
from diffrect.data.volumes import TrainingVolumes
from diffrect.errors import InputError
from diffrect.inference.model import Model
from diffrect.methods.base import make_teacher, move_average
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.registry import complete
from diffrect.methods.supervised import Supervised
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from diffrect.runs.resume import TrainingState
from diffrect.training.checkpoints.state import restore, state_of
from diffrect.training.stop import StopRequest
from diffrect.training.train import Trainer, train
from diffrect.training.validation import summarise_dice
from support.runs import lines, same

CONFIG = TrainConfig(
    size=32,
    iterations=4,
    batch_labelled=1,
    batch_unlabelled=2,
    validate_every=3,
    options={"rectify_from": 1},
)


class StopAfter(StopRequest):
    """Asks for a stop after some iterations, as Ctrl-C does."""

    iterations = 2

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self.iterations -= 1
        return self.iterations <= 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_resumed_equals_uninterrupted(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: Any
) -> None:
    config = TrainConfig(**{**vars(CONFIG), "preset": preset})
    train(store.path, tmp_path / "whole", config, progress=False)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "StopRequest", StopAfter)
        with pytest.raises(KeyboardInterrupt, match=r"after iteration 2 of 4.*--resume"):
            train(store.path, tmp_path / "halves", config, progress=False)
    train(store.path, tmp_path / "halves", config, resume=True, progress=False)

    whole, halves = (
        load_checkpoint(checkpoint_path(tmp_path / name, "last")) for name in ("whole", "halves")
    )
    assert whole["step"] == 4
    assert {"segmenter", "rectifier"} <= {name.split(".")[0] for name in whole["method"]}
    assert whole["optimizers"].keys() == {"segmenter", "rectifier"}
    for part in ("method", "optimizers", "best", "step"):
        assert same(whole[part], halves[part]), part
    assert lines(tmp_path / "whole") == lines(tmp_path / "halves")


def test_a_resumed_log_repeats_what_the_rectifier_reported_before_the_stop(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"rectify_from": 2, "rectifier_interval": 2}  # the rectifier learns in iteration 0
    config = TrainConfig(**{**vars(CONFIG), "size": 32, "iterations": 2, "options": options})
    train(store.path, tmp_path / "whole", config, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(StopAfter, "iterations", 1)
        patch.setattr(train_module, "StopRequest", StopAfter)
        with pytest.raises(KeyboardInterrupt, match="after iteration 1 of 2"):
            train(store.path, tmp_path / "halves", config, progress=False)
    train(store.path, tmp_path / "halves", config, resume=True, progress=False)
    assert "rectifier_total" in lines(tmp_path / "whole")[-3]
    assert lines(tmp_path / "whole") == lines(tmp_path / "halves")


def test_processes_hold_one_network_and_stop_together(store: Store, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "support" / "two_processes.py"
    command = [sys.executable, script, store.path, tmp_path / "run", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "KeyboardInterrupt: stopped after iteration 1 of 3" in done.stderr, done.stderr
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one["step"] == other["step"] == 1
    # Batch norm's running statistics too, the teacher's, and the labels of all volumes.
    assert same(one, other)
    assert one["volumes._extra_state"]["corrected"]["lengths"].all()
    saved = load_checkpoint(checkpoint_path(tmp_path / "run", "last"))
    assert same(saved["method"], {name: one[name] for name in saved["method"]})
    # Shared out, all volumes were labelled as by one process; the teacher is still the first one.
    config = replace(config_from_dict(saved["config"]), devices=1)
    alone = Trainer(store, tmp_path, config, resolve_split(store)).method
    assert isinstance(alone, DiffRect)
    assert alone.volumes is not None
    alone.volumes.label_all(alone.predictor, torch.empty(0))
    (history,) = one["volumes._extra_state"]["history"]
    assert same(history, alone.volumes.history[-1].state())


def test_resuming_with_other_patients_is_refused(store: Store, tiny_run: Path) -> None:
    config = read_config(tiny_run / "config.yaml")
    others = TrainConfig(**{**vars(config), "labelled": "2"})
    with pytest.raises(InputError, match=r"--resume expected the patients of .*split\.json, --lab"):
        train(store.path, tiny_run, others, resume=True, progress=False)
    moved = TrainConfig(**{**vars(config), "split_file": tiny_run / "split.json"})
    train(store.path, tiny_run, moved, resume=True, progress=False)


def test_double_precision_is_double(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    class Watched(Trainer):
        def make_batch(self, raw: Any) -> Batch:
            batch = super().make_batch(raw)
            seen.update({batch.weak.dtype, batch.strong.dtype})
            return batch

    monkeypatch.setattr(train_module, "Trainer", Watched)
    config = TrainConfig(**{**vars(CONFIG), "precision": "64-true", "iterations": 2})
    run = train(store.path, tmp_path / "run", config, progress=False)
    assert seen == {torch.float64}
    state = load_checkpoint(checkpoint_path(run, "last"))["method"]
    weights = [value for value in state.values() if torch.is_tensor(value)]
    assert {v.dtype for v in weights if v.is_floating_point()} == {torch.float64}
    model = Model.load(run)  # predicts in float32 all the same
    assert next(model.network.parameters()).dtype == torch.float32
    assert model.predict_slices(store.image("patient099_frame01")).shape == (3, 22, 26)


def test_the_loss_scale_is_part_of_the_state(store: Store, tmp_path: Path) -> None:
    config = TrainConfig(method="supervised", size=32)
    trainers = []
    for scale in (4.0, 65536.0):
        trainer = Trainer(store, tmp_path, complete(config), resolve_split(store))
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer.fabric.strategy.precision = MixedPrecision("16-mixed", "cpu", scaler)
        trainers.append(trainer)
    path = tmp_path / "last.pt"
    save_checkpoint(state_of(trainers[0]).to_dict(), path)
    restore(trainers[1], TrainingState.from_dict(load_checkpoint(path)))
    assert trainers[1].fabric.strategy.precision.scaler.get_scale() == 4.0


def test_run_folder_tells_what_was_done(store: Store, tmp_path: Path) -> None:
    config = TrainConfig(method="supervised", size=32, iterations=12, validate_every=6)
    run = train(store.path, tmp_path / "run", config)
    assert read_config(run / "config.yaml") == config
    assert yaml.safe_load((run / "options.yaml").read_text()) == dict(complete(config).options)
    assert json.loads((run / "split.json").read_text())["labelled"] == ["patient099"]
    assert Path((run / "store.txt").read_text().strip()) == store.path.resolve()
    assert list((run / "tensorboard").iterdir())
    kinds = [(line["kind"], line["step"]) for line in lines(run)]
    assert kinds == [
        ("format", 0),
        ("val", 6),
        ("train", 10),
        ("train", 12),
        ("val", 12),
        ("end", 12),
    ]
    scores = {line["dice"]: line["step"] for line in lines(run) if line["kind"] == "val"}
    best, last = (load_checkpoint(checkpoint_path(run, name)) for name in ("best", "last"))
    assert last["best"] == max(scores)
    assert last["best_step"] == best["step"]
    model = Model.load(run)
    assert (model.channels, model.size, model.intensity) == (1, 32, "minmax")
    assert model.step == best["step"]


def test_a_checkpoint_outlives_other_defaults(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(method="supervised", size=32, iterations=1)
    run = train(store.path, tmp_path / "run", config, progress=False)
    changed = {"interpolation": "nearest", "jitter_low": 0.9}
    monkeypatch.setitem(VIEW_PRESETS, "default", changed)
    assert complete(config).options["interpolation"] == "nearest"
    assert Model.load(run).interpolation == "linear"


def test_existing_run_is_kept(store: Store, tiny_run: Path, tmp_path: Path) -> None:
    before = (tiny_run / "config.yaml").read_bytes()
    with pytest.raises(InputError, match="expected --resume or --overwrite"):
        train(store.path, tiny_run, CONFIG, progress=False)
    with pytest.raises(InputError, match=r"--resume expected \w+ .* got"):
        train(store.path, tiny_run, CONFIG, resume=True, progress=False)
    assert (tiny_run / "config.yaml").read_bytes() == before


def test_overwrite_removes_what_trainings_write_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = TrainConfig(method="supervised", size=32, iterations=1)
    train(store.path, run, config, progress=False)
    for name in ("notes.txt", "metrics_val.json"):
        (run / name).touch()
    first = (run / "metrics.jsonl").read_text()
    train(store.path, run, config, overwrite=True, progress=False)
    assert (run / "notes.txt").exists()
    assert not (run / "metrics_val.json").exists()
    assert (run / "metrics.jsonl").read_text() != first
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_a_run_without_any_checkpoint_starts_again_when_resumed(
    store: Store, tmp_path: Path
) -> None:
    config = TrainConfig(method="supervised", size=32, iterations=1)
    run = train(store.path, tmp_path / "run", config, progress=False)
    for name in ("best", "last"):
        checkpoint_path(run, name).unlink()
    train(store.path, run, config, resume=True, progress=False)
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 1


def test_a_resumed_run_remembers_where_the_store_is_now(
    store: Store, tiny_run: Path, tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(tiny_run, run)
    shutil.copytree(store.path, moved)
    train(moved, run, read_config(run / "config.yaml"), resume=True, progress=False)
    assert Path((run / "store.txt").read_text().strip()) == moved


def test_too_large_a_batch_is_explained(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    monkeypatch.setattr(Supervised, "updates", exhausted)
    config = TrainConfig(method="supervised", size=32, iterations=1)
    with pytest.raises(InputError, match=r"^--size 32 --batch-labelled 3 .* memory of cpu"):
        train(store.path, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def test_bad_input_writes_nothing(store: Store, tmp_path: Path) -> None:
    wrong = (
        TrainConfig(labelled="99"),
        TrainConfig(options={"nonsense": 1}),
        TrainConfig(batch_unlabelled=0),
    )
    for config in wrong:
        with pytest.raises(InputError):
            train(store.path, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def test_learning_lowers_the_loss(store: Store, tmp_path: Path) -> None:
    config = TrainConfig(
        method="supervised", size=32, iterations=40, validate_every=40, learning_rate=0.05
    )
    train(store.path, tmp_path / "run", config, progress=False)
    losses = [line["supervised"] for line in lines(tmp_path / "run") if line["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


def test_checkpoints_load_no_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "written",)

    torch.save(Hostile(), tmp_path / "hostile.pt")
    with pytest.raises(InputError, match=r"hostile\.pt: expected a checkpoint of tensors"):
        load_checkpoint(tmp_path / "hostile.pt")
    assert not (tmp_path / "written").exists()


def test_broken_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    with pytest.raises(InputError, match="found no such file"):
        load_checkpoint(path)
    state = {"step": 1, "config": {}, "task": {}, "method": {"w": torch.rand(100)}}
    save_checkpoint(state, path)
    assert load_checkpoint(path)["step"] == 1
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(path)
    torch.save({"step": 1}, path)
    with pytest.raises(InputError, match="lacks its entries"):
        load_checkpoint(path)
    torch.save({**state, "format": 99}, path)
    with pytest.raises(InputError, match="expected checkpoint format 2 or 1, got 99"):
        load_checkpoint(path)


def test_moving_average_starts_as_a_copy_and_lags() -> None:
    student = nn.BatchNorm1d(1)
    teacher = make_teacher(student)
    nn.init.constant_(student.weight, 5.0)
    move_average(teacher, student, 0.99, step=0)
    assert teacher.weight.item() == 5.0
    nn.init.constant_(student.weight, 0.0)
    move_average(teacher, student, 0.99, step=4)  # a = .8
    assert teacher.weight.item() == pytest.approx(4.0)
    assert not teacher.weight.requires_grad


def test_validation_leaves_undefined_classes_out() -> None:
    import numpy as np

    scores = summarise_dice(np.array([[0.5, np.nan], [0.7, np.nan]]), ("a", "b"), ("a",))
    assert scores["dice"] == scores["dice_a"] == pytest.approx(0.6)
    assert math.isnan(scores["dice_b"])
    # A stray pixel of a class that no case shows changes nothing, and is seen.
    stray = summarise_dice(np.array([[0.5, 0.0], [0.7, np.nan]]), ("a", "b"), ("a",))
    assert (stray["dice"], stray["dice_b"]) == (scores["dice"], 0)
    assert math.isnan(summarise_dice(np.zeros((1, 1)), ("a",), ())["dice"])
    assert math.isnan(summarise_dice(np.full((1, 1), np.nan), ("a",), ())["dice"])


def test_second_ctrl_c_stops_at_once() -> None:
    import signal

    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


class NeedsVolumes(Supervised):
    """Remembers what the loop attaches."""

    attached: TrainingVolumes | None = None

    @property
    def needs_volumes(self) -> bool:
        return True

    def attach(self, volumes: TrainingVolumes) -> None:
        self.attached = volumes


def test_a_method_that_needs_volumes_gets_them(store: Store, tmp_path: Path) -> None:
    config = complete(TrainConfig(method="supervised", size=32))
    split = resolve_split(store)
    own = replace(config, method=f"{__name__}:NeedsVolumes")
    method = Trainer(store, tmp_path, own, split).method
    assert isinstance(method, NeedsVolumes)
    assert method.attached is not None
    assert method.attached.images.shape[0] == len(store.slices(split.train))
    assert not Trainer(store, tmp_path, config, split).method.needs_volumes
