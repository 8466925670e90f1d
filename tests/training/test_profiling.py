"""`train --profile`: a trace that viewers read, and the ten largest operations."""

import gzip
import json
from types import SimpleNamespace

import torch
from torch.autograd import DeviceType

from diffrect.cli import main as cli
from diffrect.training.profiling import StepProfiler


def test_trace_and_table(store, tmp_path, capsys):
    run = tmp_path / "run"
    command = f"train {store.path} {run} --method supervised --size 32 --iterations 10 --profile"
    assert cli.main([*command.split(), "--validate-every", "9", "--quiet"]) == 0
    screen = capsys.readouterr().err
    assert "mean of 5: the 10 largest by cpu time" in screen
    assert "convolution_backward" in screen
    with gzip.open(run / "profile" / "trace.pt.trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    steps = [event["name"] for event in events if event["name"].startswith("ProfilerStep")]
    assert len(set(steps)) == 5  # the warm-up is not in it
    assert (run / "checkpoints" / "last.pt").is_file()


def test_a_gpu_s_time_is_shared_among_operations_alone():
    rows = [
        ("aten::cudnn_convolution", DeviceType.CPU, 600.0),
        ("cutlass_conv_fprop", DeviceType.CUDA, 600.0),
        ("aten::cudnn_batch_norm", DeviceType.CPU, 200.0),
        ("bn_fw_tr_1C11", DeviceType.CUDA, 200.0),
    ]
    events = [
        SimpleNamespace(
            key=key,
            device_type=kind,
            self_device_time_total=time,
            self_device_memory_usage=0,
            count=1,
        )
        for key, kind, time in rows
    ]
    profiler = SimpleNamespace(device=torch.device("cuda"))
    table = StepProfiler.table(profiler, events, 1)
    assert list(table.columns[0].cells) == ["aten::cudnn_convolution", "aten::cudnn_batch_norm"]
    assert list(table.columns[2].cells) == ["75.0 %", "25.0 %"]
