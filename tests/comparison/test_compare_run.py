"""A matrix at work: finished cells stay, started ones resume, failed and taken ones are named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diffrect import compare
from diffrect.cli import main as cli
from diffrect.comparison import cell as cell_module
from diffrect.comparison import run as run_module
from diffrect.comparison.cell import Outcome, check_cell
from diffrect.comparison.cell_process import read_outcome
from diffrect.comparison.cost import training_cost
from diffrect.comparison.estimate import print_estimates
from diffrect.comparison.locks import CellLock, lock_owner
from diffrect.comparison.matrix import Cell
from diffrect.comparison.names import LOCKS_FOLDER
from diffrect.comparison.report import report as report_module
from diffrect.comparison.run import CompareError, plan_comparison
from diffrect.config import TrainConfig, config_to_dict
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.methods.registry import complete
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.provenance import code_version
from diffrect.training.train import train

TINY = TrainConfig(size=32, iterations=2, batch_labelled=2, batch_unlabelled=1, device="cpu")
MATRIX: dict[str, Any] = {"methods": ["supervised"], "seeds": [0, 1], "config": TINY}
CELLS = ("supervised-seed0", "supervised-seed1")


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "draw_plots", lambda *_: [])


@pytest.fixture(scope="module")
def made(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two finished cells of `MATRIX`."""
    folder = tmp_path_factory.mktemp("compare") / "cells"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "draw_plots", lambda *_: [])
        compare(store.path, folder, **MATRIX, apart=False, progress=False)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "cells")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that are trained from here on."""
    names: list[str] = []

    def spy(store: Any, run: Path, *rest: Any, **options: Any) -> Path:
        names.append(run.name)
        return train(store, run, *rest, **options)

    monkeypatch.setattr(cell_module, "train", spy)
    return names


def again(store: Store, folder: Path, **changes: Any) -> Any:
    matrix = {**MATRIX, "apart": False, "progress": False, **changes}
    return compare(store.path, folder, **matrix)


def test_cells_are_runs_with_scores_and_cost(made: Path) -> None:
    for name in CELLS:
        assert (made / name / "config.yaml").is_file()
        assert checkpoint_path(made / name, "best").is_file()
        metrics = json.loads((made / name / "metrics_val.json").read_text())
        assert (metrics["protocol"]["method"], metrics["split"]) == ("supervised", "val")
        cell = json.loads((made / name / "cell.json").read_text())
        assert (cell["name"], cell["seed"]) == ("supervised", int(name[-1]))
        cost = cell["cost"]
        assert cost["parameters"] == cost["trained_parameters"] > 1_800_000
        assert 0 < cost["seconds_per_iteration"] < 60 * cost["minutes"]
        assert cost["peak_memory_mib"] > 50
        assert "thread" in cost["machine"]
    assert list(json.loads((made / "matrix.json").read_text())["cells"]) == list(CELLS)
    assert (made / "report_val" / "table.md").is_file()
    assert not list((made / LOCKS_FOLDER).iterdir())


def test_finished_cells_are_left_alone(store: Store, folder: Path, trained: list[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.glob("supervised*/**/*")}
    report = again(store, folder)
    assert trained == []
    assert {file: file.stat().st_mtime_ns for file in folder.glob("supervised*/**/*")} == before
    assert len(report.results) == 2


def test_only_what_is_missing_is_done(store: Store, folder: Path, trained: list[str]) -> None:
    (folder / CELLS[0] / "metrics_val.json").unlink()
    (folder / CELLS[0] / "tensorboard").rename(folder / CELLS[0] / "kept")
    again(store, folder, seeds=[0, 1, 2])
    assert trained == [CELLS[0], "supervised-seed2"]
    assert (folder / CELLS[0] / "metrics_val.json").is_file()
    lines = (folder / CELLS[0] / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines].count("end") == 1  # only scored now


def test_another_split_is_scored_without_training(store: Store, folder: Path) -> None:
    weights = checkpoint_path(folder / CELLS[0], "last").read_bytes()
    report = again(store, folder, split="test")
    assert report.split_words == "test split"
    assert (folder / "report_test" / "table.md").read_text().startswith("# Comparison on the test")
    assert checkpoint_path(folder / CELLS[0], "last").read_bytes() == weights


def test_a_run_killed_before_its_first_checkpoint_starts_again(store: Store, folder: Path) -> None:
    broken = folder / CELLS[0]
    for name in ("metrics_val.json", "cell.json", "split.json", "metrics.jsonl"):
        (broken / name).unlink()
    shutil.rmtree(checkpoint_path(broken, "last").parent)
    assert len(again(store, folder).results) == 2


def test_a_failed_cell_does_not_stop_the_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(store: Any, run: Path, *rest: Any, **options: Any) -> Path:
        if run.name == CELLS[0]:
            raise InputError("the loss became nan")
        return train(store, run, *rest, **options)

    monkeypatch.setattr(cell_module, "train", fail)
    with pytest.raises(
        CompareError, match="1 of 2 cells failed: supervised-seed0: the loss"
    ) as caught:
        again(store, tmp_path)
    assert caught.value.done == [tmp_path / CELLS[1]]
    assert list(caught.value.failures) == [tmp_path / CELLS[0]]
    assert caught.value.exit_code == 1
    assert (tmp_path / CELLS[1] / "metrics_val.json").is_file()
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert "- Planned but missing: supervised-seed0." in page


def run_cli(store: Store, folder: Path, *more: str, wait: bool = True) -> Any:
    command = [sys.executable, "-m", "diffrect", "compare", str(store.path), str(folder)]
    command += ["--size", "32", "--batch-labelled", "2", "--batch-unlabelled", "1"]
    command += ["--device", "cpu", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return (process, *process.communicate(timeout=300)) if wait else process


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_and_run_again_ends_as_if_nothing_had_happened(store: Store, tmp_path: Path) -> None:
    long = ["--methods", "supervised", "--seeds", "0", "--iterations", "40"]
    long += ["--validate-every", "4"]
    name = CELLS[0]
    killed = run_cli(store, tmp_path, *long, wait=False)
    until(checkpoint_path(tmp_path / name, "last").is_file)
    assert f"process {killed.pid}" not in (lock_owner(tmp_path, name) or "")  # its worker's
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: lock_owner(tmp_path, name) is None)  # the worker notices, saves and stops
    step = load_checkpoint(checkpoint_path(tmp_path / name, "last"))["step"]
    assert 4 <= step < 40
    assert not (tmp_path / name / "metrics_val.json").exists()
    config = TrainConfig(**{**vars(TINY), "iterations": 40, "validate_every": 4})
    again(store, tmp_path, seeds=[0], config=config)
    again(store, tmp_path / "whole", seeds=[0], config=config)
    one, other = (
        load_checkpoint(checkpoint_path(path / name, "last"))["method"]
        for path in (tmp_path, tmp_path / "whole")
    )
    assert all(torch.equal(one[key], other[key]) for key in other)
    one, other = (
        json.loads((path / name / "metrics_val.json").read_text())["cases"]
        for path in (tmp_path, tmp_path / "whole")
    )
    assert one == other


SHARED = """
import sys
from pathlib import Path
from diffrect import TrainConfig, compare
from diffrect.comparison import cell
from diffrect.comparison.report import report
report.draw_plots = lambda *_: []
train = cell.train
def spy(store, run, *rest, **options):
    print(run.name, flush=True)
    return train(store, run, *rest, **options)
