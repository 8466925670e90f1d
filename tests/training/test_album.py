"""Pictures of a training: which slices, what is drawn on them, and that nothing else changes."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffrect.config import TrainConfig
from diffrect.data.choose_split import split_of
from diffrect.data.record import SliceIndex
from diffrect.data.splits.blocks import Block
from diffrect.data.store import Store
from diffrect.evaluation.colours import class_colour
from diffrect.methods.registry import complete
from diffrect.training.loop import open_album
from diffrect.training.pictures.album import PSEUDO_LABELS, VALIDATION, Album
from diffrect.training.pictures.choose import choose_by_label, choose_middle, spread
from diffrect.training.pictures.draw import (
    SIDE,
    frame_around,
    grey,
    tile,
    with_changes,
    with_labels,
)
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from support.runs import same

CLASSES = ("background", "one", "two")


def test_places_are_spread_from_first_to_last() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(2, 4) == [0, 1]
    assert spread(5, 1) == [0]
    assert spread(0, 4) == []


def test_validation_slices_show_something_and_stay_the_same(store: Store) -> None:
    names = list(store.cases)
    cases = [Block(case.id, 0, case.slices) for case in store.cases.values()]
    chosen = choose_by_label(store, cases, 4)
    assert chosen == choose_by_label(store, cases, 4)
    assert [index.case for index in chosen] == [names[place] for place in (0, 3, 6, 9)]
    for case, position in chosen:
        sizes = (store.label(case) > 0).sum(axis=(1, 2))
        assert sizes[position] == sizes.max()
    several = choose_by_label(store, cases[:2], 5)
    assert [index.case for index in several].count(names[0]) == 3
    assert len(set(several)) == 5
    part = [Block(names[0], 1, 3)]
    assert {index.position for index in choose_by_label(store, part, 9)} == {1, 2}
    assert choose_by_label(store, [], 4) == choose_by_label(store, cases, 0) == []


def test_unlabelled_slices_are_those_in_the_middle() -> None:
    slices = [SliceIndex(case, n) for case in "abc" for n in range(9)]
    assert choose_middle(slices, 3) == [(case, 4) for case in "abc"]
    assert choose_middle(slices[:9], 2) == [("a", 2), ("a", 6)]
    assert choose_middle(slices[:2], 5) == slices[:2]
    assert choose_middle([], 3) == []


def test_a_frame_lies_around_the_organ_in_millimetres() -> None:
    mask = np.zeros((100, 60), bool)
    mask[40:60, 20:30] = True  # 20 x 20 mm
    frame = frame_around(mask, (100, 60), (1.0, 2.0))
    assert (frame.rows, frame.columns) == ((35, 65), (18, 33))
    assert (frame.height, frame.width) == (SIDE, SIDE)
    whole = frame_around(None, (100, 60), (1.0, 1.0))
    assert (whole.rows, whole.columns, whole.width) == ((0, 100), (0, 60), round(0.6 * SIDE))
    mask[:] = False
    mask[0, 59] = True  # at the corner, with no room for a margin
    corner = frame_around(mask, (100, 60), (1.0, 1.0))
    assert corner.rows[0] == 0
    assert corner.columns[1] == 60


def test_labels_have_the_colours_of_their_classes() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[20:60, 20:60], labels[80:90, 80:90] = 1, 255  # nobody has annotated the second
    frame = frame_around(None, labels.shape, (1.0, 1.0))
    plain = grey(np.full(labels.shape, 0.5, np.float32), frame)
    outlined = with_labels(plain, labels, frame, filled=False)
    assert tuple(outlined[20, 40]) == class_colour(1)
    assert (outlined[40, 40] == plain[40, 40]).all()
    assert (outlined[70:, 70:] == plain[70:, 70:]).all()
    filled = with_labels(plain, labels, frame, filled=True)
    assert tuple(filled[40, 40]) != tuple(plain[40, 40])
    after = np.where(labels == 1, 2, 0).astype(np.uint8)
    after[20:40] = 0
    changes = with_changes(plain, labels, after, frame)
    assert tuple(changes[50, 40]) == class_colour(2)
    assert tuple(changes[30, 40]) == (255, 255, 255)
    assert (changes[85, 85] == plain[85, 85] // 2).all()


def test_a_picture_has_room_for_everything() -> None:
    panel = np.full((SIDE, SIDE // 2, 3), 9, np.uint8)
    rows = [("patient Ж\x1b[31m " + 50 * "x", [panel, panel]), ("b", [panel])]
    picture = tile(rows, ("one", "two"), CLASSES)
    assert (picture.shape[2], picture.dtype) == (3, np.uint8)
    assert (picture == 9).all(axis=2).sum() >= 3 * panel[..., 0].size
    legend = picture[-14:].max(axis=(0, 1)).astype(int)  # of two names, one of them yellow
    assert legend[0] > 150 < legend[1]
    assert legend[2] < 120


@pytest.mark.parametrize("rectifier", ["slice", "volume"])
def test_looking_changes_nothing_that_training_knows(
    store: Store, tmp_path: Path, rectifier: str
) -> None:
    options = {"rectifier": rectifier, "rectify_from": 0, "sampling_mode": "train"}
    if rectifier == "volume":
        options |= {"relabel_from": 0.0}
    sizes = {"size": 32, "iterations": 4, "batch_labelled": 2, "batch_unlabelled": 2}
    config = complete(TrainConfig(**sizes, options=options, log_images=3))  # type: ignore[arg-type]
    trainer = Trainer(store, tmp_path, config, split_of(store, config))
    album = open_album(trainer)
    assert album is not None
    trainer.iteration(trainer.batches[0])
    trainer.method.train()
    before = {name: value.clone() for name, value in tensors(trainer).items()}
    modes = [module.training for module in trainer.method.modules()]
    random = torch.get_rng_state()
    for block in trainer.scored:
        album.look(block, np.ones((3, 26, 22), np.uint8))
    drawn = album.pictures(trainer.method, trainer.step)
    assert drawn.keys() == {VALIDATION, PSEUDO_LABELS}
    assert album.drawing
    assert same(before, tensors(trainer))
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [module.training for module in trainer.method.modules()]
    # The same state gives the same picture; what was seen is forgotten.
    again = album.pictures(trainer.method, trainer.step)
    assert again.keys() == {PSEUDO_LABELS}
    assert (again[PSEUDO_LABELS] == drawn[PSEUDO_LABELS]).all()


def tensors(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = trainer.method.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def test_a_rectifier_shows_nothing_before_it_corrects(store: Store, tmp_path: Path) -> None:
    sizes = {"size": 32, "iterations": 4, "batch_labelled": 2, "batch_unlabelled": 2}
    config = complete(TrainConfig(**sizes))  # type: ignore[arg-type]
    trainer = Trainer(store, tmp_path, config, split_of(store, config))
    album = open_album(trainer)
    assert album is not None
    assert album.pictures(trainer.method, 0) == {}


def test_a_picture_that_cannot_be_drawn_costs_no_training(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(album: Album) -> np.ndarray:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(Album, "_draw_validation", fails)
    config = TrainConfig(method="supervised", size=32, iterations=2, validate_every=1)
    run = train(store.path, tmp_path / "run", config, progress=False)
    message = "diffrect: pictures of iteration 1: RuntimeError: out of memory; there are none from"
    assert capsys.readouterr().err == f"{message} here on\n"
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    assert board.Tags()["images"] == []


def test_the_board_shows_the_chosen_slices(store: Store, tmp_path: Path) -> None:
    config = TrainConfig(method="supervised", size=32, iterations=1, log_images=2)
    run = train(store.path, tmp_path / "run", config, progress=False)
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    (event,) = board.Images("pictures/validation")
    picture = Image.open(io.BytesIO(event.encoded_image_string))
    assert picture.width == 2 * SIDE + 4
    none = train(store.path, tmp_path / "none", replace(config, log_images=0), progress=False)
    board = EventAccumulator(str(none / "tensorboard"))
    board.Reload()
    assert board.Tags()["images"] == []
