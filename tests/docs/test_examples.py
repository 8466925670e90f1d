"""The examples in the docstrings of the public names, run as they are written."""

import doctest
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

import diffrect
from diffrect.comparison import run as comparison_run
from diffrect.comparison.cell import do_cell
from diffrect.comparison.report import report as report_module
from diffrect.data.store import Store
from diffrect.inference import export as export_module
from support.fake_cells import write_cell


@pytest.fixture
def examples_folder(
    acdc_folder: Path,
    store: Store,
    tiny_run: Path,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The current folder, with what the examples name: ACDC, a store, a run, cells and a scan."""
    shutil.copytree(acdc_folder, tmp_path / "ACDC")
    shutil.copytree(store.path, tmp_path / "store")
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "store.txt").write_text(str(tmp_path / "store"))
    for method, dice in (("supervised", 0.6), ("diffrect", 0.7)):
        write_cell(tmp_path / "cells", method, {"v1_a": (dice, dice), "v2_a": (dice, 0.5)})
    scan = next((tmp_path / "ACDC" / "patient011").glob("*_frame01.nii.gz"))
    shutil.copy(scan, tmp_path / "scan.nii.gz")
    (tmp_path / "my_methods.py").write_text("class MeanTeacher: ...\n")
    monkeypatch.chdir(tmp_path)
    # What takes seconds and is tested elsewhere: processes of cells, plots, PyTorch's exporter.
    monkeypatch.setattr(comparison_run, "do_cell_apart", do_cell)
    monkeypatch.setattr(report_module, "draw_plots", lambda *_: [])
    monkeypatch.setattr(export_module, "_write", lambda _, path: shutil.copy(exported, path))
    return tmp_path


def examples(name: str) -> list[doctest.DocTest]:
    """The examples of a public name: of its docstring and, for a class, of its methods."""
    value: Any = getattr(diffrect, name)
    module = inspect.getmodule(value)
    found = doctest.DocTestFinder(recurse=True).find(value, name, module=module, globs={})
    return [one for one in found if one.examples]


@pytest.mark.parametrize("name", diffrect.__all__)
def test_the_examples_of_public_names_run(
    name: str, examples_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = examples(name)
    assert found, f"{name} has no example"
    for example in found:
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(example)
        assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out
