"""Bad input, told to the command line: one line, exit code 2, and every file as it was before."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from bad_cases import DEMO, EVALUATE, FINE, PREDICT, PREPARE, TRAIN
from diffrect import cli
from diffrect.data.store import Store
from spoil import Spoil
from tiny import write_nifti

QUICK = {
    "prepare": "--workers 1",
    "train": "--method supervised --size 32 --iterations 2 --batch-labelled 2 --accelerator cpu",
}
CASES = {"prepare": PREPARE, "train": TRAIN, "evaluate": EVALUATE, "predict": PREDICT, "demo": DEMO}


@pytest.fixture
def good(
    decathlon_folder: Path,
    ssl4mis_folder: Path,
    store: Store,
    decathlon_store: Store,
    tiny_run: Path,
) -> dict[str, Path]:
    """What the commands may name, all of it in order."""
    return {
        "source": decathlon_folder,
        "h5": ssl4mis_folder,
        "store": store.path,
        "other": decathlon_store.path,
        "run": tiny_run,
    }


def files() -> dict[Path, tuple[int, int] | None]:
    """Everything below the working directory, with size and time of the files."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
        for path in Path().rglob("*")
    }


@pytest.mark.parametrize(
    ("command", "arguments", "message", "spoil"),
    [
        pytest.param(command, *case, id=f"{command}: {name}")
        for command, cases in CASES.items()
        for name, case in cases.items()
    ],
)
def test_bad_input_is_told_in_one_line_and_changes_nothing(
    command: str,
    arguments: str,
    message: str,
    spoil: Spoil,
    good: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(tmp_path)
    given = arguments.split()
    for name in good.keys() & set(given):
        shutil.copytree(good[name], name)
    write_nifti(Path("a.nii.gz"), FINE)
    spoil()
    before = files()
    # What a case says of an option comes last and counts.
    options = QUICK.get(command, "").split()
    assert cli.main([command, *given[:2], *options, *given[2:]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"diffrect: error: {message}\n", err), err
    assert files() == before
