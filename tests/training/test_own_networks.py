"""Trainings with another network than the U-Net: every method that takes one, resumed, exported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrect.cli import main as cli
from diffrect.comparison.cell import load_same_plugins
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.export import export
from diffrect.inference.load import load_method
from diffrect.inference.model import Model
from diffrect.methods.base import make_teacher, move_average
from diffrect.methods.registry import METHODS, UNET_METHODS, find_method, resolve
from diffrect.networks.own import OwnNetwork, make_network
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.plugins import remembered_plugins
from diffrect.training.train import train
from support.runs import same

SHARED = "support.own_networks:Shared"
NORMED = "support.own_networks:Normed"
TINY = TrainConfig(size=32, iterations=2, batch_labelled=2, network=SHARED)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in UNET_METHODS])
def test_methods_train_and_predict_with_another_network(
    method: str, store: Store, tmp_path: Path
) -> None:
    config = replace(TINY, method=method, network=NORMED if method == "ict" else SHARED)
    if method == "diffrect":
        config = replace(config, options={"rectifier": "components", "rectify_from": 0})
    run = train(store.path, tmp_path / "run", config, progress=False)
    loaded = load_method(run)
    assert isinstance(loaded.method.predictor, OwnNetwork)
    if method in ("cps", "abd"):
        assert isinstance(loaded.method.other, OwnNetwork)
    labels = Model.load(run).predict(np.random.default_rng(0).random((20, 24, 2)))
    assert labels.shape == (20, 24, 2)


def test_methods_that_need_the_unet_say_which_do_not(store: Store) -> None:
    needing = [name for name in METHODS if find_method(name).needs_unet]
    assert tuple(needing) == UNET_METHODS
    others = [name for name in METHODS if name not in needing]
    for method in needing:
        with pytest.raises(
            InputError,
            match=rf"^--network {SHARED}: expected unet with method {method}, which reads maps "
            f"inside it; these take any network: {', '.join(others)}$",
        ):
            resolve(replace(TINY, method=method))


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, method="mean_teacher", network=NORMED, precise_statistics=True),
        replace(TINY, method="cps"),
    ],
    ids=["mean_teacher", "cps"],
)
def test_a_resumed_training_is_bit_equal(config: TrainConfig, store: Store, tmp_path: Path) -> None:
    config = replace(config, iterations=4, validate_every=2)
    whole = train(store.path, tmp_path / "whole", config, progress=False)
    run = train(store.path, tmp_path / "run", config, progress=False)
    # As after a stop in the middle: only the state before the last is there.
    checkpoint_path(run, "previous").replace(checkpoint_path(run, "last"))
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 2
    train(store.path, run, resume=True, progress=False)
    states = [load_checkpoint(checkpoint_path(one, "last")) for one in (whole, run)]
    assert states[0]["step"] == 4
    for entry in ("method", "optimizers", "statistics"):
        assert same(states[0][entry], states[1][entry])
    with pytest.raises(InputError, match=r"--resume expected network support\.own_networks:"):
        train(store.path, run, replace(config, network="unet"), resume=True, progress=False)


def test_shared_modules_are_averaged_once() -> None:
    student = make_network(SHARED, 1, 2)
    teacher = make_teacher(student)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    before = {name: value.clone() for name, value in teacher.named_parameters()}
    move_average(teacher, student, 0.75, None)
    for name, value in teacher.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.25)


def test_a_size_that_does_not_fit_leaves_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    given = ["--network", "support.own_networks:Halving", "--size", "40", "--iterations", "1"]
    assert cli.main(["train", str(store.path), str(run), *given, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "expected a --size that is a multiple of 16, such as 48, got 40" in error
    assert error.count("\n") == 1
    assert not run.exists()


OWN = """
from torch import nn
from diffrect.methods.supervised import Supervised

class Small(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.head = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, images):
        return self.head(images)

class Stubborn(Supervised):
    def __init__(self, problem, options):
        super().__init__(problem, options)
        self.segmenter = nn.Conv2d(problem.channels, problem.classes, 1)

def same(images, labels, generator):
    return images, labels
"""


def test_a_plugin_is_remembered_and_asked_for(
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from diffrect.plugins import files, trust

    plugin, run = tmp_path / "own_small.py", str(tmp_path / "run")
    plugin.write_text(OWN)
    tiny = ["--size", "32", "--iterations", "2", "--method", "supervised", "--quiet"]
    network = ["--network", "own_small:Small"]
    command = ["train", str(store.path), run, *tiny, *network]
    assert cli.main(command) == 2
    assert "expected a module on PYTHONPATH, or --plugin FILE.py" in capsys.readouterr().err
    assert cli.main([*command, "--plugin", str(plugin)]) == 0
    assert [one.file for one in remembered_plugins(Path(run))] == [plugin]

    resume = ["train", str(store.path), run, "--resume", "--quiet"]
    for again in (["evaluate", run, "--quiet"], resume):
        # Another day: nothing is loaded or named.
        monkeypatch.setattr(files, "_LOADED", {})
        monkeypatch.setattr(trust, "_TRUSTED", set())
        assert cli.main(again) == 2
        line = capsys.readouterr().err
        assert "names the network own_small:Small, whose code is run only if you name" in line
        assert f"it was trained with --plugin {plugin}" in line
        assert cli.main([*again, "--plugin", str(plugin)]) == 0
    plugin.write_text(OWN + "\n# changed\n")
    capsys.readouterr()
    assert cli.main([*resume, "--plugin", str(plugin)]) == 0
    assert f"{plugin}: has changed since {run} was trained with it" in capsys.readouterr().err

    # A file of its own asks, too.
    model = str(tmp_path / "small.safetensors")
    assert cli.main(["export", run, model, "--quiet", "--plugin", str(plugin)]) == 0
    monkeypatch.setattr(trust, "_TRUSTED", set())
    with pytest.raises(InputError, match="names the network own_small:Small, whose code is run"):
        Model.load(model)

    # A cell of a comparison in another process loads the same file, if it is the same.
    noted = {"plugins": {str(plugin): files.loaded_plugins()[0].sha256}}
    load_same_plugins(noted)
    plugin.write_text(OWN)
    with pytest.raises(InputError, match="expected the file as it was when the comparison began"):
        load_same_plugins(noted)

    for method, options, message in (
        ("own_small:Stubborn", {}, "expected unet with method own_small:Stubborn, which makes"),
        ("diffrect", {"weak_view": "own_small:same"}, "has to know where each pixel comes from"),
    ):
        config = replace(TINY, method=method, options=options)
        with pytest.raises(InputError, match=message):
            train(store.path, tmp_path / "new", config, progress=False)


def test_another_network_is_exported(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    config = replace(TINY, method="supervised", size=40)  # no multiple of 16
    run = train(store.path, tmp_path / "run", config, progress=False)
    image = np.random.default_rng(0).random((20, 24, 3))
    expected = Model.load(run).predict(image)
    for name in ("model.onnx", "model.safetensors"):
        file = export(run, tmp_path / name)
        assert np.array_equal(Model.load(file).predict(image), expected)
