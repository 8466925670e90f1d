"""Pixels that nobody annotated are never counted, from prepare by way of training to evaluate."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.scores_table import scores_table
from diffrect.imaging.label_codes import IGNORED
from diffrect.methods.registry import resolve
from diffrect.training.train import train
from support.stubs import a_problem
from support.tiny import write_nifti


@pytest.fixture
def scribbled(acdc_folder: Path, tmp_path: Path) -> Store:
    """ACDC's tiny patients; a third of each label is open."""
    folder = Path(shutil.copytree(acdc_folder, tmp_path / "acdc"))
    for file in folder.rglob("*_gt.nii.gz"):
        labels = np.asanyarray(nib.load(file).dataobj).copy()
        labels[::3] = IGNORED
        write_nifti(file, labels, (1.5, 1.25, 10.0), np.diag([-1.0, -1.0, 1.0, 1.0]))
    return prepare(folder, tmp_path / "store", progress=False)


def test_evaluation_leaves_out_open_pixels_and_counts_them(
    scribbled: Store, tiny_run: Path, tmp_path: Path, store: Store
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    before = evaluate(run, progress=False)
    assert [case.ignored_voxels for case in before.cases] == [0, 0]
    result = evaluate(run, store=scribbled.path, progress=False)
    labels = [scribbled.label(case.id) for case in result.cases]
    assert [case.ignored_voxels for case in result.cases] == [9 * 22 * 3] * 2
    assert all((label == IGNORED).sum() == 9 * 22 * 3 for label in labels)
    assert result.mean["dice"] != before.mean["dice"]
    caption = scores_table(result).caption
    assert "annotated in part: 2 of 2 cases, 1188 voxels left out" in str(caption)
    assert "annotated in part" not in str(scores_table(before).caption)
    assert json.loads((run / "metrics_val.json").read_text())["cases"][0]["ignored_voxels"] == 594


def test_training_and_validation_on_scribbles(scribbled: Store, tmp_path: Path) -> None:
    """With CutMix everywhere, labelled slices with open pixels are pasted into unlabelled ones."""
    config = TrainConfig(
        size=32,
        iterations=2,
        batch_labelled=2,
        batch_unlabelled=2,
        options={"cutmix_probability": 1.0, "rectify_from": 0},
    )
    run = train(scribbled.path, tmp_path / "run", config, progress=False)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"train", "val"} <= {line["kind"] for line in lines}


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_no_supervised_loss_depends_on_open_pixels(preset: str) -> None:
    """With half of the label open, the loss equals that of only the other half."""
    options = {"rectifier": "slice"}  # which needs no volumes
    resolved = resolve(
        TrainConfig(preset=preset, iterations=4, options=options)  # type: ignore[arg-type]
    )
    method = resolved.method(a_problem(1, 3, 4), resolved.method_options)
    torch.manual_seed(0)
    images = torch.rand(4, 1, 32, 32)
    label = torch.randint(3, (2, 32, 32))
    label[:, 16:] = IGNORED
    pasted = torch.zeros(4, 32, 32, dtype=torch.bool)
    pasted[2:, 8:24, 8:24] = True
    batch = Batch(images, images, label, pasted, torch.tensor([1, 0, 0, 1]))
    for step in range(4):  # the last of them rectify
        for update in method.updates(batch, step):
            update.loss.backward()
            assert torch.isfinite(update.loss), update.name
    completed = batch.completed(torch.ones(4, 32, 32, dtype=torch.int64))
    assert torch.equal(completed[:2, :16], label[:, :16])
    assert (completed[:2, 16:] == 1).all()
    assert IGNORED in batch.with_labels(completed)
