"""The benchmark scripts at tiny sizes: what they count is right, and they run."""

import json
import re

import pytest
import torch

import cost_growth
import loader_speed
import memory
import predict_speed
import roofline
import start_speed
import step_time
from diffrect.config import TrainConfig
from diffrect.models.unet import UNet
from side_by_side import take_turns


def test_turns_are_taken_and_the_first_is_not_counted():
    calls = []
    times = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert list(times) == ["a", "b"]


def test_prediction(tiny_run, acdc_folder, tmp_path, capsys):
    image = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    predict_speed.report(tiny_run, image, tmp_path, 48, rounds=1)
    printed = capsys.readouterr().out
    found = dict(re.findall(r"voxels that (.+) labels otherwise: (\d+)", printed))
    assert found["ours, slice by slice"] == found["ONNX"] == "0"
    assert re.search(r"diffrect +[\d.]+ +[\d.]+ +1\.00", printed)


def test_loading(acdc_folder, monkeypatch, capsys):
    options = f"--data {acdc_folder} --size 32 --rounds 1 --batches 2"
    monkeypatch.setattr("sys.argv", ["loader", *options.split()])
    loader_speed.main()
    rows = re.findall(r"^(.+?) +([\d.]+) batches/s +([\d.]+) ms", capsys.readouterr().out, re.M)
    assert [what for what, _, _ in rows] == ["h5 and PIL", "reference", "default"]
    for _, rate, sample in rows:  # six slices a batch
        assert 1e3 / float(rate) / 6 == pytest.approx(float(sample), rel=0.1)


@pytest.mark.skipif(memory.DEVICE.type != "cpu", reason="counts what the CPU allocates")
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
    roofline.presets(16, 1, ["default"], 1, rate=1e9)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ +\d+ +\d+ +\d+( +\d+){8}$", printed, re.MULTILINE)) == 19
    shares = [float(share) for share in re.findall(r"([\d.]+) % +[\d.]+ s", printed)]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_growth_of_cost(tmp_path, monkeypatch):
    monkeypatch.setitem(cost_growth.DEFAULT, "size", 16)
    monkeypatch.setitem(cost_growth.DEFAULT, "batch", 2)
    monkeypatch.setitem(cost_growth.VALUES, "classes", [2, 5])
    out = tmp_path / "growth"
    arguments = ["growth", "--out", str(out), "--rounds", "1", "--axes", "classes"]
    monkeypatch.setattr("sys.argv", [*arguments, "--presets", "default"])
    cost_growth.main()
    times = json.loads(out.with_suffix(".json").read_text())["times"]
    assert list(times) == ["default 16 2 2", "default 16 2 5"]
    assert min(times.values()) > 0
    assert out.with_suffix(".png").read_bytes()[1:4] == b"PNG"
    monkeypatch.setattr(cost_growth, "measure", None)  # nothing is measured twice
    cost_growth.main()


def test_start_is_quick_and_loads_no_torch(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["start", "--rounds", "1"])
    start_speed.main()
    found = re.findall(r"([\d.]+) s, torch loaded: (\w+)", capsys.readouterr().out)
    assert [loaded for _, loaded in found] == ["False"] * 3
