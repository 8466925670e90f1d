"""Two processes: the same numbers as one, one writer, an end for all when one dies."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

import diffrect.distributed.sync_norm as sync_norm_module
from diffrect.config import TrainConfig, read_config
from diffrect.data.choose_split import resolve_split
from diffrect.data.loader import training_batches
from diffrect.data.store import Store
from diffrect.distributed.ranks import Ranks
from diffrect.distributed.sync_norm import SyncBatchNorm, synchronise
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.scores_file import sealed
from diffrect.inference.predict import predict
from diffrect.networks.unet import UNet
from diffrect.processes import rank_and_world
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.training.train import train
from support.quiet_methods import OPTIONS
from support.runs import lines
from support.tiny import scan, write_nifti

CONFIG = TrainConfig(
    method="support.quiet_methods:Quiet",
    size=32,
    iterations=4,
    validate_every=2,
    batch_labelled=2,
    batch_unlabelled=2,
    logger="png",
    precision="64-true",
    device="cpu",
    options={**OPTIONS, "rectify_from": 1},
)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    ),
    "OMP_NUM_THREADS": "1",
}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def call(
    *arguments: Any,
    launcher: tuple[str, ...] | list[str] = ("-m",),
    environment: Mapping[str, str] | None = None,
) -> Any:
    """diffrect in processes of its own, started by Fabric or by torchrun."""
    command = [sys.executable, *launcher, "diffrect", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=500,
        env={**ENVIRONMENT, **(environment or {})},
    )


def options(config: TrainConfig) -> list[str]:
    given = []
    for name in ("method", "size", "iterations", "validate_every", "precision"):
        given += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    for name, value in config.options.items():
        given += ["--option", f"{name}={value}"]
    return [*given, "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same training by one process, and by two with half the batch each."""
    folder = tmp_path_factory.mktemp("processes")
    one = train(store.path, folder / "one", CONFIG, progress=False)
    half = [
        "--devices",
        "2",
        "--sync-batchnorm",
        "--batch-labelled",
        "1",
        "--batch-unlabelled",
        "1",
        "--logger",
        "png",
    ]
    done = call("train", store.path, folder / "two", *options(CONFIG), *half, launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr
    return one, folder / "two"


def test_two_processes_have_the_losses_of_one(runs: tuple[Path, Path]) -> None:
    one, two = map(lines, runs)
    assert [(line["kind"], line["step"]) for line in one] == [
        (line["kind"], line["step"]) for line in two
    ]
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"kind"}:
            if mine[name] is not None:
                assert theirs[name] == pytest.approx(mine[name], abs=1e-5), (name, mine["step"])


def test_two_processes_have_the_weights_of_one(runs: tuple[Path, Path]) -> None:
    one, two = (load_checkpoint(checkpoint_path(run, "last"))["method"] for run in runs)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=1e-6)


def test_two_processes_draw_what_one_draws(runs: tuple[Path, Path]) -> None:
    one, two = (sorted((run / "pictures").iterdir()) for run in runs)
    assert [file.name for file in one] == [file.name for file in two] != []
    for mine, theirs in zip(one, two, strict=True):
        assert np.abs(imread(mine) - imread(theirs)).mean() < 0.01


def test_a_run_goes_on_with_another_number_of_processes(
    store: Store, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(runs[1], tmp_path / "run"))
    last = checkpoint_path(run, "last")
    torch.save({**load_checkpoint(last), "step": 2, "validated": 2}, last)
    config = TrainConfig(**{**vars(read_config(run / "config.yaml")), "devices": 1})
    train(store.path, run, config, resume=True, progress=False)
    assert load_checkpoint(last)["step"] == 4
    steps = [(line["kind"], line["step"]) for line in lines(run)]
    assert steps == [(line["kind"], line["step"]) for line in lines(runs[0])]


