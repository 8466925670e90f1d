"""Pictures: written without matplotlib's global state, cropped in mm, Dice by hand."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from diffrect.evaluation.colours import OF_CLASSES
from diffrect.reporting.panels import Panel, PictureRow, crop_square, intensity_window
from diffrect.showcase.pictures import (
    NAME_INCHES,
    PANEL_INCHES,
    _rgb,
    describe_dice,
    draw_rows,
)

CLASSES = ("background", "inner", "outer")


def make_row(
    shape: tuple[int, int] = (40, 30), spacing: tuple[float, float] = (1.0, 2.0), panels: int = 3
) -> PictureRow:
    truth = np.zeros(shape, dtype=np.uint8)
    truth[10:22, 8:14] = 2
    truth[14:18, 10:12] = 1
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    shown = [Panel("image"), Panel("truth", truth), Panel("prediction", truth, scored=True)]
    return PictureRow("a slice", image, truth, spacing, shown[:panels])


def test_writes_rows_of_panels(tmp_path: Path):
    path = tmp_path / "picture.png"
    draw_rows([make_row(), make_row((25, 50), (1.5, 1.5), panels=2)], CLASSES, "Words. " * 50, path)
    picture = imread(path)
    assert picture.shape[1] == round(200 * (NAME_INCHES + 3 * PANEL_INCHES))
    assert picture.std() > 0.1
    # every class is drawn in its colour, opaque in the outline
    for code in (1, 2):
        assert np.abs(picture[..., :3] - _rgb(code)).max(axis=2).min() < 0.02


def test_leaves_matplotlib_as_it_was(tmp_path: Path):
    settings = dict(matplotlib.rcParams)
    draw_rows([make_row()], CLASSES, "", tmp_path / "picture.png")
    assert dict(matplotlib.rcParams) == settings
    code = "import diffrect.showcase.pictures, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("code", [0, 1])
def test_slices_without_a_class_or_full_of_one(tmp_path: Path, code: int):
    labels = np.full((20, 20), code, dtype=np.uint8)
    row = PictureRow("", np.eye(20), labels, (1.0, 1.0), [Panel("labels", labels, scored=True)])
    draw_rows([row], CLASSES, "", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").is_file()


def test_more_classes_than_colours(tmp_path: Path):
    classes = ("background", *(f"class {i}" for i in range(len(OF_CLASSES) + 2)))
    labels = np.arange(100, dtype=np.uint8).reshape(10, 10) % len(classes)
    row = PictureRow("", np.eye(10), labels, (1.0, 1.0), [Panel("labels", labels)])
    draw_rows([row], classes, "", tmp_path / "picture.png")


def test_dice_by_hand():
    truth = np.array([[1, 1, 2, 2], [0, 0, 0, 0]])
    labels = np.array([[1, 0, 2, 2], [0, 0, 0, 0]])
    assert describe_dice(labels, truth, 4) == "Dice 83 %  (67 / 100 / –)"
    assert describe_dice(truth * 0, truth * 0, 3) == "Dice – %  (– / –)"


def test_crop_is_a_square_of_mm_around_all_labels():
    row = make_row()
    box = crop_square(row)
    sides = ((box.bottom - box.top) * 1.0, (box.right - box.left) * 2.0)
    assert sides[0] == pytest.approx(sides[1])
    assert box.top <= 10
    assert box.bottom >= 21
    # what a prediction labels far from the truth is not cut away
    stray = np.zeros_like(row.truth)
    stray[38, 15] = 1
    wide = crop_square(PictureRow("", row.image, row.truth, row.spacing, [Panel("", stray)]))
    assert wide.bottom >= 38.5


def test_crop_leaves_the_slice_only_where_labels_need_it():
    truth = np.zeros((30, 20), dtype=np.uint8)
    truth[0, 0] = truth[10, 5] = 1
    box = crop_square(PictureRow("", np.eye(30, 20), truth, (1.0, 1.0), []))
    assert (box.left, box.right, box.top, box.bottom) == (-0.5, 19.5, -0.5, 19.5)
    truth[29, 19] = 1
    box = crop_square(PictureRow("", np.eye(30, 20), truth, (1.0, 1.0), []))
    assert (box.left, box.right, box.top, box.bottom) == (-5.5, 24.5, -0.5, 29.5)


def test_brightness_is_the_labelled_regions():
    row = make_row()
    image = np.full(row.image.shape, 0.2)
    image[0, 0], image[12:15, 9] = 1.0, 0.4
    shown = PictureRow("", image, row.truth, row.spacing, row.panels)
    assert intensity_window(shown, crop_square(shown))[1] == pytest.approx(0.44, abs=0.01)
