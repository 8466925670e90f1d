"""Files of earlier versions, kept in examples/: they load, or the message says what does."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import diffrect.training.train as train_module
from diffrect.config import CONFIG_FORMAT, TrainConfig, read_config
from diffrect.data.batch import RawBatch
from diffrect.data.prepare import prepare
from diffrect.data.store import FORMAT_VERSION as STORE_VERSION
from diffrect.data.store import Store
from diffrect.earlier_formats import DIFFRECT_OF_FORMAT_2, VIEWS_OF_FORMAT_4
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.load import load_method
from diffrect.inference.model import Model
from diffrect.methods.registry import remembered, resolve
from diffrect.runs.checkpoint import FORMAT_VERSION as CHECKPOINT_VERSION
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.log import FORMAT_VERSION as METRICS_VERSION
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from support.tiny import scan, write_dataset_json, write_nifti

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Version 1: without checksums of its descriptions."""
    return Path(shutil.copytree(EXAMPLES / "store_1", tmp_path / "store"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Checkpoint format 1 with the entries it had at first; metrics without a version, cut."""
    return Path(shutil.copytree(EXAMPLES / "run_1", tmp_path / "run"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What the store was made from."""
    entries = []
    for number in range(3):
        image, labels = scan((6, 5, 2), 3, seed=number)
        name = f"part_{number:03d}.nii.gz"
        folder = tmp_path / "source"
        write_nifti(folder / "imagesTr" / name, image.astype(np.float32), (1.0, 1.0, 2.0))
        write_nifti(folder / "labelsTr" / name, labels, (1.0, 1.0, 2.0))
        entries.append({"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"})
    write_dataset_json(folder, entries)
    return folder


def test_a_checkpoint_without_an_option_has_the_value_from_before_it() -> None:
    held = TrainConfig(options={"teacher_decay": 0.5, "rectification_ramp": True})
    found = remembered(held).options
    assert found == {**DIFFRECT_OF_FORMAT_2, **VIEWS_OF_FORMAT_4, **held.options}
    assert DIFFRECT_OF_FORMAT_2.items() <= remembered(TrainConfig()).options.items()
    assert remembered(TrainConfig(method="supervised")).options == VIEWS_OF_FORMAT_4


def test_the_versions_of_today() -> None:
    """Whoever changes one of them adds an example of the version before."""
    assert (STORE_VERSION, CHECKPOINT_VERSION, METRICS_VERSION) == (2, 2, 1)


def test_a_store_of_version_1_is_read(store: Path) -> None:
    opened = Store(store)
    opened.verify()
    assert opened.version == 1
    assert opened.image("part_001").shape == (2, 1, 5, 6)
    assert opened.label("part_001", 1).max() == 2
    file = store / "cases" / "part_001" / "image.b2nd"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        InputError, match=r"part_001/image\.b2nd: .* they have changed; .* --repair"
    ):
        Store(store).image("part_001")


def test_repair_brings_a_store_to_the_version_of_today(store: Path, source: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in store.rglob("*.b2nd")}
    (store / "cases" / "part_001" / "image.b2nd").write_bytes(b"")
    repaired = prepare(source, store, repair=True, progress=False)
    assert Store(store).version == 2
    repaired.verify()
    changed = {file.parent.name for file, time in before.items() if file.stat().st_mtime_ns != time}
    assert changed == {"part_001"}


def test_a_store_of_a_later_version_is_refused(store: Path) -> None:
    file = store / "store.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 3}))
    with pytest.raises(InputError, match=r"store\.json: expected store version 2 or 1, got 3"):
        Store(store)


def test_a_run_of_before_predicts_and_is_evaluated(store: Path, run: Path) -> None:
    model = Model.load(run)
    assert (model.step, model.size, model.classes[2]) == (10, 32, "Posterior")
    assert model.predict_slices(Store(store).image("part_000")).shape == (2, 5, 6)
    assert evaluate(run, store=store, progress=False).format == 1


def test_a_run_of_before_goes_on(store: Path, run: Path) -> None:
    config = read_config(run / "config.yaml")
    with pytest.raises(InputError, match=r"best\.pt: expected checkpoint format 2 or 1, got 3"):
        _refuse_later(run)
    train(store, run, config, resume=True, progress=False)
    assert load_checkpoint(checkpoint_path(run, "last"))["step"] == 20
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kinds = [(entry["kind"], entry["step"]) for entry in entries]
    assert kinds == [
        ("format", 0),
        ("train", 10),
        ("val", 10),
        ("train", 20),
        ("val", 20),
        ("end", 20),
    ]


def _refuse_later(run: Path) -> None:
    path = run / "best.pt"
    state = load_checkpoint(checkpoint_path(run, "best"))
    torch.save({**state, "format": 3}, path)
    load_checkpoint(path)


def test_preset_reference_of_format_1_keeps_its_meaning(tmp_path: Path) -> None:
    """It is repeated with the views and the colours that it had; a file by hand has today's."""
    recorded = EXAMPLES / "reference_1.yaml"
    resolved = resolve(read_config(recorded))
    assert (resolved.view_options.geometry, resolved.view_options.turn_probability) == (
        "single",
        0.5,
    )
    assert resolved.method_options.two_classes == "black_red"
    assert not resolved.method_options.rectify_after
    assert resolved.method_options.rectify_from == 500
    assert read_config(recorded, as_written=True).options == {"rectify_from": 500}
    fixmatch = replace(read_config(recorded), method="fixmatch")
    assert resolve(fixmatch).view_options.turn_probability == 1
    by_hand = tmp_path / "config.yaml"
    by_hand.write_text("preset: reference\n")
    assert resolve(read_config(by_hand)).view_options.geometry == "authors"
    by_hand.write_text(f"format: {CONFIG_FORMAT + 1}\n")
    wanted = f"expected configuration format {CONFIG_FORMAT}, got {CONFIG_FORMAT + 1}"
    with pytest.raises(InputError, match=wanted):
        read_config(by_hand)


def test_a_reference_run_of_before_goes_on_with_its_own_views(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(
        method="supervised", preset="reference", size=32, iterations=2, labelled="1"
    )
    run = train(store, tmp_path / "run", config, progress=False)
    _as_of_format_1(run)
    load = load_method(run)
    assert (load.config.options["geometry"], load.config.options["eight_bit"]) == ("single", True)
    seen: list[str] = []

    class Watched(Trainer):
        def iteration(self, raw: RawBatch) -> dict[str, float]:
            seen.append(self.views.geometry)
            return super().iteration(raw)

    saved = read_config(run / "config.yaml")
    assert saved.options["geometry"] == "single"
    monkeypatch.setattr(train_module, "Trainer", Watched)
    for given in (saved, config):  # as the command line and as Python name it
        state = load_checkpoint(checkpoint_path(run, "last"))
        torch.save({**state, "step": 1, "validated": 0}, checkpoint_path(run, "last"))
        train(store, run, given, resume=True, progress=False)
        _as_of_format_1(run)
    assert seen == ["single", "single"]


def _as_of_format_1(run: Path) -> None:
    """Take out of a run's files what version 0.1.0 did not write."""
    file = run / "config.yaml"
    file.write_text(file.read_text().replace(f"format: {CONFIG_FORMAT}\n", ""))
    for path in (run / "checkpoints").glob("*.pt"):
        state = load_checkpoint(path)
        state["config"]["options"].pop("geometry", None)
        for name in ("best_step", "predicts", "network", "code"):
            if "method" in state:
                state.pop(name, None)
        torch.save(state, path)


def test_examples_stay_small() -> None:
    assert sum(file.stat().st_size for file in EXAMPLES.rglob("*") if file.is_file()) < 200_000
