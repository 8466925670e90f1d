"""The moving average of every method: it is DiffRect's, changes nothing, resumes and is scored."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diffrect.comparison.run import compare
from diffrect.config import TrainConfig
from diffrect.data.choose_split import resolve_split
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.model import Model
from diffrect.methods.registry import complete
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from diffrect.runs.resume import TrainingState
from diffrect.training.average import Candidates
from diffrect.training.checkpoints.state import restore, state_of
from diffrect.training.train import Trainer, train
from support.runs import lines

CONFIG = TrainConfig(
    method="ict", size=32, iterations=4, batch_labelled=1, batch_unlabelled=2, average=0.99
)


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def trainer(config: TrainConfig, store: Store, run: Path) -> Trainer:
    return Trainer(store, run, complete(config), resolve_split(store))


def average_of(made: Trainer) -> Mapping[str, Any]:
    assert made.candidates is not None
    return made.candidates.average.network.state_dict()


def test_it_is_diffrect_s_moving_average(store: Store, tmp_path: Path) -> None:
    """So a rival is scored as `diffrect` is, to the last bit."""
    options = {"rectification": False}
    config = replace(CONFIG, method="diffrect", batch_unlabelled=3, options=options)
    made = trainer(config, store, tmp_path)
    assert made.predictor is not made.method.segmenter
    for step in range(3):
        made.iteration(made.batches[step])
        assert same(average_of(made), made.predictor.state_dict())
        assert not same(average_of(made), made.method.segmenter.state_dict())


@pytest.mark.parametrize("method", ["supervised", "bcp", "unimatch", "ad_mt"])
def test_it_changes_no_training_and_resumes(method: str, store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, method=method)
    plain = trainer(replace(config, average=0.0), store, tmp_path)
    whole, halves = (trainer(config, store, tmp_path) for _ in range(2))
    path = checkpoint_path(tmp_path, "last")
    for step in range(3):
        for made in (plain, whole):
            made.iteration(made.batches[step])
        if step == 1:
            assert whole.candidates is not None
            whole.candidates.judge({"student": 0.25, "average": 0.5}, 2)
            save_checkpoint(state_of(whole).to_dict(), path)
    assert same(plain.method.state_dict(), whole.method.state_dict())
    assert state_of(plain).average == {}
    restore(halves, TrainingState.from_dict(load_checkpoint(path)))
    halves.iteration(halves.batches[2])
    assert same(average_of(halves), average_of(whole))
    assert halves.candidates is not None
    assert halves.candidates.best == {"student": 0.25, "average": 0.5}


def test_each_is_chosen_by_its_own_validation() -> None:
    candidates = Candidates(None, None)  # type: ignore[arg-type]  # neither is asked
    nan = float("nan")
    steps = []
    for step, dice in enumerate([(0.5, 0.4), (0.4, 0.6), (0.5, nan)]):
        candidates.judge(dict(zip(("student", "average"), dice, strict=True)), step)
        steps.append((candidates.best_steps["student"], candidates.best_steps["average"]))
    assert steps == [(0, 0), (0, 1), (0, 2)]  # there was nothing to choose by in the end
    assert candidates.best == {"student": 0.5, "average": 0.6}


def test_a_run_is_scored_as_student_and_as_average(store: Store, tmp_path: Path) -> None:
    run = train(store.path, tmp_path / "run", replace(CONFIG, validate_every=2), progress=False)
    validations = [line for line in lines(run) if line["kind"] == "val"]
    assert all(line["student_dice"] == line["dice"] for line in validations)
    for name in ("student", "average"):
        state = load_checkpoint(checkpoint_path(run, name))
        best = max(line[f"{name}_dice"] for line in validations)
        assert validations[state["step"] // 2 - 1][f"{name}_dice"] == best
        scores = evaluate(run, checkpoint=name, progress=False)  # type: ignore[arg-type]
        assert (scores.checkpoint, scores.step) == (name, state["step"])
        assert scores.mean["dice"] == pytest.approx(best, abs=1e-6)
        network = Model.load(run, checkpoint=name).network.state_dict()  # type: ignore[arg-type]
        assert same(network, state["predictor"])
        step = state["step"]
        last = load_checkpoint(checkpoint_path(run, "last" if step == 4 else "previous"))
        learned = {n: last["method"][f"segmenter.{n}"] for n in network}
        assert same(network, last["average"] if name == "average" else learned)
        assert same(network, learned) == (name == "student")


def test_checkpoints_of_a_training_without_it_are_explained(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, iterations=1, average=0.0)
    run = train(store.path, tmp_path / "run", config, progress=False)
    message = r"average\.pt: expected a checkpoint, found no such file; only .* with --average"
    with pytest.raises(InputError, match=message):
        evaluate(run, checkpoint="average", progress=False)
    with pytest.raises(InputError, match="average: expected"):
        TrainConfig(average=1.5)


def test_a_comparison_reports_the_averages(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, iterations=1)
    given: dict[str, Any] = {"config": config, "labelled": [1], "apart": False, "progress": False}
    made = compare(store.path, tmp_path, methods=["diffrect"], checkpoint="average", **given)
    assert made is not None
    assert made.protocol["checkpoint"] == "average"
    assert "Checkpoint: the moving average's best" in (tmp_path / "report_val/table.md").read_text()
