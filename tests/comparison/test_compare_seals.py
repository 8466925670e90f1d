"""Files of a comparison that were changed by hand are noticed, and refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrect.comparison.cost import cost_from_dict
from diffrect.comparison.matrix_file import planned_cells
from diffrect.comparison.report import report as report_module
from diffrect.comparison.report.export import export_cells
from diffrect.comparison.report.report import compare_table
from diffrect.errors import InputError
from diffrect.evaluation.scores_file import is_sealed, read_scores, sealed
from support.fake_cells import write_cell

HIGH = {"v1_a": (0.9, 0.7), "v1_b": (0.8, 0.6), "v2_a": (0.7, 0.5)}


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "draw_plots", lambda *_: [])


def change(file: Path, function: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    function(content)
    file.write_text(json.dumps(content))


def seal(file: Path) -> None:
    file.write_text(json.dumps(sealed(json.loads(file.read_text()))))


def test_scores_that_were_changed_are_refused_by_name(tmp_path: Path) -> None:
    one, other = (write_cell(tmp_path, name, HIGH) for name in ("diffrect", "supervised"))
    for cell in (one, other):
        seal(cell / "metrics_val.json")
    compare_table(tmp_path)
    assert "Not sealed" not in (tmp_path / "report_val" / "table.md").read_text()

    def better(content: dict[str, Any]) -> None:
        scores = next(iter(content["cases"][0]["classes"].values()))
        scores["dice"] = 0.99

    change(other / "metrics_val.json", better)
    message = "expected the scores that evaluate wrote, they have changed; evaluate the run again"
    with pytest.raises(InputError) as caught:
        compare_table(tmp_path)
    assert str(caught.value) == f"{other / 'metrics_val.json'}: {message}"


def test_a_moved_run_and_a_copy_of_its_scores_are_still_sealed(tmp_path: Path) -> None:
    cell = write_cell(tmp_path / "cells", "diffrect", HIGH)
    seal(cell / "metrics_val.json")
    change(cell / "metrics_val.json", lambda content: content.update(run="/else", store="/where"))
    comparison = compare_table(tmp_path / "cells")
    export_cells(tmp_path / "cells", tmp_path / "copy", comparison)
    assert is_sealed(read_scores(tmp_path / "copy" / cell.name / "metrics_val.json"))
    assert compare_table(tmp_path / "copy").results[0].sealed


def test_scores_of_an_earlier_version_are_said_to_be_without_a_seal(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "diffrect", HIGH)
    assert not compare_table(tmp_path).results[0].sealed
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert f"Not sealed, of a version without checksums: {cell.name}." in page


KINDS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "seed": (
        lambda c: c["protocol"].update(seed="x"),
        "a whole number .* 'protocol.seed', got 'x'",
    ),
    "step": (lambda c: c.update(step=-1), "a whole number from 0 .* under 'step', got -1"),
    "score": (
        lambda c: next(iter(c["cases"][0]["classes"].values())).update(dice="0.9"),
        r"a number from 0 .* under 'cases\[0\]\.classes\..*\.dice', got '0.9'",
    ),
    "cases": (lambda c: c.update(cases=[]), r"at least one case with classes under 'cases'"),
    "classes": (
        lambda c: c["cases"][0]["classes"].popitem(),
        "the same classes in all cases under 'cases', found others",
    ),
    "case": (lambda c: c.update(cases=[1]), r"names with values under 'cases\[0\]', got 1"),
    "split": (lambda c: c.update(split=["val"]), r"text .* under 'split', got \['val'\]"),
    "size": (
        lambda c: c["protocol"].update(size=[1]),
        r"a plain value under 'protocol\.size', got \[1\]",
    ),
    "labelled": (
        lambda c: c["protocol"].update(labelled_patients="ab"),
        r"a list of texts under 'protocol\.labelled_patients', got 'ab'",
    ),
    "options": (
        lambda c: c["protocol"].update(options=[1]),
        r"names with values under 'protocol\.options', got \[1\]",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_scores_of_another_kind_are_refused_by_name(name: str, tmp_path: Path) -> None:
    function, message = KINDS[name]
    change(write_cell(tmp_path, "diffrect", HIGH) / "metrics_val.json", function)
    with pytest.raises(InputError, match=rf"metrics_val\.json: expected {message}"):
        compare_table(tmp_path)


@pytest.mark.parametrize("cells", ["x", 1, [[1]], {"cells": 3}, {"format": 9, "cells": {}}])
def test_a_matrix_of_another_kind_is_refused(cells: Any, tmp_path: Path) -> None:
    (tmp_path / "matrix.json").write_text(json.dumps(cells))
    with pytest.raises(InputError, match=r"matrix\.json: expected "):
        planned_cells(tmp_path)


def test_costs_of_another_kind_are_unknown() -> None:
    values = {"minutes": "1", "peak_memory_mib": -1, "parameters": float("inf"), "machine": 5}
    assert cost_from_dict(values).to_dict() == cost_from_dict({}).to_dict()
