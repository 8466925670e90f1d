"""Numbers that blow up: stopped or skipped, never saved, never silent."""

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning_fabric.plugins.precision import MixedPrecision

from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.batch import Batch
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.methods.base import Update
from diffrect.methods.registry import complete
from diffrect.methods.supervised import Supervised, SupervisedOptions
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.names import LOG_FILE
from diffrect.training.finite import LIMIT, check_state, find_blow_up
from diffrect.training.train import train
from diffrect.training.trainer import Trainer


class _Poison(torch.autograd.Function):
    """Leaves a number as it is and spoils its gradient."""

    @staticmethod
    def forward(context: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient * math.inf


class Exploding(Supervised):
    """A method whose numbers are spoilt at some iterations, batch norm's among them."""

    Options = SupervisedOptions
    steps: ClassVar[set[int]] = {2}
    what: ClassVar[str] = "loss"

    def updates(self, batch: Batch, step: int) -> Any:
        for update in super().updates(batch, step):
            loss = update.loss
            if step in self.steps:
                self.segmenter.encoder.blocks[0].first.norm.running_mean.data.fill_(math.nan)
                loss = loss * math.nan if self.what == "loss" else _Poison.apply(loss)
            yield Update(update.name, loss, update.logs)


CONFIG = TrainConfig(method=f"{__name__}:Exploding", size=32, iterations=4, validate_every=1)


def finite(run: Path) -> bool:
    held = [load_checkpoint(path) for path in (run / "checkpoints").glob("*.pt")]
    states = [state["method"] if "method" in state else state["predictor"] for state in held]
    assert states
    return all(v.isfinite().all() for state in states for v in state.values())


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_the_run_stops_within_the_step(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(Exploding, "what", what)
    run = tmp_path / "run"
    message = rf"run: the {what} of the segmenter update .* at iteration 2 \(cases pat.*--nonfinite"
    with pytest.raises(InputError, match=message) as caught:
        train(store.path, run, CONFIG, progress=False)
    assert "\n" not in str(caught.value)
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 2
    assert finite(run)


def test_nothing_is_left_of_a_run_that_blows_up_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Exploding, "steps", {0})
    with pytest.raises(InputError, match="at iteration 0"):
        train(store.path, tmp_path / "run", CONFIG, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_skipped_iterations_are_counted_and_leave_no_trace(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    monkeypatch.setattr(Exploding, "what", what)
    run = train(
        store.path,
        tmp_path / "run",
        TrainConfig(**{**vars(CONFIG), "nonfinite": "skip"}),
        progress=False,
    )
    assert finite(run)
    entries = [json.loads(line) for line in (run / LOG_FILE).read_text().splitlines()]
    skipped = [entry for entry in entries if entry["kind"] == "skipped"]
    assert [entry["step"] for entry in skipped] == [3]
    assert skipped[0]["cases"][0].startswith("patient099")
    assert next(e for e in entries if e["kind"] == "train")["skipped"] == 1
    assert load_checkpoint(checkpoint_path(run, "last"))["skipped"] == 1
    assert capsys.readouterr().err.count("iteration 2") == 1


def test_a_run_that_stopped_goes_on_with_skipping(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError):
        train(store.path, run, CONFIG, progress=False)
    command = ["train", str(store.path), str(run), "--resume", "--nonfinite", "skip", "--quiet"]
    assert cli.main(command) == 0
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 4
    assert "skipped" in capsys.readouterr().err


def test_skipping_has_an_end(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffrect.training.finite.LIMIT", 2)
    monkeypatch.setattr(Exploding, "steps", {1, 2, 3, 4, 5, 6})
    config = TrainConfig(**{**vars(CONFIG), "nonfinite": "skip", "iterations": 7})
    with pytest.raises(InputError, match="at iteration 3 "):
        train(store.path, tmp_path / "run", config, progress=False)
    assert LIMIT == 100


def test_gradients_that_overflow_lower_the_loss_scale(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Exploding, "what", "gradient")
    monkeypatch.setattr(Exploding, "steps", {0, 1, 2, 3})
    trainer = Trainer(store, tmp_path, complete(CONFIG), resolve_split(store))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    trainer.fabric.strategy.precision = MixedPrecision("16-mixed", "cpu", scaler)
    before = [p.clone() for p in trainer.method.parameters()]
    for scale in (2.0, 1.0):
        assert trainer.iteration(trainer.batches[0])["overflows"] == trainer.step
        assert scaler.get_scale() == scale
    assert all(map(torch.equal, before, trainer.method.parameters()))
    with pytest.raises(InputError, match="the gradient of the segmenter"):
        trainer.iteration(trainer.batches[0])


def test_no_checkpoint_holds_a_number_that_is_none() -> None:
    good = {"method": {"w": torch.ones(2), "n": torch.ones(1, dtype=torch.int64)}, "step": 1}
    check_state(good, "last.pt")
    bad = {"method": {"w": torch.ones(2), "v": torch.tensor([1.0, math.inf])}}
    with pytest.raises(InputError, match=r"^last.pt: expected finite weights to save, method.v is"):
        check_state(bad, "last.pt")


def test_what_blew_up() -> None:
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight, torch.ones(1, requires_grad=True)], lr=1)
    assert find_blow_up(torch.tensor(1.0), optimizer) is None
    weight.grad = torch.tensor([0.0, 1e30, -1.0])
    assert find_blow_up(torch.tensor(1.0), optimizer) == "gradient"  # its square is not finite
    weight.grad = torch.tensor([0.0, 1.0, math.nan])
    assert find_blow_up(torch.tensor(1.0), optimizer) == "gradient"
    assert find_blow_up(torch.tensor(math.nan), optimizer) == "loss"


def test_half_precision_needs_a_gpu(store: Store, tmp_path: Path) -> None:
    config = TrainConfig(**{**vars(CONFIG), "precision": "16-mixed", "device": "cpu"})
    with pytest.raises(InputError, match=r"--precision 16-mixed: expected a GPU.* give 32-true"):
        train(store.path, tmp_path / "run", config, progress=False)
