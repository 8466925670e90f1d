"""What an installer sees: the description, the extras, the source distribution, the Python used."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from diffrect.errors import InputError
from diffrect.inference.onnx import require
from long_description import long_description

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]


def test_the_description_leads_nowhere_in_the_repository() -> None:
    text = long_description()
    assert re.findall(r"\]\((?!https://)[^)]*\)", text) == []
    assert "![" not in text
    assert text.count("](https://") == 1
    assert "or a folder of your own with" in text


def required_modules() -> set[str]:
    """The modules that the package says to install, in calls of `require`."""
    trees = [ast.parse(file.read_text("utf-8")) for file in (ROOT / "src").rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call for call in calls if getattr(call.func, "id", "") == "require"]
    return {a.value for call in named for a in call.args if isinstance(a, ast.Constant)}


def test_messages_name_packages_of_an_extra() -> None:
    packages = {re.split(r"[<>=\[]", r)[0] for r in EXTRAS["onnx"]}
    assert required_modules() == packages == {"onnx", "onnxscript", "onnxruntime"}
    with pytest.raises(InputError, match=r"not installed; pip install onnx no_such_module$"):
        require("onnx", "no_such_module")


def imported_modules() -> set[str]:
    """The top-level names of everything that the package imports from elsewhere."""
    trees = [ast.parse(file.read_text("utf-8")) for file in (ROOT / "src").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in found} - {*sys.stdlib_module_names, "diffrect"}


def test_the_package_declares_what_it_imports() -> None:
    needed = {re.split(r"[<>=\[ ]", r)[0].lower() for r in PROJECT["project"]["dependencies"]}
    optional = {re.split(r"[<>=\[ ]", r)[0].lower() for extra in EXTRAS.values() for r in extra}
    names = {"yaml": "pyyaml", "PIL": "pillow", "lightning_fabric": "lightning-fabric"}
    imported = {names.get(name, name.lower()) for name in imported_modules()}
    assert imported <= needed | optional
    assert needed - imported == {"tensorboard"}  # torch.utils.tensorboard needs it


def test_extras_that_are_named_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "Makefile", ROOT / "Dockerfile"]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    texts = [page.read_text("utf-8") for page in pages]
    assert not any(re.search(r"\bdiffrect\[", text) for text in texts)  # whose name is it there?
    named = {extra for text in texts for extra in re.findall(r"'\.\[(\w+)\]'", text)}
    assert named == {"onnx", "loggers", "notebook", "dicom", "viewer", "dev"}
    assert named < EXTRAS.keys()


def test_the_source_distribution_holds_what_the_tests_read() -> None:
    lines = (ROOT / "MANIFEST.in").read_text("utf-8").splitlines()
    grafted = {line.split()[1] for line in lines if line.startswith("graft")}
    included = {name for line in lines if line.startswith("include") for name in line.split()[1:]}
    pytest_options = PROJECT["tool"]["pytest"]["ini_options"]
    folders = {*pytest_options["testpaths"], *pytest_options["pythonpath"], "src"}
    assert {folder.split("/")[0] for folder in folders} <= grafted
    assert [name for name in included | grafted if not (ROOT / name).exists()] == []
    assert {"Makefile", "constraints.txt", "mkdocs.yml", ".ci/run"} <= included


@pytest.mark.parametrize(
    ("runs", "picked"),
    [
        ({"python3.13", "python3.11"}, "python3.13"),
        ({"python3.12", "python3.11", "python3"}, "python3.12"),
        ({"python3"}, "python3"),
        (set(), None),
    ],
)
def test_make_takes_the_newest_python_that_runs(
    runs: set[str], picked: str | None, tmp_path: Path
) -> None:
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {int(name not in runs)}\n")
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    command = ["make", "--dry-run", "lint", f"VENV={tmp_path / 'venv'}"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "MAKEFLAGS")}
    done = subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, env={**environment, "PATH": path}
    )
    if picked is None:
        assert "Python: expected 3.11 or later, found none; make PYTHON=" in done.stderr
    else:
        assert f"{picked} \\\n\t-m venv {tmp_path / 'venv'}" in done.stdout
