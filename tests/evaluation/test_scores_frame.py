"""The scores of runs and comparisons as a DataFrame."""

import math
import shutil
import sys
from pathlib import Path

import pytest

from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.scores_frame import scores
from support.fake_cells import write_cell

pytest.importorskip("pandas")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    write_cell(tmp_path / "cells", "bcp", {"v1_a": (0.5, 1), "v2_a": (0.25, None)}, seed=1)
    write_cell(tmp_path / "cells", "diffrect", {"v1_a": (0.75, 0.5)}, labelled=2)
    write_cell(tmp_path / "cells", "diffrect", {"t1_a": (0, 0)}, split="test", seed=3)
    (tmp_path / "cells" / "report_val").mkdir()
    return tmp_path / "cells"


def test_a_run_has_a_row_for_each_case_and_class(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    found = evaluate(run, split="val", device="cpu", progress=False)
    evaluate(run, split="test", device="cpu", progress=False)
    table = scores(run)
    assert table.groupby("split").size().to_dict() == {"test": 6, "val": 6}
    row = table[(table["case"] == found.cases[1].id) & (table["class"] == "myocardium")].iloc[0]
    assert row["hd95_mm"] == pytest.approx(
        found.cases[1].classes["myocardium"]["hd95_mm"], nan_ok=True
    )
    assert row["dice"] == pytest.approx(found.cases[1].classes["myocardium"]["dice"], nan_ok=True)
    assert (row["run"], row["name"], row["labelled"]) == ("run", "supervised", 1)
    (run / "report_val").mkdir()
    assert set(scores(run / "report_val")["split"]) == {"val"}


def test_a_comparison_has_the_rows_of_its_cells(cells):
    table = scores(cells)
    assert table[
        ["name", "seed", "labelled", "split", "case"]
    ].drop_duplicates().values.tolist() == [
        ["bcp", 1, 1, "val", "v1_a"],
        ["bcp", 1, 1, "val", "v2_a"],
        ["diffrect", 0, 2, "val", "v1_a"],
        ["diffrect", 3, 1, "test", "t1_a"],
    ]
    assert table["dice"].tolist()[:3] == [0.5, 1, 0.25]
    assert math.isnan(table["dice"].iloc[3])
    assert set(scores(cells / "report_val")["split"]) == {"val"}


def test_a_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"expected scores of a run or a comparison, found no metr"
    ):
        scores(tmp_path)
    with pytest.raises(InputError, match="found no such folder; diffrect evaluate RUN writes them"):
        scores(tmp_path / "none")


def test_scores_that_were_changed_by_hand_are_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    evaluate(run, split="val", device="cpu", progress=False)
    file = run / "metrics_val.json"
    file.write_text(file.read_text().replace('"patient028"', '"patient029"'))
    with pytest.raises(InputError, match="they have changed"):
        scores(run)


def test_without_pandas_one_line_says_what_to_install(cells, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    expected = r"^scores: expected the package pandas, .*; pip install pandas \(extra: notebook\)$"
    with pytest.raises(InputError, match=expected):
        scores(cells)
