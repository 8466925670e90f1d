"""Tables, tests and plots of a comparison, from per-case scores whose answers are known by hand."""

import csv
import io
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from diffrect.cli import main as cli
from diffrect.comparison.report import report as report_module
from diffrect.comparison.report.boxes import by_class
from diffrect.comparison.report.export import export_cells
from diffrect.comparison.report.intervals import bootstrap_interval
from diffrect.comparison.report.plots import PLOTS
from diffrect.comparison.report.report import compare_table, read_comparison
from diffrect.comparison.report.screen import print_report
from diffrect.comparison.report.statistics import (
    MEAN,
    Condition,
    holm,
    paired_differences,
    spread,
    wilcoxon,
)
from diffrect.errors import InputError
from support.fake_cells import write_cell

HIGH = {"v1_a": (0.9, 0.7), "v1_b": (0.8, 0.6), "v2_a": (0.7, 0.5)}
LOW = {"v1_a": (0.5, 0.4), "v1_b": (0.4, 0.4), "v2_a": (0.6, 0.5)}


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave plots out of all tests but their own, because they take seconds."""
    if "plots" not in request.node.name:
        names = [f"{name}.png" for name in PLOTS]
        monkeypatch.setattr(report_module, "draw_plots", lambda *_: names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """diffrect and supervised, 1 and 3 labelled patients, two seeds of one cell."""
    cells = tmp_path / "cells"
    write_cell(cells, "diffrect", HIGH, minutes=30)
    write_cell(cells, "diffrect", {case: (0.5, 0.5) for case in HIGH}, seed=1, minutes=50)
    write_cell(cells, "supervised", LOW)
    write_cell(cells, "diffrect", HIGH, labelled=3)
    write_cell(cells, "supervised", HIGH, labelled=3)
    write_cell(cells, "supervised", HIGH, labelled=4)
    return cells


# ---- statistics --------------------------------------------------------------------------------


def test_spread_over_seeds() -> None:
    assert spread([1.0, 3.0, math.nan]) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert spread([5.0])[::2] == (5.0, 1)
    assert math.isnan(spread([5.0]).deviation)
    assert math.isnan(spread([]).mean)


def test_holm_by_hand() -> None:
    # sorted .01 .03 .04 x 3 2 1 = .03 .06 .04; the last is raised to .06
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    # Holm's first stops at 1
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_wilcoxon_by_hand() -> None:
    # all five positive: 2 of the 2^5 sign patterns are as extreme
    assert wilcoxon(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(2 / 32)
    # ranks of the negative: 1, so W = 1; patterns with W <= 1 on either side: 4 of 32
    assert wilcoxon(np.array([-0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(4 / 32)
    # zeros are left out
    assert wilcoxon(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(2 / 32)
    assert wilcoxon(np.zeros(4)) == 1.0
    assert wilcoxon(np.array([0.1 + 0.2 - 0.3, 0.0])) == 1.0  # rounding is no difference


def test_pairs_are_patients_of_common_seeds(folder: Path) -> None:
    report = read_comparison(folder, "val", None)
    ours = [r for r in report.results if r.name == "diffrect" and r.count == 1]
    theirs = [r for r in report.results if r.name == "supervised" and r.count == 1]
    # seed 0 alone is of both; means over the two classes, then over the two cases of v1
    one = paired_differences(ours, theirs, "dice")
    assert one == pytest.approx(np.array([[(0.35 + 0.3) / 2, 0.05]]))
    assert paired_differences(ours, ours, "dice").tolist() == [[0, 0], [0, 0]]


def test_pairs_without_a_value_are_left_out(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", {"v1_a": (0.0, 0.0), "v2_a": (0.9, None)})
    write_cell(tmp_path, "supervised", {"v1_a": (0.5, 0.5), "v2_a": (0.6, 0.8)})
    results = read_comparison(tmp_path, "val", None).results
    distances = paired_differences(results[:1], results[1:], "hd95_mm")
    assert distances == pytest.approx(np.array([[1.0 - 3.0]]))
    dice = paired_differences(results[:1], results[1:], "dice")
    assert dice == pytest.approx(np.array([[-0.5, 0.9 - 0.7]]))
    none = {"v1_a": (0.0, 0.0), "v2_a": (0.0, 0.0)}
    write_cell(tmp_path, "fixmatch", none)
    (last,) = (r for r in read_comparison(tmp_path, "val", None).results if r.name == "fixmatch")
    assert paired_differences(results[:1], [last], "hd95_mm").size == 0


def test_an_interval_holds_for_other_seeds_and_patients() -> None:
    same = bootstrap_interval(np.full((3, 10), 0.25))
    assert same == pytest.approx((0.25, 0.25, 0.25))
    seeds = bootstrap_interval(np.array([[0.0] * 10, [3.0] * 10]))  # patients agree, seeds do not
    assert seeds == (1.5, 0.0, 3.0)  # both draws are the same seed in half of all
    generator = np.random.default_rng(1)
    patients = generator.normal(0.0, 1.0, (1, 400))  # one seed: the interval of a mean
    mean, low, high = bootstrap_interval(patients)
    error = 1.96 * patients.std() / 20
    assert mean == pytest.approx(patients.mean())
    assert (low, high) == pytest.approx((mean - error, mean + error), abs=0.1 * error)


def test_an_interval_leaves_out_what_is_undefined() -> None:
    assert bootstrap_interval(np.array([[1.0, np.nan], [1.0, 1.0]])) == (1.0, 1.0, 1.0)
    assert np.isnan(bootstrap_interval(np.full((2, 2), np.nan))).all()


# ---- tables ------------------------------------------------------------------------------------


def test_numbers_are_worked_out_from_the_cases(folder: Path) -> None:
    report = read_comparison(folder, "val", None)
    rows = {row.condition: row for row in report.rows}
    assert list(rows) == [
        Condition(1, False, "diffrect"),
        Condition(1, False, "supervised"),
        Condition(3, False, "diffrect"),
        Condition(3, False, "supervised"),
        Condition(4, True, "supervised"),
    ]
    row = rows[Condition(1, False, "diffrect")]
    assert row.seeds == (0, 1)
    # inner: seed means .8 and .5; outer: .6 and .5; mean of classes: .7 and .5
    assert row.scores["inner"]["dice"] == pytest.approx((0.65, 0.3 / math.sqrt(2), 2))
    assert row.scores[MEAN]["dice"] == pytest.approx((0.6, 0.2 / math.sqrt(2), 2))
    assert row.scores["outer"]["hd95_mm"].mean == pytest.approx((4 + 5) / 2)
    assert row.cost["minutes"] == pytest.approx((40, math.sqrt(200), 2))


def test_changed_cases_change_the_table(folder: Path) -> None:
    file = folder / "supervised-labelled1-seed0" / "metrics_val.json"
    metrics = json.loads(file.read_text())
    for case in metrics["cases"]:
        case["classes"]["inner"]["dice"] = 0.987
    file.write_text(json.dumps(metrics))
    compare_table(folder)
    assert "98.70" in (folder / "report_val" / "table.md").read_text()


def test_undefined_values_are_counted_and_in_no_mean(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", {"v1_a": (0.0, 0.4), "v1_b": (0.8, None)})
    report = compare_table(tmp_path)
    (row,) = report.rows
    assert row.scores["inner"]["dice"].mean == pytest.approx(0.4)
    assert row.scores["inner"]["hd95_mm"].mean == pytest.approx(2.0)
    assert (row.undefined["inner"]["hd95_mm"], row.undefined["outer"]["dice"]) == (1, 1)
    assert "| 2 of 4 |" in (tmp_path / "report_val" / "table.md").read_text()
    assert report.against is None


def test_what_the_page_says(folder: Path) -> None:
    compare_table(folder)
    page = (folder / "report_val" / "table.md").read_text()
    assert page.startswith("# Comparison on the validation split\n")
    titles = [line for line in page.splitlines() if line.startswith("## ") and "Cost" not in line]
    assert all("validation split" in line for line in titles[:-1])
    assert titles[-1] == "## Protocol"
    assert (
        "| labelled | method | seeds | Dice % | Jaccard % | 95HD mm | ASD mm | no distance | "
        "p Dice | p 95HD |"
    ) in page
    assert "| 1 | diffrect | 2 | **60.00 ± 14.14** |" in page
    assert "| 1 | supervised | 1 | 46.67 |" in page
    assert "| 4 (all) | supervised | 1 | 70.00 |" in page
    for fact in (
        "- Split: validation (val), 3 cases of 2 patients. The same patients chose",
        "- Checkpoint: best by mean validation Dice (iteration 400).",
        "95HD and ASD in mm",
        "Training: slices resized to 256 x 256 pixels, 30000 iterations, batches of 3 labelled and",
        "- 3 labelled patients: p1, p2, p3.",
        "- Cost: times by the clock include halts and other work on the machine",
        "Processor minutes are what the threads of the training process computed",
        "(0123456789ab)",
        "- Machine: a machine.",
    ):
        assert fact in page
    for plot in ("dice_by_labelled.png", "dice_by_class.png", "dice_by_minutes.png"):
        assert f"]({plot})" in page
    assert "| 40.0 ± 14.1 | 20.0 ± 7.1 | 20 | 500 | 1,000 | 2,000 |" in page


def test_tests_are_corrected_over_all_labels(folder: Path) -> None:
    report = compare_table(folder, against="diffrect")
    dice = [test for test in report.tests if test.metric == "dice"]
    assert [test.condition for test in dice] == [
        Condition(1, False, "supervised"),
        Condition(3, False, "supervised"),
    ]
    first, second = dice
    # two pairs, both worse: 2 of 4 sign patterns; no difference at all: 1
    assert (first.p, first.p_holm) == pytest.approx((0.5, 1.0))
    assert (second.p, second.p_holm) == (1.0, 1.0)
    assert (first.seeds, first.patients, first.better) == (1, 2, 0)
    assert first.difference == pytest.approx((-(0.325 + 0.05) / 2, -0.325, -0.05))
    distance = next(test for test in report.tests if test.metric == "hd95_mm")
    assert distance.better == 0  # greater distances are worse


def test_the_other_files_hold_the_same(folder: Path) -> None:
    report = compare_table(folder)
    target = folder / "report_val"
    scores = list(csv.DictReader(io.StringIO((target / "scores.csv").read_text())))
    assert {row["split"] for row in scores} == {"val"}
    assert len(scores) == len(report.rows) * 3 * 6
    wanted = {"labelled": "1", "method": "diffrect", "class": "mean", "metric": "dice"}
    (row,) = [row for row in scores if wanted.items() <= row.items()]
    assert float(row["mean"]) == pytest.approx(0.6)
    assert float(row["sd"]) == pytest.approx(0.2 / math.sqrt(2))
    tests = list(csv.DictReader(io.StringIO((target / "tests.csv").read_text())))
    assert [float(row["p_holm"]) for row in tests if row["metric"] == "dice"] == [1.0, 1.0]
    cost = (target / "cost.csv").read_text().splitlines()
    assert cost[1] == "1,diffrect,2,40,20,0.02,500,1000,2000"
    latex = (target / "table.tex").read_text()
    assert r"\caption{Mean of the classes, validation split. Checkpoint: best" in latex
    assert r"\textbf{60.00 $\pm$ 14.14}" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 5
    braces = latex.replace(r"\{", "").replace(r"\}", "")
    assert braces.count("{") == braces.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_the_tables_compile_and_fit_the_page(folder: Path, tmp_path: Path) -> None:
    compare_table(folder)
    shutil.copy(folder / "report_val" / "table.tex", tmp_path / "table.tex")
    lines = [
        r"\documentclass{article}",
        r"\usepackage{booktabs,graphicx}",
        r"\begin{document}",
        r"\input{table.tex}",
        r"\end{document}",
    ]
    (tmp_path / "page.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


def test_distances_without_spacing_are_in_voxels(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", HIGH, millimetres=False)
    write_cell(tmp_path, "supervised", LOW, millimetres=False)
    compare_table(tmp_path)
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert "95HD voxels | ASD voxels" in page
    assert "95HD and ASD in voxels" in page
    assert "95HD mm" not in page


def test_cells_without_processor_time_make_a_table(tmp_path: Path) -> None:
    file = write_cell(tmp_path, "diffrect", HIGH) / "cell.json"
    write_cell(tmp_path, "supervised", LOW)
    cell = json.loads(file.read_text())
    del cell["cost"]["processor_minutes"]  # of an earlier version
    file.write_text(json.dumps(cell))
    compare_table(tmp_path)
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert "| 1 | diffrect | 10.0 | – | 20 |" in page
    assert "| 1 | supervised | 10.0 | 5.0 | 20 |" in page
    cell = json.loads(file.read_text())
    for name in ("minutes", "seconds_per_iteration"):
        cell["cost"][name] = None
    file.write_text(json.dumps(cell))
    compare_table(tmp_path)
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert "| 1 | diffrect | – | – | – | 500 |" in page


def test_the_page_names_crops(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", HIGH, spacing=1.25, crop=192)
    compare_table(tmp_path)
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert "Training: slices resampled to pixels of 1.25 mm and cropped to 192 x 192, 30000" in page


def test_the_page_names_settings_that_differ(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", HIGH, options={"cutmix_area": 0.5, "confidence": 0.0})
    write_cell(tmp_path, "fixmatch", HIGH, options={"cutmix_area": 0.5})
    write_cell(tmp_path, "bcp", HIGH, options={"cutmix_area": 0.2})
    compare_table(tmp_path)
    page = (tmp_path / "report_val" / "table.md").read_text()
    assert "- Setting cutmix_area: 0.2 in bcp; else 0.5." in page
    assert "confidence" not in page


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 64}, "size 256 against 64"),
        ({"iterations": 300, "validate_every": 200}, "iterations 30000 against 300"),
        ({"batch_labelled": 6}, "batch_labelled 3 against 6"),
        ({"size": 64, "batch_unlabelled": 1}, "size 256 against 64; batch_unlabelled 3 against 1"),
        ({"spacing": 1.5, "crop": 256}, "spacing None against 1.5; crop None against 256"),
        ({"unlabelled_patients": 2}, "split: unlabelled patients 3 against 2"),
        ({"metrics": {"checkpoint": "last"}}, "checkpoint best against last"),
        ({"metrics": {"empty": "reference"}}, "empty undefined against reference"),
        ({"classes": ("a", "b")}, "classes inner, outer against a, b"),
        ({"labelled_patients": ["p4"]}, "split: patient p1 is labelled in only one"),
        ({"dice": {"v1_a": (0.1, 0.1)}}, "split: case v1_b is in only one"),
    ],
)
def test_cells_of_different_protocols_are_not_mixed(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_cell(tmp_path, "diffrect", HIGH)
    write_cell(tmp_path, "supervised", **{"dice": LOW, **change})
    with pytest.raises(InputError) as caught:
        compare_table(tmp_path)
    one, other = (tmp_path / f"{name}-labelled1-seed0" for name in ("diffrect", "supervised"))
    assert f"{one} and {other}: expected cells of one protocol in a table" in str(caught.value)
    assert message in str(caught.value)
    assert not (tmp_path / "report_val").exists()


def test_patients_may_differ_by_seed_where_no_file_names_them(tmp_path: Path) -> None:
    others = {"v8_a": (0.1, 0.2)}
    write_cell(tmp_path / "drawn", "diffrect", HIGH)
    write_cell(tmp_path / "drawn", "diffrect", others, seed=1, labelled_patients=["p3"])
    compare_table(tmp_path / "drawn")
    page = (tmp_path / "drawn" / "report_val" / "table.md").read_text()
    assert "- 1 labelled patient: drawn by the seed." in page
    write_cell(tmp_path / "file", "diffrect", HIGH, split_file="one.json")
    write_cell(tmp_path / "file", "diffrect", others, seed=1, split_file="other.json")
    with pytest.raises(InputError, match="split: case v1_a is in only one"):
        compare_table(tmp_path / "file")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metrics_val.json", "{", r"metrics_val\.json: expected readable JSON"),
        ("metrics_val.json", "[]", r"metrics_val\.json: expected an object, got list"),
        ("metrics_val.json", "{}", r"metrics_val\.json: expected metrics of format 1, got None"),
        ("metrics_val.json", '{"format": 1}', "expected a value under 'protocol', found none"),
        ("cell.json", '{"format": 7}', r"cell\.json: expected format 1, got 7"),
    ],
)
def test_damaged_files_are_named(file: str, text: str, message: str, tmp_path: Path) -> None:
    (write_cell(tmp_path, "diffrect", HIGH) / file).write_text(text)
    with pytest.raises(InputError, match=message):
        compare_table(tmp_path)


def test_one_cell_twice_is_refused(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", HIGH).rename(tmp_path / "again")
    write_cell(tmp_path, "diffrect", HIGH)
    with pytest.raises(InputError, match="expected one cell of diffrect with 1 labelled and seed"):
        compare_table(tmp_path)


def test_unknown_names_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="--against: expected one of diffrect, supervised, got 'x"):
        compare_table(folder, against="x")
    with pytest.raises(InputError, match="--split: expected one of val, test, got 'train'"):
        compare_table(folder, split="train")
    with pytest.raises(InputError, match=r"found no CELL/metrics_test\.json"):
        compare_table(folder, split="test")


# ---- files -------------------------------------------------------------------------------------


def test_metrics_without_cost_make_table_and_plots(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(report_module, "draw_plots", lambda *_: [])
        compare_table(folder)
    before = (folder / "report_val" / "scores.csv").read_text()
    (folder / "report_val" / "dice_by_minutes.png").touch()  # of an earlier report
    for file in folder.glob("*/cell.json"):
        file.unlink()
    compare_table(folder)
    assert (folder / "report_val" / "scores.csv").read_text() == before
    page = (folder / "report_val" / "table.md").read_text()
    assert "Cost" not in page
    assert "dice_by_minutes" not in page
    assert not (folder / "report_val" / "dice_by_minutes.png").exists()


def test_exported_cells_make_the_same_table(folder: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "copy"
    assert cli.main(["compare", str(folder), "--table", "--export", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "Mean of the classes, validation split, checkpoint best" in out
    assert "60.00 ± 14.14" in out
    names = {path.name for path in copy.rglob("*") if path.is_file()}
    assert names == {"metrics_val.json", "cell.json"}
    assert "somewhere" not in "".join(file.read_text() for file in copy.glob("*/*.json"))
    compare_table(copy)
    for name in ("table.md", "table.tex", "scores.csv", "tests.csv", "cost.csv"):
        one, other = (path / "report_val" / name for path in (folder, copy))
        assert one.read_text() == other.read_text()
    with pytest.raises(InputError, match="--export: expected a new or empty folder"):
        export_cells(folder, copy, read_comparison(folder, "val", None))


def test_planned_cells_that_are_missing_are_named(folder: Path) -> None:
    cells = {"supervised-labelled1-seed0": {}, "fixmatch-labelled1-seed0": {}}
    (folder / "matrix.json").write_text(json.dumps({"format": 1, "cells": cells}))
    report = compare_table(folder)
    assert report.missing == ["fixmatch-labelled1-seed0"]
    assert [row.condition.name for row in report.rows][:2] == [
        "supervised",
        "diffrect",
    ]  # as planned
    page = (folder / "report_val" / "table.md").read_text()
    assert "- Planned but missing: fixmatch-labelled1-seed0." in page


def test_plots_of_many_classes_keep_to_the_page(tmp_path: Path) -> None:
    names = [f"a structure, number {number}" for number in range(7)]
    for count in (1, 2):
        dice = {case: [0.5 + count / 10] * 7 for case in HIGH}
        write_cell(tmp_path, "diffrect", dice, classes=names, labelled=count)
    figure = by_class(read_comparison(tmp_path, "val", None))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(figure.axes) == 2 * 8  # two side by side, four lines a number of labelled patients
    assert [axes.get_title(loc="left") for axes in shown] == names * 2
    figure.canvas.draw()
    boxes = [axes._left_title.get_window_extent() for axes in shown]  # type: ignore[attr-defined]
    width = figure.bbox.width
    assert all(box.x0 >= 0 and box.x1 <= width for box in boxes)
    pairs = [(a, b) for number, a in enumerate(boxes) for b in boxes[number + 1 :]]
    assert not any(a.overlaps(b) for a, b in pairs)


@pytest.mark.parametrize("labelled", [(1, 3), (1,)])
def test_plots_are_made_and_repeat(labelled: tuple[int, ...], tmp_path: Path) -> None:
    for count in labelled:
        for name in ("diffrect", "supervised"):
            write_cell(tmp_path, name, HIGH if name == "diffrect" else LOW, labelled=count)
    write_cell(tmp_path, "supervised", HIGH, labelled=4)
    compare_table(tmp_path)
    names = ("dice_by_labelled", "dice_by_class", "dice_by_minutes")
    files = [tmp_path / "report_val" / f"{n}.{s}" for n in names for s in ("png", "pdf")]
    first = [file.read_bytes() for file in files]
    for file in files[::2]:
        picture = imread(file)[..., :3]
        assert picture.shape[1] == pytest.approx(6.6 * 200, abs=2)
        assert (picture < 0.5).any()  # something is drawn
        assert (picture[0] == 1).all()  # and nothing cut off at the edges
        assert (picture[:, 0] == 1).all()
        assert (picture[:, -1] == 1).all()
    if len(labelled) > 1:
        compare_table(tmp_path)
        assert [file.read_bytes() for file in files] == first


def rename_class(folder: Path, name: str) -> None:
    for file in folder.glob("*/metrics_val.json"):
        content = json.loads(file.read_text())
        for case in content["cases"]:
            first = next(iter(case["classes"]))
            case["classes"] = {name: case["classes"][first], **case["classes"]}
            del case["classes"][first]
        file.write_text(json.dumps(content))


def test_names_are_neither_html_nor_links(folder: Path) -> None:
    rename_class(folder, "<img src=x onerror=alert(1)>|[a](javascript:b)[/]")
    print_report(folder, compare_table(folder))
    text = (folder / "report_val" / "table.md").read_text()
    assert "&lt;img src=x" in text
    assert "<img" not in text
    assert r"\[a\](javascript:b)" in text
    assert "|[" not in text


def test_names_of_other_cells_can_be_shown(folder: Path) -> None:
    rename_class(folder, "a\x1b[2J")
    with pytest.raises(InputError, match=r"metrics_val\.json: expected names that can be shown"):
        compare_table(folder)


def test_names_that_look_like_formulas_have_plots(tmp_path: Path) -> None:
    for method in ("diffrect", "supervised"):
        write_cell(tmp_path, method, LOW, classes=(r"$\frac{$", "$a$"))
    compare_table(tmp_path)
    assert (tmp_path / "report_val" / "dice_by_class.png").is_file()
