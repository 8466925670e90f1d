"""The benchmark scripts at tiny sizes: what they count is right, and they run."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType

import cost_growth
import decoder_cost
import loader_speed
import memory
import method_cost
import predict_speed
import roofline
import side_by_side
import start_speed
import step_time
from diffrect.config import TrainConfig
from diffrect.methods.registry import METHODS
from diffrect.networks.unet import UNet
from side_by_side import take_turns
from support.tiny import ACDC_SHAPE


def test_turns_are_taken_and_the_first_is_not_counted():
    calls = []
    times = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert list(times) == ["a", "b"]


def test_prediction(tiny_run, exported, acdc_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict_speed, "export", lambda *_, **__: exported)
    image = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    predict_speed.report(tiny_run, image, tmp_path, 48, rounds=1)
    printed = capsys.readouterr().out
    found = dict(re.findall(r"voxels that (.+) labels otherwise: (\d+)", printed))
    assert found["ours, slice by slice"] == found["ONNX"] == "0"
    assert re.search(r"diffrect +[\d.]+ +[\d.]+ +1\.00", printed)
    assert re.search(r"diffrect, bf16 +[\d.]+ +[\d.]+ +[\d.]+\n", printed)
    assert int(found["ours in bf16"]) < 0.05 * np.prod(ACDC_SHAPE)


def test_loading(acdc_folder, monkeypatch, capsys):
    options = f"--data {acdc_folder} --size 32 --rounds 1 --batches 2"
    monkeypatch.setattr("sys.argv", ["loader", *options.split()])
    loader_speed.main()
    rows = re.findall(r"^(.+?) +([\d.]+) batches/s +([\d.]+) ms", capsys.readouterr().out, re.M)
    assert [what for what, _, _ in rows] == ["h5 and PIL", "reference", "default"]
    for _, rate, sample in rows:  # six slices a batch
        assert 1e3 / float(rate) / 6 == pytest.approx(float(sample), rel=0.1)


def test_iterations_in_units_of_the_segmenter(monkeypatch, capsys):
    options = "--size 32 --batch 1 --rounds 1 --presets default"
    monkeypatch.setattr("sys.argv", ["step", *options.split()])
    step_time.main()
    printed = capsys.readouterr().out
    assert printed.startswith(f"{side_by_side.machine()}; 32 x 32, batch 1 + 1, 32-true")
    assert re.search(r"^U +[\d.]+ +1\.00 +1\.00 +\d+$", printed, re.MULTILINE)
    share = re.search(r"^default +[\d.]+ +[\d.]+ +[\d.]+ +\d+ +([\d.]+)%$", printed, re.MULTILINE)
    assert 0 < float(share[1]) < 100


def test_cost_of_every_method(monkeypatch, capsys):
    monkeypatch.setattr(side_by_side, "_clock", side_by_side._clock)
    threads = torch.get_num_threads()
    options = f"--size 16 --rounds 1 --threads {threads} --processor-time"
    monkeypatch.setattr("sys.argv", ["cost", *options.split()])
    method_cost.main()
    printed = capsys.readouterr().out
    assert f"{threads} threads, processor time, torch" in printed
    rows = re.findall(r"^(\w+) +([\d.]+) ms +([\d.]+)$", printed, re.MULTILINE)
    assert sorted(method for method, _, _ in rows) == sorted(METHODS)
    times = [float(time) for _, time, _ in rows]
    assert times == sorted(times)


def test_processor_time_is_refused_on_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(side_by_side, "DEVICE", torch.device("cuda"))
    monkeypatch.setattr("sys.argv", ["cost", "--processor-time"])
    with pytest.raises(SystemExit):
        method_cost.main()
    assert "--processor-time: expected a CPU" in capsys.readouterr().err


def test_peak_memory_is_that_of_the_allocator():
    here = torch.zeros(1 << 20)
    before = memory.living()
    assert before >= here.nbytes

    def run() -> None:
        for _ in range(3):  # never two at once
            torch.zeros(1 << 22)

    assert memory.peak_of(run) - before == 4 << 22


def test_memory_of_a_training(store, tmp_path, capsys):
    config = TrainConfig(method="supervised", size=32, batch_labelled=2, batch_unlabelled=2)
    memory.report(step_time.make_trainer(store, tmp_path, config))
    row = capsys.readouterr().out.split()
    kept, weights, optimisers, gradients, need, peak, ratio = map(float, row[1:8])
    assert weights > 7
    assert optimisers == gradients > 7
    assert kept > 1
    assert need == pytest.approx(kept + weights + optimisers + gradients, abs=0.3)
    assert 0.9 < ratio == pytest.approx(peak / need, abs=0.01)


def test_roofline_counts_the_work_of_the_segmenter():
    network, side = UNet(1, 4), 32
    counted = step_time.counted(lambda: network(torch.rand(1, 1, side, side)))
    ours = sum(18 * i * o * (side >> level) ** 2 for i, o, level in roofline.shapes(1, 4))
    # and the 1 x 1 convolutions before upsampling
    ours += sum(
        2 * up.reduce.in_channels * up.reduce.out_channels * (side >> 4 - level) ** 2
        for level, up in enumerate(network.decoder.ups)
    )
    assert ours == counted


def test_roofline_runs(capsys):
    assert roofline.throughput(16, 1, 1, 4, rounds=1) > 0
    roofline.presets(32, 1, ["default"], 1, rate=1e9)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ +\d+ +\d+ +\d+( +\d+){8}$", printed, re.MULTILINE)) == 19
    shares = [float(share) for share in re.findall(r"([\d.]+) % +[\d.]+ s", printed)]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_work_of_a_gpu_counts_once(monkeypatch):
    monkeypatch.setattr(roofline, "DEVICE", torch.device("cuda"))
    rows = [  # an operation and its kernel, each with the microseconds of its own
        ("aten::cudnn_convolution", DeviceType.CPU, 600.0),
        ("cutlass_conv_fprop", DeviceType.CUDA, 600.0),
        ("aten::cudnn_batch_norm", DeviceType.CPU, 200.0),
        ("bn_fw_tr_1C11", DeviceType.CUDA, 200.0),
        ("cudaLaunchKernel", DeviceType.CPU, 0.0),
    ]
    events = [
        SimpleNamespace(key=key, device_type=kind, self_device_time_total=time)
        for key, kind, time in rows
    ]
    shares = roofline.shares(events, taken=1e-3)
    found = {kind: share for kind, share in shares.items() if share}
    assert found == pytest.approx({"convolutions": 0.6, "batch norm": 0.2, "idle": 0.2})


def test_growth_of_cost(tmp_path, monkeypatch):
    monkeypatch.setitem(cost_growth.DEFAULT, "size", 32)
    monkeypatch.setitem(cost_growth.DEFAULT, "batch", 2)
    monkeypatch.setitem(cost_growth.VALUES, "classes", [2, 5])
    out = tmp_path / "growth"
    arguments = ["growth", "--out", str(out), "--rounds", "1", "--axes", "classes"]
    monkeypatch.setattr("sys.argv", [*arguments, "--presets", "default"])
    cost_growth.main()
    times = json.loads(out.with_suffix(".json").read_text())["times"]
    assert list(times) == ["default 32 2 2", "default 32 2 5"]
    assert min(times.values()) > 0
    assert out.with_suffix(".png").read_bytes()[1:4] == b"PNG"
    monkeypatch.setattr(cost_growth, "measure", None)  # nothing is measured twice
    cost_growth.main()


def test_start_is_quick_and_loads_no_torch(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["start", "--rounds", "1"])
    start_speed.main()
    found = re.findall(r"([\d.]+) s, torch loaded: (\w+)", capsys.readouterr().out)
    assert [loaded for _, loaded in found] == ["False"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_cost_of_decoders_in_a_process_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cost", *["--files", "6", "--side", "16", "--rounds", "1"]])
    decoder_cost.main()
    printed = capsys.readouterr().out
    assert re.findall(r"^(\w+) +[\d.]+ +[\d.]+ +[\d.]+$", printed, re.M) == ["PNG", "HDF5", "DICOM"]
    assert re.search(r"^start of the process, once: [\d.]+ s$", printed, re.M)
