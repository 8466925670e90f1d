"""What a file from elsewhere names is not imported unless the user names it too."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.plugins import files, trust
from diffrect.plugins.settings import check_settings, plugin_options, trust_settings
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint

HOSTILE = [
    ("network", "os:system"),
    ("network", "subprocess:Popen(args='touch written', shell=True)"),
    ("network", "hostile:Net"),
    ("network", "monai.networks.nets:HoVerNet(pretrained_url='https://example.org/a.pt')"),
    ("network", "monai.networks.nets:UNet(path='\\x2fetc')"),
    ("method", "hostile:Method"),
    ("strong_view", "os:system"),
    ("weak_view", "hostile:view"),
]


@pytest.fixture(autouse=True)
def on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that would show that it was imported; nothing is named yet."""
    monkeypatch.setattr(files, "_LOADED", {})
    monkeypatch.setattr(trust, "_TRUSTED", set())
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "hostile.py").write_text("raise AssertionError('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    return tmp_path


def named(what: str, name: str) -> dict[str, Any]:
    """The fields of a configuration that names code."""
    return {what: name} if what in ("method", "network") else {"options": {what: name}}


def changed(
    run: Path, target: Path, change: Callable[[dict[str, Any]], Any], network: str | None
) -> Path:
    """A copy of a run whose configuration and checkpoints name something else."""
    shutil.copytree(run, target)
    for name in ("best", "last"):
        file = checkpoint_path(target, name)
        state = load_checkpoint(file)
        state["config"] = change(state["config"])
        sizes = {"channels": 1, "classes": 4}
        state["network"] = network and {"kind": "own", **sizes, "name": network}
        torch.save(state, file)
    content = yaml.safe_load((target / "config.yaml").read_text())
    (target / "config.yaml").write_text(yaml.safe_dump(change(content)))
    return target


@pytest.mark.parametrize(("what", "name"), HOSTILE)
def test_hostile_runs_import_nothing(
    what: str,
    name: str,
    store: Store,
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        fields = named(what, name)
        return {**config, **fields, "options": {**config["options"], **fields.get("options", {})}}

    network = name if what == "network" else None
    run = changed(tiny_run, tmp_path / "run", change, network)
    commands = [["train", str(store.path), str(run), "--resume"]]
    commands += [
        ["train", str(store.path), str(tmp_path / "new"), "--config", f"{run}/config.yaml"]
    ]
    commands += [[*commands[-1], "--print-config"]]
    if what in ("method", "network"):  # prediction has no views
        commands += [["evaluate", str(run)], ["predict", str(run), "out", str(tmp_path)]]
        shutil.copy(Path(store.path) / "store.json", tmp_path / "a.nii")
    for command in commands:
        assert cli.main([*command, "--quiet"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        address = "which gets a path or an address"
        assert f"names the {what} " in error
        assert ("whose code is run only if you name it too" in error) or address in error
    assert "hostile" not in sys.modules
    assert not (tmp_path / "new").exists()
    assert not Path("written").exists()


def test_hostile_variants_import_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "variants.yaml"
    for what, name in HOSTILE:
        file.write_text(yaml.safe_dump({"a": named(what, name)}))
        command = ["compare", str(store.path), str(tmp_path / "cells"), "--variants", str(file)]
        assert cli.main([*command, "--quiet"]) == 2
        assert f"{file}: names the {what} " in capsys.readouterr().err
    assert "hostile" not in sys.modules
    assert not (tmp_path / "cells").exists()


def test_what_the_user_names_may_be_named_by_a_file(tmp_path: Path) -> None:
    config = TrainConfig(method="hostile:Method", network="hostile:Net(a='/b')")
    with pytest.raises(InputError, match="names the method hostile:Method"):
        check_settings(config, "f")
    trust.trust_names(["--network", "hostile:Net(width=3)"])
    check_settings(config, "f")
    trust._TRUSTED.clear()
    trust.trust_names(["--methods=ict,hostile:Method@100%", "--size", "32"])
    check_settings(config, "f")
    trust._TRUSTED.clear()
    trust_settings(config)
    check_settings(config, "f")
    assert plugin_options(config) == " --plugin hostile"


def test_libraries_need_no_naming() -> None:
    config = TrainConfig(method="bcp", network="monai.networks.nets:UNet(norm='batch')")
    check_settings(config, "f")
    assert plugin_options(config) == ""
    with pytest.raises(InputError, match="names the network monai_:UNet"):
        check_settings(TrainConfig(network="monai_:UNet"), "f")


def test_prediction_asks_for_no_views() -> None:
    config = TrainConfig(options={"weak_view": "hostile:f", "strong_view": "hostile:g"})
    check_settings(config, "f", predicts=True)
    logged = TrainConfig(logger="tensorboard,hostile:Log('x')")
    check_settings(logged, "f", predicts=True)
    with pytest.raises(InputError, match="names the logger hostile:Log"):
        check_settings(logged, "f")
    with pytest.raises(InputError, match="names the weak_view hostile:f"):
        check_settings(config, "f")
