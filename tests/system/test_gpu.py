"""What a GPU computes, beside what a CPU does; `make test-gpu` runs it where there is one."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import reference_parity
from diffrect.config import TrainConfig
from diffrect.data.loader import Batches
from diffrect.data.store import Store
from diffrect.data.view_options import VIEW_PRESETS, ViewOptions
from diffrect.data.views import make_batch
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.model import Model
from diffrect.methods.registry import METHODS
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from support.runs import same

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that is shown to it: make test-gpu"
)
CONFIG = TrainConfig(
    size=64,
    iterations=4,
    batch_labelled=2,
    batch_unlabelled=2,
    validate_every=4,
    options={"rectify_from": 1},
)


def test_it_computes_what_the_recorded_numbers_say() -> None:
    golden = Path(__file__).parents[1] / "golden"
    assert reference_parity.main([str(golden), "--device", "cuda"]) == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_every_precision(
    store: Store, tmp_path: Path, name: str, precision: str
) -> None:
    config = replace(CONFIG, method=name, precision=precision)
    train(store.path, tmp_path / "run", config, progress=False)
    state = load_checkpoint(checkpoint_path(tmp_path / "run", "last"))
    assert np.isfinite(state["best"])
    weights = [w for w in state["method"].values() if w.is_floating_point()]
    assert all(weight.isfinite().all() for weight in weights)
    assert torch.cuda.max_memory_allocated() > 1e7


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "64-true"])
@pytest.mark.parametrize("rectifier", ["volume", "components"])
def test_pseudo_labels_are_corrected_in_volumes(
    store: Store, tmp_path: Path, rectifier: str, precision: str
) -> None:
    options = {"rectifier": rectifier, "relabel_from": 0.0, "rectify_from": 1}
    config = replace(CONFIG, precision=precision, options=options)  # type: ignore[arg-type]
    train(store.path, tmp_path / "run", config, progress=False)
    labels = load_checkpoint(checkpoint_path(tmp_path / "run", "last"))["method"]
    assert labels["volumes._extra_state"]["corrected"].max() < 4


@pytest.mark.parametrize("preset", ["reference", "default"])
def test_views_are_those_of_a_cpu(store: Store, preset: str) -> None:
    patients = store.patients
    first, others = store.slices(patients[:2]), store.slices(patients[2:])
    raw = Batches(store, first, others, (3, 3), seed=0)[0]
    options = ViewOptions(**VIEW_PRESETS[preset])  # type: ignore[arg-type]
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        batch = make_batch(raw.to(torch.device(device)), 64, options, torch.float32)
        views = (batch.weak, batch.strong, batch.label)
        assert {view.device.type for view in views} == {device}
        found.append([view.cpu() for view in views])
    for cpu, gpu in zip(*found, strict=True):  # a sample between two pixels may take either
        assert ((cpu - gpu).abs() > 1e-3).float().mean() < 2e-3


def test_labels_and_scores_are_those_of_a_cpu(
    tiny_run: Path, acdc_folder: Path, tmp_path: Path
) -> None:
    image = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    cpu, gpu = (Model.load(tiny_run, device=device).predict(image) for device in ("cpu", "cuda"))
    assert (cpu == gpu).mean() > 0.999
    run = shutil.copytree(tiny_run, tmp_path / "run")
    scores = [
        evaluate(run, split="val", device=device, progress=False).mean["dice"]
        for device in ("cpu", "cuda")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_deterministic_trainings_are_equal_bit_for_bit_resumed_or_not(
    store: Store, tmp_path: Path
) -> None:
    options = "--size 64 --iterations 4 --rectify-from 1 --batch-labelled 2 --batch-unlabelled 2"
    options += " --validate-every 2 --deterministic --quiet"
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}

    def run(name: str, *more: str) -> dict:
        command = ["train", str(store.path), str(tmp_path / name), *more]
        subprocess.run([sys.executable, "-m", "diffrect", *command], check=True, env=environment)
        return load_checkpoint(checkpoint_path(tmp_path / name, "last"))

    once, again = (run(name, *options.split()) for name in ("once", "again"))
    half = tmp_path / "half"
    run("half", *options.split())
    checkpoint_path(half, "last").unlink()  # the one after two iterations is left
    resumed = run("half", "--resume")
    for part in ("method", "optimizers", "best"):
        assert same(once[part], again[part]), part
        assert same(once[part], resumed[part]), part


def test_too_little_memory_is_explained(store: Store, tmp_path: Path) -> None:
    room = torch.cuda.memory_reserved() + 500e6  # for the networks, not for their maps
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        with pytest.raises(InputError, match=r"^--size 512 --batch-labelled 3 .* memory of "):
            train(store.path, tmp_path / "run", TrainConfig(size=512, iterations=1), progress=False)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert not (tmp_path / "run").exists()


def test_the_profile_is_of_the_gpu(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, method="supervised", iterations=10, validate_every=10)
    train(store.path, tmp_path / "run", config, progress=False, profile=True)
    screen = capsys.readouterr().err
    assert "the 10 largest by device time" in screen
    assert "aten::cudnn_convolution" in screen
