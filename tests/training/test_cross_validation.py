"""Cross-validation: who is held out when, the folder of folds, pooled scores, and the ensemble."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import diffrect.training.cross_validation as module
from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.split import Split
from diffrect.data.splits.folds import make_folds
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.model import Model
from diffrect.networks.mean import MeanOfNetworks
from diffrect.runs.folds import read_folds, start_folds
from diffrect.training.cross_validation import cross_validate

WHOLE = Split(train=("a", "b", "c", "d", "u"), val=("e",), test=("t",), labelled=("a", "b", "c"))
CONFIG = TrainConfig(method="supervised", size=32, iterations=1, batch_labelled=2, labelled="2")


def test_every_labelled_patient_is_held_out_once() -> None:
    splits = make_folds(WHOLE, 3, seed=1)
    assert sorted(p for split in splits for p in split.test) == ["a", "b", "c", "e"]
    assert [len(split.test) for split in splits] == [2, 1, 1]
    for split in splits:
        assert not split.val
        assert {*split.train, *split.test} == {"a", "b", "c", "d", "e", "u"}
        assert set(split.labelled) == {"a", "b", "c", "e"} - set(split.test)
        assert set(split.unlabelled) == {"d", "u"}
    assert make_folds(WHOLE, 3, seed=1) == splits != make_folds(WHOLE, 3, seed=2)


@pytest.mark.parametrize(
    ("labelled", "folds", "message"),
    [
        (("a", "b", "c"), 1, "from 2 to 3 folds, the patients with labels .*, got 1"),
        (("a", "b", "c"), 4, "from 2 to 3 folds, .*, got 4"),
        (("a",), 2, "at least 2 patients with labels to hold out by turns, got 1"),
    ],
)
def test_folds_that_cannot_be(labelled: tuple[str, ...], folds: int, message: str) -> None:
    with pytest.raises(InputError, match=f"--cross-validate: expected {message}"):
        make_folds(Split(train=("a", "b", "c"), labelled=labelled), folds, seed=0)


def test_what_may_be_resumed_or_replaced(tmp_path: Path) -> None:
    run, splits = tmp_path / "run", make_folds(WHOLE, 2, seed=0)
    start: Callable[..., None] = start_folds
    start(run, CONFIG, splits, resume=False, overwrite=False)
    assert read_folds(run) == ([list(split.test) for split in splits], False)
    assert Split.from_json((run / "fold_2.json").read_text()) == splits[1]
    with pytest.raises(InputError, match="exists already; expected --resume or --overwrite"):
        start(run, CONFIG, splits, resume=False, overwrite=False)
    start(run, CONFIG, splits, resume=True, overwrite=False)
    with pytest.raises(InputError, match=r"--resume expected the folds of .*folds\.json"):
        start(run, CONFIG, make_folds(WHOLE, 3, seed=0), resume=True, overwrite=False)
    start(run, CONFIG, make_folds(WHOLE, 3, seed=0), resume=False, overwrite=True)
    assert len(read_folds(run)[0]) == 3
    with pytest.raises(InputError, match="all folds are trained; finish it with: diffrect train"):
        Model.load(run)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(InputError, match="a new folder or a cross-validation, found one that hol"):
        start(tmp_path / "other", CONFIG, splits, resume=True, overwrite=False)


def test_the_mean_of_networks_is_that_of_their_probabilities() -> None:
    class Fixed(torch.nn.Module):
        def __init__(self, *shares: float) -> None:
            super().__init__()
            self.logits = 5 + torch.tensor(shares).log()[None, :, None, None]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(images), -1, 1, 1)

    both = MeanOfNetworks([Fixed(0.9, 0.1), Fixed(0.3, 0.7)])
    found = both(torch.zeros(2, 1, 1, 1)).softmax(dim=1)[:, :, 0, 0]
    assert torch.allclose(found, torch.tensor([[0.6, 0.4]] * 2))


def test_two_folds_from_the_command_line(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    options = ["--method=supervised", "--size=32", "--iterations=1", "--batch-labelled=2"]
    options.append("--labelled=1")
    train = module.train
    monkeypatch.setattr(module, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    command = ["train", str(store.path), str(run), *options, "--cross-validate", "2"]
    assert cli.main(command) == 130
    assert f"stopped in fold_1; resume with: diffrect train {store.path} {run} --resume" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(module, "train", train)
    assert cli.main(["train", str(store.path), str(run), "--resume"]) == 0
    shown = capsys.readouterr()
    assert "fold 2 of 2: without patient" in shown.err
    assert "cross-validation: 4 cases, 2 patients; checkpoint last (step 1)" in shown.out

    scores = json.loads((run / "metrics_cross_validation.json").read_text())
    assert {case["patient"] for case in scores["cases"]} == {"patient099", "patient028"}
    assert scores["protocol"]["folds"] == 2
    folds = [json.loads((run / f"fold_{k}" / "metrics_test.json").read_text()) for k in (1, 2)]
    assert scores["cases"] == [case for fold in folds for case in fold["cases"]]
    name = store.classes[1]
    each = [case["classes"][name]["dice"] for case in scores["cases"]]
    assert math.isclose(scores["classes"][name]["dice"], np.mean(each))

    image = store.image("patient099_frame01")
    members = [Model.load(run / f"fold_{k}") for k in (1, 2)]
    both = Model.load(run)
    images = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        mean = sum(m.network(images).softmax(1) for m in members) / 2
        assert torch.allclose(both.network(images).softmax(1), mean, atol=1e-6)
    assert both.predict_slices(image).shape == (3, 22, 26)
    with pytest.raises(InputError, match="expected a run, found a cross-validation; its scores"):
        evaluate(run, progress=False)


def test_what_a_cross_validation_refuses(store: Store, tmp_path: Path) -> None:
    for settings, message in (
        ({"devices": 2}, "--cross-validate: expected one process, got several"),
        ({"val_patients": 1}, "--val-patients: expected none with --cross-validate"),
    ):
        with pytest.raises(InputError, match=message):
            cross_validate(store.path, tmp_path / "run", TrainConfig(**settings), folds=2)
    assert not (tmp_path / "run").exists()
