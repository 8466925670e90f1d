"""One name for a device: what it is here, and what is said of one that is not here."""

from pathlib import Path
from typing import Any

import pytest
import torch

from diffrect.cli import main as cli
from diffrect.config import TrainConfig, config_from_dict, config_to_dict, read_config
from diffrect.data.store import Store
from diffrect.distributed.devices import find_device
from diffrect.errors import InputError
from diffrect.training.fabric import make_fabric

NO_GPU = "expected what this machine has, found a PyTorch without CUDA; give --device cpu"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets how many GPUs of NVIDIA and of Apple torch finds."""

    def set_gpus(cuda: int, mps: bool = False, version: str | None = "13.0") -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.version, "cuda", version)

        if cuda or mps:  # no memory is there to be taken
            monkeypatch.setattr(torch, "empty", lambda _, device: Placed(device))

    return set_gpus


class Placed:
    """What `torch.empty` returns, as far as it matters: where it lies."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)


@pytest.mark.parametrize(
    ("name", "cuda", "mps", "device"),
    [
        ("auto", 0, False, "cpu"),
        ("auto", 0, True, "mps:0"),
        ("auto", 2, False, "cuda:0"),
        ("cuda", 2, False, "cuda:0"),
        ("cuda:1", 2, False, "cuda:1"),
        ("mps", 0, True, "mps:0"),
        ("cpu", 2, False, "cpu"),
    ],
)
def test_a_name_is_a_device(gpus: Any, name: str, cuda: int, mps: bool, device: str) -> None:
    gpus(cuda, mps)
    assert find_device(name) == torch.device(device)


def test_each_process_of_a_machine_takes_its_own_gpu(
    gpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(2)
    for rank, device in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert find_device("auto") == torch.device(device)
        assert find_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("name", "number", "cuda", "message"),
    [
        ("cuda", 1, 0, "--device cuda: expected what this machine has, found no GPU; give --dev"),
        ("cuda:2", 1, 2, "--device cuda:2: .* found 2 GPUs, cuda:0 to cuda:1$"),
        ("cuda", 4, 1, "--device cuda --devices 4: .* found 1 GPU, cuda:0$"),
        ("auto", 4, 1, "--device auto --devices 4: .* found 1 GPU, cuda:0$"),
        (
            "mps",
            1,
            1,
            "--device mps: .* found no Apple GPU that PyTorch can use; give --device cpu",
        ),
    ],
)
def test_a_device_that_is_not_here_is_told(
    gpus: Any, name: str, number: int, cuda: int, message: str
) -> None:
    gpus(cuda)
    with pytest.raises(InputError, match=message):
        find_device(name, number)


def test_a_gpu_that_does_not_answer_is_told(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(1)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: busy\nmore lines")

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(InputError, match=r"^--device cuda: .* computes: CUDA error: busy$"):
        find_device("cuda")


@pytest.mark.parametrize("command", ["train STORE out", "evaluate RUN", "predict RUN out SCAN"])
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", "cuda:x"])
def test_every_command_says_the_same_of_a_device(
    command: str,
    device: str,
    gpus: Any,
    store: Store,
    tiny_run: Path,
    acdc_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpus(0, version=None)
    scan = acdc_folder / "patient011" / "patient011_frame01.nii.gz"
    places = {"STORE": store.path, "RUN": tiny_run, "SCAN": scan, "out": tmp_path / "out"}
    words = [str(places.get(word, word)) for word in command.split()]
    assert cli.main([*words, "--device", device]) == 2
    told = f"--device {device}: {NO_GPU}"
    if device in ("gpu", "cuda:x"):
        told = f"--device: expected auto, cpu, cuda, cuda:1 (one of several) or mps, got '{device}'"
    assert capsys.readouterr().err == f"diffrect: error: {told}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_is_refused_before_its_first_cell(
    gpus: Any, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(0, version=None)
    words = ["compare", str(store.path), str(tmp_path / "cells"), "--methods", "supervised"]
    assert cli.main([*words, "--device", "cuda"]) == 2
    assert capsys.readouterr().err == f"diffrect: error: --device cuda: {NO_GPU}\n"
    assert not (tmp_path / "cells").exists()


def test_one_gpu_of_several_is_no_several_gpus() -> None:
    with pytest.raises(InputError, match="device: expected cuda with --devices 2, got cuda:1"):
        TrainConfig(device="cuda:1", devices=2)


def test_a_training_takes_the_device_of_its_name() -> None:
    assert make_fabric(TrainConfig(device="cpu")).device == torch.device("cpu")


def test_the_name_of_earlier_versions_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("accelerator: cpu\nsize: 64\n")
    assert read_config(file) == TrainConfig(device="cpu", size=64)
    file.write_text("accelerator: cuda\ndevice: cpu\n")  # by hand
    assert read_config(file).device == "cpu"
    stored = {**config_to_dict(TrainConfig()), "accelerator": "cuda"}
    del stored["device"]
    assert config_from_dict(stored) == TrainConfig(device="cuda")
    command = cli.parse(["train", "A", "B", "--accelerator", "cpu"])
    assert command.settings.device == "cpu"  # type: ignore[union-attr]
    assert cli.main(["train", "A", "B", "--accelerator", "tpu"]) == 2
