"""Nonsense on the command line and in files ends in one line and exit code 2, or is not noticed."""

import shutil
from pathlib import Path

import pytest

from diffrect.data.store import Store
from support.nonsense import make_places, option_lines, outcome_of
from support.tiny import scan, write_nifti


@pytest.fixture
def place(
    acdc_folder: Path,
    store: Store,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return the working folder, with what the lines name."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("source", acdc_folder), ("store", store.path), ("run", tiny_run)):
        shutil.copytree(folder, name)
    write_nifti(Path("scan.nii.gz"), scan((20, 20, 2), 4, seed=1)[0])
    make_places(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("place")
def test_nonsense_on_the_command_line_is_explained() -> None:
    outcomes = [(line, outcome_of(line)) for line in option_lines(seed=1, number=40)]
    assert [(line, each.fault) for line, each in outcomes if each.fault] == []
    assert sum(each.code == 2 for _, each in outcomes) > 20
    assert any(each.code is None for _, each in outcomes)  # the checks let sense through
