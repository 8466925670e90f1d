"""The best checkpoint where validation patients lack classes, or all of them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.data.split import Split
from diffrect.data.splits.blocks import Block
from diffrect.data.store import Store
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from diffrect.training.validation import classes_shown
from support.runs import lines, same
from support.tiny import scan, write_nifti

NOTHING, ONE = "p3", "p4"  # patients without any class, and with the first class only


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five patients, of whom p3 has no lesion and p4 only one kind."""
    folder = tmp_path_factory.mktemp("lesions")
    for number in range(5):
        image, labels = scan((24, 20, 3), classes=3, seed=number)
        if f"p{number}" == NOTHING:
            labels[:] = 0
        if f"p{number}" == ONE:
            labels[labels == 2] = 1
        write_nifti(folder / "own" / "images" / f"p{number}.nii.gz", image)
        write_nifti(folder / "own" / "labels" / f"p{number}.nii.gz", labels)
    return prepare(folder / "own", folder / "store", workers=1, progress=False)


def config(folder: Path, val: str, **changes: int) -> TrainConfig:
    """Four validations on one patient."""
    split = {"train": ["p0", "p1"], "val": [val], "test": ["p2"], "labelled": ["p0", "p1"]}
    file = folder / "split.json"
    file.write_text(json.dumps(split))
    settings = {"size": 32, "iterations": 8, "validate_every": 2, "batch_labelled": 2} | changes
    return TrainConfig(method="supervised", split_file=file, **settings)


def predict_in_turn(monkeypatch: pytest.MonkeyPatch, codes: list[int]) -> None:
    """Make each validation predict one code everywhere."""
    from diffrect.inference.segmenter import Segmenter

    left = iter(codes)

    def labels(self: Segmenter, image: np.ndarray, zoom: object) -> np.ndarray:
        return np.full((len(image), *image.shape[-2:]), next(left), np.uint8)

    monkeypatch.setattr(Segmenter, "labels", labels)


def scans(store: Store, *patients: str) -> list[Block]:
    return store.validation_blocks(Split(train=(), val=patients))


def step_of(run: Path, name: str) -> int:
    return int(load_checkpoint(checkpoint_path(run, name))["step"])


@pytest.mark.parametrize("codes", [[1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 2, 0]])
def test_with_nothing_to_choose_by_the_last_is_the_best(
    lesions: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: list[int],
) -> None:
    predict_in_turn(monkeypatch, codes)
    run = train(lesions.path, tmp_path / "run", config(tmp_path, NOTHING))
    assert step_of(run, "best") == step_of(run, "last") == 8
    said = capsys.readouterr().err
    warning, *validations = [line for line in said.splitlines() if "validation" in line]
    assert warning.startswith("diffrect: the labels of the validation patients show no class")
    assert len(validations) == 4
    assert all("Dice undefined" in line and "last is the best" in line for line in validations)
    logged = [line for line in lines(run) if line["kind"] == "val"]
    assert [(line["dice"], line["best_dice"]) for line in logged] == [(None, None)] * 4


def test_a_class_that_no_patient_shows_neither_beats_nor_blocks(
    lesions: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Class 1 is found by the second and the third validation; class 2, which is predicted by the
    # last, is not there to be found.
    predict_in_turn(monkeypatch, [0, 1, 1, 2])
    settings = config(tmp_path, ONE)
    run = train(lesions.path, tmp_path / "run", settings, progress=False)
    assert step_of(run, "best") == 4
    said = capsys.readouterr().err
    assert f"no validation patient show {lesions.classes[2]}: validation Dice" in said


def test_where_nobody_validates_the_last_is_the_best(
    lesions: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(tmp_path, NOTHING, iterations=2, validate_every=1)
    (tmp_path / "split.json").write_text('{"train": ["p0", "p1", "p2"], "labelled": ["p0"]}')
    run = train(lesions.path, tmp_path / "run", settings)
    assert step_of(run, "best") == step_of(run, "last") == 2
    said = capsys.readouterr().err
    assert "1 labelled, 2 unlabelled (the labels of 2 are not read), none to validate" in said
    assert "diffrect: nobody validates" in said
    assert "iteration 2 of 2: saved, 0." in said
    assert "Dice" not in said


def test_classes_shown(lesions: Store) -> None:
    names = lesions.classes[1:]
    assert classes_shown(lesions, scans(lesions, *("p0", NOTHING))) == names
    assert classes_shown(lesions, scans(lesions, *(NOTHING, ONE))) == names[:1]
    assert classes_shown(lesions, scans(lesions, *(NOTHING,))) == ()


def test_resumed_without_anything_to_choose_by(lesions: Store, tmp_path: Path) -> None:
    settings = config(tmp_path, NOTHING)
    whole = train(lesions.path, tmp_path / "whole", settings, progress=False)
    run = train(lesions.path, tmp_path / "run", settings, progress=False)
    # Back to the checkpoint of iteration 6.
    last = checkpoint_path(run, "last")
    checkpoint_path(run, "previous").replace(last)
    train(lesions.path, run, settings, resume=True, progress=False)
    for name in ("last", "best"):
        mine, theirs = (load_checkpoint(checkpoint_path(r, name)) for r in (run, whole))
        assert all(math.isnan(s.pop("last_dice")) for s in (mine, theirs) if "last_dice" in s)
        assert same(mine, theirs), name
    assert lines(run) == lines(whole)
