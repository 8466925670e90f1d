"""What is shown of an object that a user holds: one short line that says what it is."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffrect.data.batch import Batch, RawBatch
from diffrect.data.inspection import inspect
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.result import PackedLabels
from diffrect.imaging.volume import Volume
from diffrect.inference.ensemble import Ensemble
from diffrect.inference.model import Model
from diffrect.inference.pseudo_labels.facts import PseudoLabelFacts
from diffrect.inference.pseudo_labels.labeller import PseudoLabel
from diffrect.inference.rectifying.rectified import RectifiedLabel

CODES = np.zeros((2, 3, 4), np.uint8)
SHARES = np.full(CODES.shape, 0.5, np.float32)
ONE = CODES.copy()
ONE[0, 0, :2] = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Task(1, ("background", "a", "b"), "minmax"), "<Task: 1 channel, classes background, a, b, "
         "intensity minmax, axis 2>"),
        (Split(("a", "b", "c"), ("d",), (), ("a",)), "<Split: 1 labelled, 2 unlabelled, 1 to "
         "validate, 0 to test>"),
        (Volume(CODES, (1.5, 1.25, 10.0), np.eye(4), Path("s.nii")), "<Volume: 2 x 3 x 4 voxels of "
         "uint8, 1.5 x 1.25 x 10 mm, s.nii>"),
        (Volume(CODES, None, np.eye(4)), "<Volume: 2 x 3 x 4 voxels of uint8, unknown spacing>"),
        (RectifiedLabel(ONE, CODES, SHARES, 0.25, 0.1), "<RectifiedLabel: 2 x 3 x 4 voxels, 100.0% "
         "of the foreground changed, guidance 0.25>"),
        (PseudoLabel(ONE, None, SHARES), "<PseudoLabel: 2 x 3 x 4 pixels, entropy 0.500, not "
         "corrected>"),
        (PseudoLabelFacts("c", "p", "val", 0.125, None, 0.5, {}), "<PseudoLabelFacts: c (val), "
         "entropy 0.125, 50.0% of the foreground changed>"),
        (PackedLabels.of(CODES), "PackedLabels(shape=(2, 3, 4))"),
        (RawBatch(torch.zeros(3, 1, 8, 8), torch.zeros(1, 8, 8), torch.zeros(3, 2)), "<RawBatch: 1 "
         "labelled and 2 unlabelled rows of 1 x 8 x 8>"),
        (Batch(torch.zeros(3, 1, 8, 8), torch.zeros(3, 1, 8, 8), torch.zeros(1, 8, 8)), "<Batch: 1 "
         "labelled and 2 unlabelled rows of 1 x 8 x 8>"),
    ],
)  # fmt: skip
def test_values_say_what_they_are(value: Any, expected: str) -> None:
    assert repr(value) == expected


def test_a_store_a_model_and_scores_say_what_they_are(
    store: Store, tiny_run: Path, acdc_folder: Path, tmp_path: Path
) -> None:
    task = "1 channel, classes background, right ventricle, myocardium, left ventricle"
    assert repr(store) == f"<Store: {store.path}, 10 cases of 5 patients, 10 labelled, {task}>"
    run = shutil.copytree(tiny_run, tmp_path / "run")
    model = Model.load(run, device="cpu")
    facts = f"supervised, iteration 2, {task}, 32 x 32 pixels, on cpu"
    assert repr(model) == f"<Model: {facts}>"
    one = "supervised (iteration 2)"
    assert repr(Ensemble([model, model])) == f"<Ensemble: {one}, {one}; {task}>"
    scores = evaluate(run, split="val", device="cpu", progress=False)
    dice = f"{100 * scores.mean['dice']:.2f}"
    start = f"<Evaluation: split val, 2 cases of 1 patient, Dice {dice} %, checkpoint best"
    assert repr(scores) == f"{start} (iteration {scores.step})>"
    found = inspect(acdc_folder, progress=False)
    facts = "10 cases of 5 patients, 10 labelled, 0 problems"
    assert repr(found) == f"<Inspection: source {acdc_folder} (acdc), {facts}>"
    grid = repr(store.grid("patient011_frame01"))
    assert "array" not in grid
    assert "\n" not in grid


def test_a_repr_is_one_short_line_whatever_the_names_are() -> None:
    names = tuple(f"{'long' * 20}\x1b[31m\n{number}" for number in range(250))
    shown = repr(replace(Task(1, ("background", "a"), "minmax"), classes=names))
    assert shown.isprintable()
    assert len(shown) < 330
