"""The tutorials: their steps run, in a short form, and print what the pages show."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffrect.comparison import run as comparison_run
from diffrect.comparison.cell import do_cell
from diffrect.comparison.report import report as report_module
from diffrect.inference import export as export_module
from tutorial import IN_PYTHON, PAGE, Step, notebook, read_steps, run

# These print the same on every machine and after any training.
EXACT = ("python", "diffrect inspect", "diffrect prepare", "diffrect train", "diffrect predict")


def shortened(step: Step) -> Step:
    """The step with a training of two iterations."""
    short = re.sub(r"(--iterations |\biterations=)\d+", r"\g<1>2", step.written)
    short = re.sub(r"(--validate-every |\bvalidate_every=)\d+", r"\g<1>2", short)
    return replace(step, written=short)


def without_numbers(output: str) -> str:
    """What is printed whatever a training has learnt, and however wide its numbers are."""
    return " ".join(re.sub(r"\d+(\.\d+)?", "0", output).split())


def headings(output: str) -> list[list[str]]:
    """The words in the headings of a printed table.

    Its columns are as wide as the numbers, and in voxels where no distance in mm is defined.
    """
    lines = [line.replace("voxels", "mm") for line in output.splitlines()]
    return [re.findall(r"[\w%]+", line) for line in lines if line.startswith("┃")]


def test_the_steps_print_what_the_page_shows(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # PyTorch's exporter takes many seconds; another model of the same shape takes its place.
    monkeypatch.setattr(export_module, "_write", lambda _, path: shutil.copy(exported, path))
    monkeypatch.setattr(export_module, "_compare", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(comparison_run, "do_cell_apart", do_cell)
    monkeypatch.setattr(report_module, "draw_plots", lambda *_: [])
    variables: dict[str, Any] = {}
    for step in read_steps():
        if step.kind == "text":
            continue
        if "onnx" in step.source:
            pytest.importorskip("onnxruntime")
        printed = run(shortened(step), variables)
        if step.kind == "python" or step.source.startswith(EXACT):
            assert printed == step.output, step.source
        else:
            assert headings(printed) == headings(step.output), step.source
    assert (tmp_path / "first-model.png").stat().st_size > 1000
    assert (tmp_path / "cells" / "report_val" / "table.md").is_file()


def test_every_command_is_in_the_tutorial() -> None:
    used = {step.source.split()[1] for step in read_steps() if step.source.startswith("diffrect ")}
    assert used == {"inspect", "prepare", "train", "evaluate", "predict", "compare", "export"}


def test_the_steps_in_python_print_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    steps = [step for step in read_steps(IN_PYTHON) if step.kind != "text"]
    assert {step.kind for step in steps} == {"python"}
    for step in steps:
        printed = run(shortened(step), variables)
        assert without_numbers(printed) == without_numbers(step.output), step.source
        if step.picture:
            shown, page = ((f / step.picture).read_text() for f in (tmp_path, IN_PYTHON.parent))
            titles = [
                re.findall(r"<text [^>]*middle[^>]*>(.*?)</text>", svg) for svg in (shown, page)
            ]
            assert titles[0] == titles[1] != []
    assert len([step for step in steps if step.picture]) == 3


@pytest.mark.parametrize("page", [PAGE, IN_PYTHON], ids=lambda page: page.stem)
def test_the_notebook_is_one(page: Path) -> None:
    content = json.loads(notebook(page))
    assert (content["nbformat"], len(notebook(page)) < 250_000) == (4, True)
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    steps = [step for step in read_steps(page) if step.kind != "text"]
    assert len(code) == len(steps)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell, step in zip(code, steps, strict=True):
        shown = [one for one in cell["outputs"] if "data" in one]
        assert len(shown) == bool(step.picture)
        assert all(one["data"]["image/svg+xml"][0].startswith("<svg ") for one in shown)
