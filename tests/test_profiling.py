"""`train --profile`: a trace that viewers read, and the ten largest operations."""

import gzip
import json

from diffrect import cli


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