cell.train = spy
config = TrainConfig(size=32, iterations=2, batch_labelled=2, device="cpu")
compare(
    sys.argv[1], sys.argv[2], methods=["supervised"], labelled=[1, 2], seeds=[0, 1],
    config=config, apart=False, progress=False,
)
"""


def test_two_processes_train_each_cell_once(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARED, str(store.path), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    trained = "".join(process.communicate(timeout=300)[0] for process in both).split()
    assert [process.returncode for process in both] == [0, 0]
    assert len(trained) == len(set(trained)) == 4
    assert len(list(tmp_path.glob("*/metrics_val.json"))) == 4


def test_failures_set_the_exit_code(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(run_module, "do_cell_apart", run_module.do_cell)
    variants = tmp_path / "variants.yaml"
    variants.write_text(
        "broken: {method: supervised, labelled: 99}\nfine: {method: supervised, labelled: 1}\n"
    )
    given = ["--variants", str(variants), "--size", "32", "--iterations", "2", "--quiet"]
    code = cli.main(["compare", str(store.path), str(tmp_path / "cells"), *given])
    assert code == 1
    message = "broken-labelled99-seed1337: --labelled: expected at most the 3 training patients"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"diffrect: error: {message}")
    assert err.count("\n") == 1
    assert (tmp_path / "cells" / "fine-labelled1-seed1337" / "cell.json").is_file()
    assert not (tmp_path / "cells" / "broken-labelled99-seed1337").exists()


def test_a_cell_that_another_process_does_is_left_to_it(
    store: Store, folder: Path, trained: list[str], capsys: Any
) -> None:
    (folder / CELLS[0] / "metrics_val.json").unlink()
    with CellLock(folder, CELLS[0]):
        report = again(store, folder, progress=True)
    assert trained == []
    assert f"supervised-seed0: taken: taken by process {os.getpid()} on" in capsys.readouterr().err
    assert [result.folder.name for result in report.results] == [CELLS[1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 64}, "supervised-seed0: expected a cell with size 64 as this comparison asks"),
        ({"options": {"blur_sigma": 0.0}}, "expected a cell with blur_sigma 0.0 as this compar"),
        ({"preset": "reference"}, "supervised-seed0: expected a cell with preset reference as"),
    ],
)
def test_cells_of_another_matrix_are_refused_before_anything_starts(
    changes: dict[str, Any], message: str, store: Store, folder: Path, trained: list[str]
) -> None:
    config = TrainConfig(**{**vars(TINY), **changes})
    with pytest.raises(InputError, match=message):
        again(store, folder, config=config, seeds=[3, 0])
    (folder / CELLS[0] / "metrics_val.json").unlink()
    with pytest.raises(InputError, match=message):
        again(store, folder, config=config, seeds=[0])
    assert trained == []


def test_a_cell_of_an_earlier_preset_is_another_cell(tmp_path: Path) -> None:
    """What version 0.1.0 scored as `reference` had other views."""
    config = TrainConfig(method="supervised", preset="reference")
    cell = Cell("supervised", config)
    protocol = config_to_dict(complete(config))
    file = tmp_path / "metrics_val.json"
    file.write_text(json.dumps({"format": 1, "protocol": protocol}))
    check_cell(tmp_path, cell, "val")
    del protocol["options"]["geometry"]
    file.write_text(json.dumps({"format": 1, "protocol": protocol}))
    with pytest.raises(InputError, match=r"a cell with geometry authors .*, found one with single"):
        check_cell(tmp_path, cell, "val")


def test_another_protocol_beside_finished_cells_is_refused(store: Store, folder: Path) -> None:
    config = TrainConfig(**{**vars(TINY), "iterations": 3})
    with pytest.raises(InputError, match="seed0: expected cells of one protocol in a folder, got"):
        again(store, folder, config=config, seeds=[5])
    with pytest.raises(InputError, match="store: expected a folder for the cells, found a store"):
        again(store, shutil.copytree(store.path, folder / "store"))
    with pytest.raises(InputError, match="seed0: expected a folder for the cells, found a run"):
        again(store, folder / CELLS[0])


def test_a_dry_run_writes_nothing_and_says_where_its_times_come_from(
    store: Store, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    matrix = {**MATRIX, "methods": ["supervised", "diffrect"], "seeds": [0, 9]}
    file = folder / CELLS[1] / "cell.json"
    cell = json.loads(file.read_text())
    for name in CELLS:
        cell["cost"]["minutes"] = 6.0
        (folder / name / "cell.json").write_text(json.dumps(cell))
    before = sorted(tmp_path.rglob("*"))
    plans = plan_comparison(store.path, folder, **matrix)
    assert sorted(tmp_path.rglob("*")) == before
    assert [(p.cell.folder, p.state, p.source) for p in plans] == [
        ("supervised-seed0", "finished", "finished"),
        ("diffrect-seed0", "new", "3 timed steps"),
        ("supervised-seed9", "new", "finished cells"),
        ("diffrect-seed9", "new", "3 timed steps"),
    ]
    assert [plans[0].minutes, plans[2].minutes] == [0.0, 6.0]
    assert plans[1].minutes == plans[3].minutes > 0
    assert len(plan_comparison(store.path, folder, **matrix, shard=(1, 4))) == 1
    print_estimates(plans)
    printed = capsys.readouterr().out
    assert "4 cells" in printed
    assert "one after another" in printed
    text = f"compare {store.path} {tmp_path / 'new'} --methods supervised --size 32 --dry-run"
    assert cli.main([*text.split(), "--iterations", "2", "--device", "cpu"]) == 0
    assert not (tmp_path / "new").exists()


def test_half_done_cells_are_estimated_by_what_is_left(store: Store, folder: Path) -> None:
    run = folder / CELLS[0]
    (run / "metrics_val.json").unlink()
    (run / "metrics.jsonl").write_text('{"kind": "val", "step": 1, "dice": 0.5}\n')
    with CellLock(folder, CELLS[1]):
        plans = plan_comparison(store.path, folder, **MATRIX)
    assert plans[0].state == "iteration 1 of 2"
    full = json.loads((folder / CELLS[1] / "cell.json").read_text())["cost"]["minutes"]
    both = [full, json.loads((run / "cell.json").read_text())["cost"]["minutes"]]
    assert plans[0].minutes == pytest.approx(sum(both) / 2 / 2)


def test_how_a_worker_ended() -> None:
    assert read_outcome('noise\n{"kind": "failed", "reason": "x"}\n', 0) == Outcome("failed", "x")
    lost = read_outcome("[]\n", -signal.SIGKILL)
    assert lost == Outcome("failed", "its process was ended by SIGKILL, perhaps out of memory")
    assert read_outcome("", 3) == Outcome("failed", "its process ended with code 3")


def test_the_commit_is_the_package_s() -> None:
    commit = code_version().commit
    assert commit is None or len(commit.removesuffix("+")) == 12


@pytest.mark.parametrize("counted", [True, False], ids=["", "begun before processors were"])
def test_minutes_add_up_over_sessions(counted: bool, store: Store, tmp_path: Path) -> None:
    config = TrainConfig(
        **{**vars(TINY), "method": "supervised", "iterations": 4, "validate_every": 2}
    )
    run = train(store.path, tmp_path / "run", config, progress=False)
    file = run / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [
        {**line, "minutes": 90.0, **({"processor_minutes": 70.0} if counted else {})}
        for line in ({k: v for k, v in each.items() if k != "processor_minutes"} for each in lines)
        if line["step"] <= 2
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in kept))
    state = load_checkpoint(checkpoint_path(run, "last"))
    torch.save({**state, "step": 2, "validated": 2}, checkpoint_path(run, "last"))
    train(store.path, run, config, resume=True, progress=False)
    end = json.loads(file.read_text().splitlines()[-1])
    assert end["kind"] == "end"
    assert 90 < end["minutes"] < 95
    if counted:
        assert 70 < end["processor_minutes"] < 75
    else:  # half of it would be worse than none
        assert "processor_minutes" not in end
    cost = training_cost(run, "best")
    assert cost.minutes == end["minutes"]
    assert cost.processor_minutes == end.get("processor_minutes")