def test_evaluate_and_predict_share_their_cases(
    store: Store, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    alone = evaluate(run, progress=False, device="cpu")
    (run / "metrics_val.json").unlink()
    arguments = ("evaluate", run, "--device", "cpu")
    done = call(*arguments, launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left ventricle") == 1  # one table
    assert json.loads((run / "metrics_val.json").read_text()) == sealed(alone.to_dict())

    for number in range(3):
        write_nifti(tmp_path / "in" / f"{number}.nii.gz", scan((20, 20, 2), 4, seed=number)[0])
    (tmp_path / "in" / "bad.nii.gz").write_text("text")
    done = call("predict", run, tmp_path / "two", tmp_path / "in", launcher=TORCHRUN)
    assert done.stderr.count("bad.nii.gz: expected") == 2  # each process says what failed
    images = sorted((tmp_path / "in").glob("[0-9]*"))
    predict(run, tmp_path / "one", images, progress=False)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert one == two


def test_a_process_that_dies_ends_the_others(store: Store, tmp_path: Path) -> None:
    method = "support.quiet_methods:Dying"
    config = TrainConfig(method=method, size=32, iterations=9, validate_every=1)
    death = tmp_path / "death"
    command = ["train", store.path, tmp_path / "run", *options(config), "--devices", "2"]
    done = call(*command, environment={"DEATH": str(death)})
    assert time.time() - float(death.read_text()) < 60
    assert done.returncode != 0
    assert "KeyError: 'the second process is ill'" in done.stderr
    assert load_checkpoint(checkpoint_path(tmp_path / "run", "last"))["step"] > 0


def test_every_slice_is_used_once_a_pass(store: Store) -> None:
    split = resolve_split(store, labelled="2")
    seen = []
    for rank in (0, 1):
        batches = training_batches(store, split, CONFIG, True, rank, 2)
        seen += [s for step in range(3) for s in batches._take(0, step)]
    labelled = [case for case in store.cases.values() if case.patient in split.labelled]
    slices = sum(case.slices for case in labelled)
    assert len(seen) == slices == len(set(seen))


def test_processes_must_be_as_many_as_the_options_say(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = TrainConfig(**{**vars(CONFIG), "nodes": 2})
    with pytest.raises(InputError, match=r"--nodes 2: expected processes started by torchrun"):
        train(store.path, tmp_path / "run", nodes, progress=False)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert rank_and_world() == (1, 4)
    with pytest.raises(InputError, match=r"--devices 1 --nodes 1: .* started, 4 in all, got 1"):
        train(store.path, tmp_path / "run", CONFIG, progress=False)


def test_sharing_and_gathering() -> None:
    assert Ranks(1, 3).share(list("abcdefgh")) == ["b", "e", "h"]
    assert Ranks().gather(Ranks().share([1, 2])) == [1, 2]


def test_a_converted_network_is_the_same_on_its_own() -> None:
    torch.manual_seed(0)
    network = UNet(1, 3, widths=(2, 2, 2, 2, 2)).eval()
    image = torch.rand(2, 1, 16, 16)
    before = network(image)
    names = list(network.state_dict())
    synchronise(network)
    assert not any(type(module) is nn.BatchNorm2d for module in network.modules())
    assert any(isinstance(module, SyncBatchNorm) for module in network.modules())
    assert list(network.state_dict()) == names
    assert torch.equal(network(image), before)


@pytest.mark.parametrize("affine", [True, False])
def test_one_process_normalises_as_torch_does(
    monkeypatch: pytest.MonkeyPatch, affine: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3, affine=affine).double())
    synced = deepcopy(plain)
    synchronise(synced)
    assert isinstance(synced[0], SyncBatchNorm)
    x = torch.rand(4, 3, 5, 6, dtype=torch.float64)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    module = sync_norm_module
    monkeypatch.setattr(module, "processes", lambda: 2)  # but nobody to add to
    out, expected = synced(mine), plain(theirs)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward(), expected.square().sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(synced.state_dict(), plain.state_dict())
    assert synced[0].num_batches_tracked == 1
