"""The pages for those who change the code: files that exist, an example that works."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from diffrect.data.prepare import prepare
from diffrect.data.sources import SOURCES
from diffrect.version import package_version
from support.tiny import scan, write_nifti

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "diffrect"


def words(page: str) -> list[str]:
    """What a page sets in backquotes, outside its blocks of code."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


def test_the_architecture_names_all_rooms_and_files_that_exist() -> None:
    named = words("docs/explain/architecture.md")
    rooms = {folder.name for folder in SOURCE.iterdir() if (folder / "__init__.py").is_file()}
    assert {f"{room}/" for room in rooms} <= set(named)
    page = (ROOT / "docs" / "explain" / "architecture.md").read_text("utf-8")
    ground = {file.stem for file in SOURCE.glob("[!_]*.py")}
    assert set(re.findall(r"\w+", re.findall(r"^ground: (.*)$", page, re.M)[0])) == ground
    files = [word for word in named if re.fullmatch(r"[\w/]+\.py", word) and "/" in word]
    assert len(files) > 12
    inside = [f for f in files if not f.startswith(("src/", "tests/", "benchmarks/"))]
    assert [file for file in inside if not (SOURCE / file).is_file()] == []


def test_the_walk_of_a_batch_names_what_there_is() -> None:
    page = (ROOT / "docs" / "explain" / "architecture.md").read_text("utf-8")
    walk = page[page.index("## The walk of one batch") : page.index("## Where to put")]
    code = "\n".join(file.read_text("utf-8") for file in SOURCE.rglob("*.py"))
    names = [word for word in re.findall(r"`([\w.]+)`", walk) if not word.endswith(".py")]
    parts = {part for name in names for part in name.split(".")}
    assert len(parts) > 10
    assert [part for part in parts if not re.search(rf"(def|class) {part}\b", code)] == []


def test_paths_in_the_guides_exist() -> None:
    pages = [
        "CONTRIBUTING.md",
        *(f"docs/how-to/{name}" for name in ("add-a-method.md", "add-a-data-set.md")),
    ]
    files = {word for page in pages for word in words(page)}
    files = {word for word in files if re.match(r"(src|tests|docs|benchmarks)/[\w./-]+$", word)}
    missing = {file for file in files if not (ROOT / file).exists()}
    assert missing == {"src/diffrect/methods/NAME.py"} & files


def test_the_guide_s_layout_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "how-to" / "add-a-data-set.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    module = ModuleType("clinic")
    exec(code, vars(module))
    monkeypatch.setitem(SOURCES, "clinic", module.Clinic())
    for patient, labelled in (("p1", True), ("p2", False)):
        image, label = scan((20, 18, 4), classes=2, seed=len(patient))
        place = tmp_path / "data" / "scans" / patient
        write_nifti(place / "2026-11-26.nii.gz", image)
        if labelled:
            write_nifti(place / "2026-11-26_seg.nii.gz", label)
    assert SOURCES["clinic"].detect(tmp_path / "data")
    store = prepare(tmp_path / "data", tmp_path / "store", format="clinic", progress=False)
    assert {case.id: case.labelled for case in store.cases.values()} == {
        "p1_2026-11-26": True,
        "p2_2026-11-26": False,
    }


def test_the_changelog_and_the_citation_have_the_version() -> None:
    versions = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert versions[:2] == ["Unreleased", package_version()]
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {package_version()}\n" in citation
