"""Slices left out to choose a checkpoint by: where they lie, that nothing learns them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffrect.cli import main as cli
from diffrect.config import TrainConfig, config_from_dict, config_to_dict
from diffrect.data.choose_split import resolve_split, split_of
from diffrect.data.record import CaseRecord, SliceIndex
from diffrect.data.split import Split
from diffrect.data.splits.blocks import Block, blocks_of, choose_blocks
from diffrect.data.store import Store
from diffrect.data.volumes import training_volumes
from diffrect.errors import InputError
from diffrect.methods.registry import complete
from diffrect.training.cross_validation import cross_validate
from diffrect.training.header import header
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from support.runs import lines

LEFT_OUT = SliceIndex("patient099_frame01", 1), SliceIndex("patient099_frame02", 1)


def record(case: str, patient: str, slices: int, *, labelled: bool = True) -> CaseRecord:
    return CaseRecord(case, patient, labelled, slices, (8, 8), None)


def test_a_block_is_contiguous_and_the_same_in_all_scans_of_a_patient() -> None:
    cases = [record("a_1", "a", 10), record("a_2", "a", 10), record("b_1", "b", 20)]
    cases += [record("b_2", "b", 20, labelled=False), record("c_1", "c", 5)]
    blocks = choose_blocks(("a", "b"), cases, 0.2)
    assert blocks == (Block("a_1", 2, 4), Block("a_2", 2, 4), Block("b_1", 12, 16))
    assert choose_blocks(("a",), cases, 0.01) == (Block("a_1", 4, 5), Block("a_2", 4, 5))
    split = Split(("a",), labelled=("a",), val_slices=tuple(map(str, blocks)))
    assert split.val_slices[0] == "a_1:3-4"
    assert blocks_of(split) == blocks
    assert Split.from_json(split.to_json()) == split
    assert "val_slices" not in json.loads(Split(("a",)).to_json())
    with pytest.raises(
        InputError, match=r"--validate-slices: expected .* 2 slices, got 1 slice of"
    ):
        choose_blocks(("a",), [record("a", "a", 1)], 0.2)


@pytest.fixture(scope="module")
def split_file(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody validates; the only labelled patient is 099."""
    official = resolve_split(store)
    file = tmp_path_factory.mktemp("split") / "split.json"
    file.write_text(replace(official, val=()).to_json())
    return file


@pytest.fixture
def config(split_file: Path) -> TrainConfig:
    sizes = {"size": 32, "iterations": 4, "validate_every": 2, "batch_labelled": 2}
    return TrainConfig(
        method="supervised", split_file=split_file, validate_slices=0.3, log_images=1, **sizes
    )


def test_what_is_left_out_is_in_no_batch_and_in_no_volume(
    store: Store, config: TrainConfig
) -> None:
    split = split_of(store, config)
    assert split.val_slices == ("patient099_frame01:2-2", "patient099_frame02:2-2")
    labelled, others = store.training_slices(split)
    whole = store.training_slices(replace(split, val_slices=()))
    assert set(whole[0]) - set(labelled) == set(LEFT_OUT)
    assert others == whole[1]
    assert not set(LEFT_OUT) & set(others)

    volumes = training_volumes(store, split, config, "linear")
    assert not set(LEFT_OUT) & set(volumes.rows)
    full = training_volumes(store, replace(split, val_slices=()), config, "linear")
    for index, row in volumes.rows.items():
        assert torch.equal(
            volumes.labels[torch.tensor(row)], full.labels[torch.tensor(full.rows[index])]
        )
    # The slices on either side of a block are no neighbours.
    first, second = (volumes.rows[SliceIndex(LEFT_OUT[0].case, p)] for p in (0, 2))
    assert second == first + 1
    assert second not in volumes.neighbours(1)[first]
    assert len(volumes.cases()) == len(full.cases()) + 2


def test_they_choose_the_checkpoint_and_it_is_told(
    store: Store, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(store.path, tmp_path / "run", config, progress=False)
    warned = capsys.readouterr().err
    assert warned.startswith("diffrect: slices of training patients choose the checkpoint: they")
    trainer = Trainer(store, run, complete(config), split_of(store, config))
    assert trainer.scored == [Block(case, position, position + 1) for case, position in LEFT_OUT]
    said = header(trainer, "x")[1]
    assert "4 labelled, 12 unlabelled, 2 to validate (left out of the labelled scans)" in said

    scores = [line["dice"] for line in lines(run) if line["kind"] == "val"]
    assert len(scores) == 2
    assert cli.main(["evaluate", str(run), "--device", "cpu"]) == 0
    assert "slices left out of the scans that train" in " ".join(capsys.readouterr().out.split())
    page = (run / "report_val" / "index.html").read_text("utf-8")
    assert "Scored are slices that were left out of the scans that train" in page
    found = json.loads((run / "metrics_val.json").read_text())
    assert [case["id"] for case in found["cases"]] == [index.case for index in LEFT_OUT]
    assert found["protocol"]["val_slices"] == ["patient099_frame01:2-2", "patient099_frame02:2-2"]
    assert found["mean"]["dice"] == pytest.approx(max(scores))
    assert cli.main(["inspect", str(run)]) == 0
    assert "slices of training patients: patient099_frame01:2-2, " in capsys.readouterr().out

    # Its own split file asks for the same, and so does the option when it resumes.
    again = replace(config, split_file=run / "split.json", validate_slices=None)
    assert split_of(store, again) == split_of(store, config)
    train(store.path, run, config, resume=True, progress=False)
    with pytest.raises(InputError, match="--resume expected the patients of"):
        train(store.path, run, replace(config, validate_slices=None), resume=True, progress=False)
    assert config_from_dict(config_to_dict(config)) == config


def test_they_are_no_second_choice(store: Store, config: TrainConfig, tmp_path: Path) -> None:
    official = replace(config, split_file=None)
    with pytest.raises(InputError, match="--validate-slices: expected a split in which nobody val"):
        split_of(store, official)
    with pytest.raises(InputError, match="--validate-slices: expected none with --cross-validate"):
        cross_validate(store.path, tmp_path / "folds", config, folds=2, progress=False)
    with pytest.raises(InputError, match=r"validate_slices: expected a share .* to 0\.5"):
        replace(config, validate_slices=0.6)
    command = ["compare", str(store.path), str(tmp_path / "x"), "--validate-slices", "0.2"]
    assert cli.main(command) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_drawn_split_then_validates_nobody(decathlon_store: Store) -> None:
    split = resolve_split(decathlon_store, labelled="1", validate_slices=0.25)
    assert split.val == ()
    assert len(split.test) == 1
    (block,) = blocks_of(split)
    assert block.stop - block.start == 1


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("patient099_frame01", "val_slices: expected blocks such as CASE:3-5"),
        ("patient099_frame01:0-1", "expected a part of the 3 slices"),
        ("patient099_frame01:1-3", "expected a part of the 3 slices"),
        ("patient099_frame01:3-2", "expected a part of the 3 slices"),
        ("patient099_frame01:3-4", "expected a part of the 3 slices"),
        ("patient038_frame04:2-2", "expected slices of labelled scans of labelled patients"),
        ("nobody:2-2", "expected slices of labelled scans of labelled patients"),
    ],
)
def test_wrong_blocks_of_a_split_file_are_named(
    store: Store, split_file: Path, tmp_path: Path, blocks: str, message: str
) -> None:
    content = json.loads(split_file.read_text())
    (tmp_path / "s.json").write_text(json.dumps({**content, "val_slices": [blocks]}))
    with pytest.raises(InputError, match=message):
        resolve_split(store, split_file=tmp_path / "s.json")
