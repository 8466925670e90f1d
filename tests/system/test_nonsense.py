"""Nonsense on the command line and in files ends in one line and exit code 2, or is not noticed."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from diffrect.comparison.matrix_file import planned_cells
from diffrect.comparison.report.markdown import markdown
from diffrect.comparison.report.report import read_comparison
from diffrect.comparison.variants import read_variants
from diffrect.config import read_config
from diffrect.data.choose_split import resolve_split
from diffrect.data.integrity import SEAL, write_sealed
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.methods.registry import resolve
from diffrect.runs.checkpoint import checkpoint_path
from diffrect.runs.resume import load_training
from diffrect.training.checkpoints.state import restore
from diffrect.training.trainer import Trainer
from support.fake_cells import write_cell
from support.nonsense import make_places, option_lines, outcome_of, spoilt, spoilt_state
from support.tiny import scan, write_nifti

TRIES = 30
Make = Callable[[Any, Path], None]
Use = Callable[[Path], Any]


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


def explained(use: Use, place: Path) -> bool:
    """Return whether what was made is refused, which has to be in one line."""
    try:
        use(place)
    except InputError as error:
        line = str(error)
        assert len(line) > 10
        assert line.isprintable()
        assert len(line) < 2000
        return True
    return False


def as_json(content: Any, place: Path) -> None:
    place.write_text(json.dumps(content))


def as_yaml(content: Any, place: Path) -> None:
    place.write_text(yaml.safe_dump(content))


def as_sealed(content: Any, place: Path) -> None:
    if isinstance(content, dict):
        write_sealed(place, {name: value for name, value in content.items() if name != SEAL})


def use_store(file: Path) -> None:
    opened = Store(file.parent)
    opened.training_slices(resolve_split(opened))
    for case in opened.cases:
        opened.zoom(case, 1.0)


def use_case(file: Path) -> None:
    opened, case = Store(file.parents[2]), file.parent.name
    opened.affine(case)
    opened.image(case, 0)


FILES: dict[str, tuple[str, Make, Use]] = {
    "store": ("store/store.json", as_sealed, use_store),
    "case": ("store/cases/patient099_frame01/case.json", as_sealed, use_case),
    "split": (
        "run/split.json",
        as_json,
        lambda file: resolve_split(Store("store"), split_file=file),
    ),
    "configuration": ("run/config.yaml", as_yaml, lambda file: resolve(read_config(file))),
    "variants": ("variants.yaml", as_yaml, read_variants),
    "scores": (
        "cells/diffrect-labelled1-seed0/metrics_val.json",
        as_json,
        lambda file: markdown(read_comparison(file.parents[1], "val", None), []),
    ),
    "cell": (
        "cells/diffrect-labelled1-seed0/cell.json",
        as_json,
        lambda file: markdown(read_comparison(file.parents[1], "val", None), []),
    ),
    "matrix": ("cells/matrix.json", as_json, lambda file: planned_cells(file.parent)),
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", FILES)
def test_nonsense_in_a_file_is_explained(name: str) -> None:
    write_cell(Path("cells"), "diffrect", {"v1_a": (0.9, 0.7), "v1_b": (0.8, 0.6)})
    as_json({"format": 1, "cells": {"a": {"name": "a", "seed": 1}}}, Path("cells/matrix.json"))
    as_yaml({"a": {"method": "supervised", "options": {"x": 1}}}, Path("variants.yaml"))
    path, make, use = FILES[name]
    content = yaml.safe_load(Path(path).read_text())
    draw = random.Random(name)
    refused = 0
    for _ in range(TRIES):
        make(spoilt(content, draw), Path(path))
        refused += explained(use, Path(path))
    assert 0 < refused <= TRIES
    make(content, Path(path))
    assert not explained(use, Path(path))


@pytest.mark.usefixtures("place")
def test_nonsense_in_a_checkpoint_is_explained() -> None:
    path, store = checkpoint_path(Path("run"), "last"), Store("store")
    content = torch.load(path, weights_only=True)
    state = load_training(path, store)
    trainer = Trainer(store, Path("run"), state.config, state.split)
    draw = random.Random(1)
    refused = 0
    for _ in range(TRIES):
        torch.save(spoilt_state(content, draw), path)
        refused += explained(lambda file: restore(trainer, load_training(file, store)), path)
    assert TRIES / 2 < refused < TRIES
