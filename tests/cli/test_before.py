"""Wrong paths and names are told before PyTorch is loaded, and for what they are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffrect.data.store import Store

WRONG = {
    "prepare nowhere new": "nowhere: expected a folder with a data set, found nothing",
    "prepare STORE new --workers 0": "--workers: expected at least 1",
    "inspect nowhere": "nowhere: expected a folder with a data set, found nothing",
    "train nowhere new": "nowhere: expected a store made by prepare, found no store.json",
    "train RUN new": "RUN: expected a store made by prepare, found a run made by train",
    "train STORE new --method foo": "--method foo: expected one of supervised, ",
    "train STORE new --size 0": "--size: expected ",
    "evaluate nowhere": "nowhere/checkpoints/best.pt: expected a checkpoint, found no such file",
    "evaluate STORE": "STORE: expected a run made by train, found a store made by prepare",
    "evaluate RUN --store RUN": "RUN: expected a store made by prepare, found a run made by train",
    "predict RUN out no.nii": "no.nii: expected an image file or a folder of them, found neither",
    "predict STORE out a.nii": "STORE: expected a run made by train, found a store made by prepare",
    "predict no.onnx out a.nii": "no.onnx: expected a model made by export, found no such file",
    "export STORE m.onnx": "STORE: expected a run made by train, found a store made by prepare",
    "compare nowhere cells --methods ict,foo": "--methods foo: --method foo: expected one of sup",
    "compare nowhere cells --methods ict --shard 3/2": "--shard: expected PART/PARTS such as 2/8",
    "compare RUN cells --methods ict": "RUN: expected a store made by prepare, found a run made by",
}
CODE = """
import json, sys
from diffrect.cli.main import main
for command in json.loads(sys.argv[1]):
    code = main(command.split())
    loaded = [name for name in ("torch", "lightning_fabric", "matplotlib") if name in sys.modules]
    print(code, loaded, flush=True)
"""


def test_what_is_wrong_at_once_is_told_without_torch(
    store: Store, tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "STORE").symlink_to(store.path)
    (tmp_path / "RUN").symlink_to(tiny_run)
    (tmp_path / "a.nii").touch()
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-c", CODE, json.dumps(list(WRONG))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["2 []"] * len(WRONG), done.stderr
    told = done.stderr.splitlines()
    assert len(told) == len(WRONG)
    for (command_line, message), line in zip(WRONG.items(), told, strict=True):
        assert line.startswith(f"diffrect: error: {message}"), command_line
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_is_no_run_in_python_either(store: Store) -> None:
    from diffrect.errors import InputError
    from diffrect.inference.model import Model

    with pytest.raises(InputError, match="expected a run made by train, found a store made by"):
        Model.load(store.path)
