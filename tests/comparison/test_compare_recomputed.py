"""The whole report worked out once more from the files, only by numpy and scipy."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from diffrect.comparison.report import report as report_module
from diffrect.comparison.report.report import compare_table
from support.fake_cells import write_cell

METHODS, LABELLED, SEEDS = ("supervised", "fixmatch", "diffrect"), (1, 3), (0, 1, 2)
CASES = [f"v{number // 2}_{number % 2}" for number in range(14)]
OVERLAPS = ("dice", "jaccard")
METRICS = (*OVERLAPS, "hd95_mm", "hd95_voxel", "asd_mm", "asd_voxel")
Table = dict[tuple[str, int, int], np.ndarray]
"""(method, labelled, seed) -> scores (cases, classes, metrics)."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random scores; some classes are missing, one method lacks a seed."""
    monkeypatch.setattr(report_module, "draw_plots", lambda *_: [])
    generator = np.random.default_rng(0)
    for name in METHODS:
        for labelled in LABELLED:
            for seed in SEEDS[: 2 if name == "fixmatch" else 3]:
                dice: dict[str, list[float | None]] = {}
                for case in CASES:
                    values = generator.uniform(0.3, 0.89, 2) + 0.05 * METHODS.index(name)
                    missed = generator.random(2) < 0.1
                    dice[case] = [
                        0.0 if m else float(v) for v, m in zip(values, missed, strict=True)
                    ]
                dice[CASES[3]][1] = None  # in neither prediction nor truth
                minutes = float(generator.uniform(5, 50))
                write_cell(tmp_path, name, dice, labelled=labelled, seed=seed, minutes=minutes)
    return tmp_path


def read(folder: Path) -> Table:
    """The numbers of all per-case files, NaN where they have null."""
    table = {}
    for file in folder.glob("*/metrics_val.json"):
        content = json.loads(file.read_text())
        rows = [
            [[np.nan if scores[m] is None else scores[m] for m in METRICS] for scores in classes]
            for classes in (case["classes"].values() for case in content["cases"])
        ]
        protocol = content["protocol"]
        key = (protocol["method"], len(protocol["labelled_patients"]), protocol["seed"])
        table[key] = np.array(rows, dtype=float)
    return table


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_scores_are_mean_and_deviation_over_seeds(folder: Path) -> None:
    compare_table(folder)
    table, page = read(folder), (folder / "report_val" / "table.md").read_text()
    rows = rows_of(folder / "report_val" / "scores.csv")
    assert len(rows) == len(METHODS) * len(LABELLED) * 3 * len(METRICS)
    for row in rows:
        seeds = [v for k, v in table.items() if k[:2] == (row["method"], int(row["labelled"]))]
        column = METRICS.index(row["metric"])
        by_class = np.array([np.nanmean(scores[:, :, column], axis=0) for scores in seeds])
        values = by_class.mean(1)
        if row["class"] != "mean":
            index = ("inner", "outer").index(row["class"])
            values = by_class[:, index]
            gaps = sum(np.isnan(scores[:, index, column]).sum() for scores in seeds)
            assert (int(row["undefined"]), int(row["values"])) == (gaps, 14 * len(seeds))
        mean, deviation = values.mean(), values.std(ddof=1)
        assert int(row["seeds"]) == len(seeds)
        assert float(row["mean"]) == pytest.approx(mean, rel=1e-12)
        assert float(row["sd"]) == pytest.approx(deviation, rel=1e-9)
        if row["metric"] in (*OVERLAPS, "hd95_mm", "asd_mm"):  # and as the page prints it
            factor = 100 if row["metric"] in OVERLAPS else 1
            assert f"{factor * mean:.2f} ± {factor * deviation:.2f}" in page


def test_tests_are_scipy_s_with_holm_s_correction(folder: Path) -> None:
    compare_table(folder, against="diffrect")
    table = read(folder)
    rows = rows_of(folder / "report_val" / "tests.csv")
    assert len(rows) == 2 * len(LABELLED) * 3
    for metric in {row["metric"] for row in rows}:
        family = [row for row in rows if row["metric"] == metric]
        p_values = [_check_test(row, table) for row in family]
        assert [float(row["p"]) for row in family] == pytest.approx(p_values)
        # Holm: reject in order of p while p_k <= a / (m - k); the smallest a that does is reported
        for number, row in enumerate(family):
            ranked = sorted(p_values)
            before = ranked[: ranked.index(p_values[number]) + 1]
            expected = max(p * (len(family) - k) for k, p in enumerate(before))
            assert float(row["p_holm"]) == pytest.approx(min(1.0, expected))


def _check_test(row: dict[str, str], table: Table) -> float:
    """Return p of a line of tests.csv; compare the other numbers of the line on the way."""
    labelled, column = int(row["labelled"]), METRICS.index(row["metric"])
    common = [s for s in SEEDS if (row["method"], labelled, s) in table]

    def case_means(method: str) -> np.ndarray:
        seeds = np.array([table[method, labelled, seed][:, :, column] for seed in common])
        with np.errstate(invalid="ignore"):
            return np.array([[_mean(case) for case in seed] for seed in seeds])

    difference = case_means(row["method"]) - case_means(row["against"])
    names = sorted({case.split("_")[0] for case in CASES})
    of_patient = [[case.startswith(f"{name}_") for case in CASES] for name in names]
    pairs = np.array([[_mean(seed[cases]) for cases in of_patient] for seed in difference])
    patients = np.array([_mean(patient) for patient in pairs.T if not np.isnan(patient).all()])
    better = patients > 0 if row["metric"] == "dice" else patients < 0
    assert (int(row["seeds"]), int(row["patients"])) == (len(common), len(patients))
    assert int(row["better"]) == better.sum()
    assert float(row["mean_difference"]) == pytest.approx(np.nanmean(pairs))
    assert float(row["low"]) < np.nanmean(pairs) < float(row["high"])
    return float(stats.wilcoxon(patients).pvalue)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def test_cost_is_the_mean_over_cells(folder: Path) -> None:
    compare_table(folder)
    for row in rows_of(folder / "report_val" / "cost.csv"):
        cells = folder.glob(f"{row['method']}-labelled{row['labelled']}-seed*/cell.json")
        minutes = [json.loads(cell.read_text())["cost"]["minutes"] for cell in cells]
        assert float(row["minutes"]) == pytest.approx(np.mean(minutes))
        assert re.fullmatch(r"[23]", row["seeds"])
