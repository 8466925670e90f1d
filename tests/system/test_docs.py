"""What the documentation says: commands that exist, files and fields under their names."""

import ast
import json
import re
import shlex
import shutil
from fractions import Fraction
from pathlib import Path
from string import Template

import pytest

from diffrect.cli import main as cli
from diffrect.comparison.cells import make_cells
from diffrect.comparison.names import LOCKS_FOLDER, MATRIX_FILE
from diffrect.comparison.report.report import compare_table
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.metrics import METRICS
from diffrect.methods.registry import resolve
from diffrect.showcase.demo import ENTRIES, REPORT_FILE
from support.fake_cells import write_cell

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "reports" / "results").glob("*/report_val"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """The calls of diffrect in a page's blocks, without comments."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in fences if language in ("", "bash")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    variables = dict(re.findall(r'^(\w+)="(.*)"$', "\n".join(lines), re.MULTILINE))
    calls = (re.match(r"(?:\w+=\S+ )?diffrect (.*)", line) for line in lines)
    return [Template(call[1]).safe_substitute(variables) for call in calls if call]


def code_words(page: str) -> set[str]:
    """Everything that a page sets in backquotes, paths in their parts too."""
    words = re.findall(r"`([^`\n]+)`", (ROOT / "docs" / page).read_text("utf-8"))
    return {part for word in words for part in (word, *word.strip("/").split("/"))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("{}")  # a page repeats the training of a run
    for command in commands(page):
        cli.parse(shlex.split(command, comments=True))


def test_pages_with_commands_are_found() -> None:
    assert len(commands(ROOT / "docs" / "how-to" / "prepare.md")) == 8


def test_every_file_is_named(store: Store, tiny_run: Path) -> None:
    named = code_words("reference/files.md")
    case = next((store.path / "cases").iterdir())
    files = [*store.path.iterdir(), *case.iterdir(), *tiny_run.iterdir()]
    files += (tiny_run / "checkpoints").iterdir()
    expected = {file.name for file in files} | {*ENTRIES, REPORT_FILE}
    assert expected <= named
    assert set(json.loads((store.path / "store.json").read_text())) <= named


def test_every_field_of_an_evaluation_is_named(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert {*evaluate(run, progress=False).to_dict(), *METRICS} <= code_words(
        "reference/metrics.md"
    )


def preset_rows() -> dict[str, tuple[str, str]]:
    """Option -> its values in `reference` and `default`, as docs/explain/presets.md says."""
    rows = {}
    for line in (ROOT / "docs" / "explain" / "presets.md").read_text("utf-8").splitlines():
        cells = [cell.strip().removesuffix(" \\*") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            options = re.findall(r"`(\w+)`", cells[0])
            pairs = zip(options, cells[1].split(", "), cells[2].split(", "), strict=True)
            rows |= {option: (reference, default) for option, reference, default in pairs}
    return rows


def says(text: str, value: object) -> bool:
    """Whether a cell of the table gives an option's value; numbers may be fractions."""
    if "/" in text:
        return value == float(Fraction(text))
    return str(value).lower() in (text, f"{text}.0")


def test_the_table_of_presets_is_the_code_s() -> None:
    documented = preset_rows()
    values = {}
    for preset in ("reference", "default"):
        resolved = resolve(TrainConfig(preset=preset))  # type: ignore[arg-type]
        values[preset] = vars(resolved.method_options) | vars(resolved.view_options)
    for option, (reference, default) in documented.items():
        assert says(default, values["default"][option]), option
        assert reference == "-" or says(reference, values["reference"][option]), option
    differing = {o for o, v in values["default"].items() if values["reference"][o] != v}
    assert differing <= documented.keys()


def defined_in(file: Path) -> set[str]:
    """The classes, functions and methods (as CLASS.METHOD) of a Python file."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    names = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, kinds):
            names.add(node.name)
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, kinds)}
    return names


def test_the_paper_s_tables_name_what_their_files_define() -> None:
    page = (ROOT / "docs" / "explain" / "paper-to-code.md").read_text("utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")]
    table = [(names, file) for _, names, file in (r for r in rows if len(r) == 3) if "`" in names]
    for names, file in table:
        (path,) = re.findall(r"`([^`]+)`", file)
        undefined = {*re.findall(r"`([^`]+)`", names)} - defined_in(ROOT / "src/diffrect" / path)
        assert not undefined, path
    assert len(table) == len([r for r in rows if len(r) == 3]) - page.count("| here | file |") * 2
    assert len(table) > 20


def test_every_file_of_a_comparison_is_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "diffrect", {"v1_a": (0.5, 0.5)})
    compare_table(tmp_path)
    named = code_words("reference/files.md") | code_words("how-to/compare.md")
    report = [
        file.name.removesuffix(".png").removesuffix(".pdf").removesuffix(".svg")
        for file in tmp_path.glob("*/*")
    ]
    cell = json.loads(next(tmp_path.glob("*/cell.json")).read_text())
    assert {*report, MATRIX_FILE, LOCKS_FOLDER} <= named | {"metrics_val.json"}
    assert {*cell, *cell["cost"]} <= named


def test_the_variants_on_the_page_are_variants(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "compare.md").read_text("utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "page.yaml").write_text(block)
    assert len(make_cells(variants=tmp_path / "page.yaml", labelled=[1])) == 5


@pytest.mark.parametrize("report", RESULTS, ids=lambda report: report.parent.name)
def test_kept_scores_give_the_kept_tables(report: Path, tmp_path: Path) -> None:
    again = shutil.copytree(report.parent, tmp_path / "cells") / report.name
    shutil.rmtree(again)
    against = "identity" if report.parent.name.endswith("-rectifier") else None
    compare_table(again.parent, against=against)
    for name in ("table.md", "scores.csv", "tests.csv", "cost.csv"):
        assert (again / name).read_text() == (report / name).read_text()


def test_kept_scores_are_found() -> None:
    names = [report.parent.name for report in RESULTS]
    kept = ["protocol-a", "protocol-a-gpu", "protocol-a-mm-rectifier", "protocol-a-rectifier"]
    assert names == [*kept, "protocol-h", "protocol-h-rectifier"]
