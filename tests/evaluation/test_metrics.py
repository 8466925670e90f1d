"""Metrics: worked out by hand on tiny masks, and equal to medpy's on random and on real ones."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from diffrect.evaluation import metrics
from diffrect.evaluation.summary import summarise
from diffrect.evaluation.surfaces import find_surfaces

NAN = float("nan")


def oracle(prediction, truth, spacing):
    """Return the six values of one class as medpy defines them."""
    from medpy.metric import binary

    return {
        "dice": binary.dc(prediction, truth),
        "jaccard": binary.jc(prediction, truth),
        "hd95_mm": binary.hd95(prediction, truth, spacing),
        "hd95_voxel": binary.hd95(prediction, truth),
        "asd_mm": binary.asd(prediction, truth, spacing),
        "asd_voxel": binary.asd(prediction, truth),
    }


def single(shape, *points):
    mask = np.zeros(shape, bool)
    for point in points:
        mask[point] = True
    return mask


def test_two_voxels_apart_by_hand():
    prediction, truth = single((4, 5), (0, 0)), single((4, 5), (3, 4))
    assert metrics.dice(prediction, truth) == 0
    assert metrics.jaccard(prediction, truth) == 0
    assert metrics.hausdorff95(prediction, truth) == 5
    assert metrics.average_surface_distance(prediction, truth) == 5
    assert metrics.hausdorff95(prediction, truth, (4.0, 1.25)) == 13  # 12 and 5 mm


def test_overlap_by_hand():
    prediction, truth = single((2, 4), (0, 0), (0, 1), (0, 2)), single((2, 4), (0, 2), (0, 3))
    assert metrics.dice(prediction, truth) == pytest.approx(2 / 5)
    assert metrics.jaccard(prediction, truth) == pytest.approx(1 / 4)
    # Surface to surface: 2, 1, 0 voxels one way and 0, 1 the other.
    assert metrics.average_surface_distance(prediction, truth) == 1
    assert metrics.average_surface_distance(truth, prediction) == 0.5
    assert metrics.hausdorff95(prediction, truth) == pytest.approx(1.8)


def test_the_inside_of_a_mask_is_not_its_surface():
    truth = np.zeros((5, 5, 5), bool)
    truth[1:4, 1:4, 1:4] = True
    centre = single(truth.shape, (2, 2, 2))
    assert metrics.average_surface_distance(centre, truth, (5.0, 1.0, 1.0)) == 1
    there, back = metrics.surface_distances(centre, truth)
    assert (there.size, back.size) == (1, 26)


def test_the_edge_of_the_volume_is_a_surface():
    full = np.ones((3, 3), bool)
    there, back = metrics.surface_distances(full, single((3, 3), (1, 1)))
    assert (there.size, back.size) == (8, 1)
    assert set(back) == {1.0}


def discs_apart(pixels=4):
    """Return two discs in one plane, the second moved along the second axis."""
    row, column = np.mgrid[:40, :50]
    first = np.hypot(row - 20, column - 20) < 9
    return first, np.roll(first, pixels, axis=1)


@pytest.mark.parametrize("axis", range(3))
def test_a_single_slice_is_scored_as_an_image(axis):
    prediction, truth = (np.expand_dims(disc, axis) for disc in discs_apart())
    flat, spacing = (1.2, 0.7), [1.2, 0.7]
    spacing.insert(axis, 8.0)
    expected = oracle(*discs_apart(), flat)
    assert expected["asd_voxel"] == pytest.approx(2.4, abs=0.1)
    names = ("background", "disc")
    codes = [mask.astype(np.uint8) for mask in (prediction, truth)]
    assert metrics.case_metrics(*codes, names, spacing)["disc"] == pytest.approx(expected)
    found = metrics.average_surface_distance(prediction, truth, spacing)
    assert found == pytest.approx(expected["asd_mm"])
    assert metrics.hausdorff95(prediction, truth) == pytest.approx(expected["hd95_voxel"])


def test_a_spacing_has_the_axes_of_the_masks():
    disc, _ = discs_apart()
    with pytest.raises(ValueError, match="a spacing of 2 axes expected, got 3"):
        metrics.hausdorff95(disc, disc, (8.0, 1.2, 0.7))


def test_masks_in_one_slice_of_a_volume_are_thin():
    prediction, truth = (np.stack([disc, np.zeros_like(disc)]) for disc in discs_apart())
    expected = oracle(prediction, truth, (8.0, 1.2, 0.7))
    found = metrics.average_surface_distance(prediction, truth, (8.0, 1.2, 0.7))
    assert found == pytest.approx(expected["asd_mm"])


def test_a_grid_of_one_voxel():
    one = np.ones((1, 1, 1), bool)
    assert metrics.hausdorff95(one, one, (8.0, 1.0, 1.0)) == 0
    line = single((1, 1, 5), (0, 0, 1)), single((1, 1, 5), (0, 0, 4))
    assert metrics.average_surface_distance(*line, (8.0, 1.0, 2.0)) == 6


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_medpy_on_random_masks(seed):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 14, size=2 + seed % 2))
    spacing = tuple(random.uniform(0.3, 9, size=len(shape)))
    density = random.choice([0.05, 0.3, 0.7, 0.97], size=2)
    masks = [random.random(shape) < limit for limit in density]
    for mask in masks:
        mask.flat[random.integers(mask.size)] = True
    names = ("background", "organ")
    found = metrics.case_metrics(*[mask.astype(np.uint8) for mask in masks], names, spacing)
    assert found["organ"] == pytest.approx(oracle(*masks, spacing), abs=1e-9)
    assert metrics.dice(*masks) == found["organ"]["dice"]
    assert metrics.jaccard(*masks) == found["organ"]["jaccard"]
    assert metrics.hausdorff95(*masks, spacing) == found["organ"]["hd95_mm"]
    assert metrics.average_surface_distance(*masks) == found["organ"]["asd_voxel"]


@pytest.mark.skipif(
    "DIFFRECT_DATA" not in os.environ, reason="DIFFRECT_DATA is unset: no real masks to compare on"
)
@pytest.mark.parametrize("patient", ["patient090", "patient099"])
def test_equal_to_medpy_on_real_masks(patient):
    import nibabel

    folder = Path(os.environ["DIFFRECT_DATA"]) / "acdc/training" / patient
    files = [nibabel.load(path) for path in sorted(folder.glob("*_gt.nii.gz"))]
    first, second = (np.asarray(file.dataobj).astype(np.uint8).T for file in files)
    spacing = tuple(float(size) for size in files[0].header.get_zooms()[::-1])
    names = ("background", "RV", "MYO", "LV")
    found = metrics.case_metrics(first, second, names, spacing)
    for index, name in enumerate(names[1:], start=1):
        expected = oracle(first == index, second == index, spacing)
        assert found[name] == pytest.approx(expected, abs=1e-9)


def volumes():
    """Truth with classes 1 and 2, prediction with 1 and 3; class 4 is in neither."""
    truth, prediction = np.zeros((2, 3, 4, 4), np.uint8)
    truth[1, 1:3, 1:3] = 1
    truth[2, 0, 0] = 2
    prediction[1, 1:3, 1:3] = 1
    prediction[0, 3, 3] = 3
    return prediction, truth, ("background", "same", "missed", "invented", "absent")


def test_undefined_values_are_nan():
    prediction, truth, names = volumes()
    scores = metrics.case_metrics(prediction, truth, names, (8.0, 1.5, 1.5))
    assert list(scores["same"]) == list(scores["absent"]) == list(metrics.METRICS)
    assert list(scores["same"].values()) == [1, 1, 0, 0, 0, 0]
    for name in ("missed", "invented"):
        assert (scores[name]["dice"], scores[name]["jaccard"]) == (0, 0)
        assert all(math.isnan(scores[name][metric]) for metric in list(metrics.METRICS)[2:])
    assert all(math.isnan(value) for value in scores["absent"].values())


def test_reference_convention_for_empty_masks():
    prediction, truth, names = volumes()
    scores = metrics.case_metrics(prediction, truth, names, (8.0, 1.5, 1.5), empty="reference")
    assert scores["same"]["dice"] == 1
    for name in ("missed", "invented", "absent"):
        assert list(scores[name].values()) == [0, 0, 50, 50, 10, 10]


@pytest.mark.parametrize("empty", metrics.EMPTY_CONVENTIONS)
def test_without_a_spacing_there_are_no_millimetres(empty):
    prediction, truth, names = volumes()
    scores = metrics.case_metrics(prediction, truth, names, None, empty=empty)
    for values in scores.values():
        assert math.isnan(values["hd95_mm"])
        assert math.isnan(values["asd_mm"])
    assert scores["same"]["hd95_voxel"] == 0


def test_empty_masks_alone():
    nothing, something = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    assert math.isnan(metrics.dice(nothing, nothing))
    assert math.isnan(metrics.jaccard(nothing, nothing))
    assert metrics.dice(nothing, something) == 0
    assert math.isnan(metrics.hausdorff95(nothing, something))
    assert math.isnan(metrics.average_surface_distance(something, nothing))


def test_case_dice_is_the_dice_of_case_metrics():
    prediction, truth, names = volumes()
    full = metrics.case_metrics(prediction, truth, names, None)
    quick = metrics.case_dice(prediction, truth, names)
    assert list(quick) == list(full)
    assert quick == pytest.approx({name: full[name]["dice"] for name in full}, nan_ok=True)


def test_shapes_and_class_numbers_are_checked():
    small, large = np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2, 3\)"):
        metrics.case_dice(small, large, ("background", "organ"))
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2, 3\)"):
        metrics.hausdorff95(small > 0, large > 0)
    with pytest.raises(ValueError, match="below 2"):
        metrics.case_dice(small + np.uint8(2), small, ("background", "organ"))


def test_summary_leaves_out_and_counts_what_is_undefined():
    cases = [
        {"a": {"dice": 0.5, "hd95_mm": 2.0}, "b": {"dice": 0.0, "hd95_mm": NAN}},
        {"a": {"dice": 1.0, "hd95_mm": NAN}, "b": {"dice": 0.5, "hd95_mm": NAN}},
    ]
    classes, mean, undefined = summarise(cases)
    assert classes["a"] == {"dice": 0.75, "hd95_mm": 2.0}
    assert classes["b"] == pytest.approx({"dice": 0.25, "hd95_mm": NAN}, nan_ok=True)
    assert mean == {"dice": 0.5, "hd95_mm": 2.0}
    assert undefined == {"a": {"dice": 0, "hd95_mm": 1}, "b": {"dice": 0, "hd95_mm": 2}}


def test_summary_of_nothing():
    assert summarise([]) == ({}, {}, {})


def test_voxels_that_nobody_annotated_count_nowhere():
    prediction, truth, names = volumes()
    scores = metrics.case_metrics(prediction, truth, names, (2.0, 1.0, 1.0))
    # Whatever a prediction says of open voxels, the scores are those of the rest.
    wide = [np.pad(labels, ((0, 0), (0, 0), (0, 3))) for labels in (prediction, truth)]
    wide[0][..., -2:], wide[1][..., -2:] = 1, 255
    for name, found in metrics.case_metrics(*wide, names, (2.0, 1.0, 1.0)).items():
        assert found == pytest.approx(scores[name], nan_ok=True)
    dice = metrics.case_dice(prediction, truth, names)
    assert metrics.case_dice(*wide, names) == pytest.approx(dice, nan_ok=True)


def test_where_the_annotation_ends_there_is_no_surface():
    truth, prediction = np.zeros((1, 1, 9), np.uint8), np.zeros((1, 1, 9), np.uint8)
    truth[..., 2:6], truth[..., 6:], prediction[..., 1:8] = 1, 255, 1
    along = [labels.repeat(3, 0).repeat(3, 1) for labels in (prediction, truth)]
    scores = metrics.case_metrics(*along, ("background", "organ"), None)["organ"]
    # 5 predicted voxels a row (1 to 5), 4 true ones (2 to 5)
    assert scores["dice"] == pytest.approx(8 / 9)
    inner = [labels[1:2, 1:2] for labels in along]
    surfaces = find_surfaces(inner[0] == 1, inner[1] == 1, inner[1] == 255)
    assert not surfaces.truth[..., 6:].any()


def test_without_any_surface_there_is_no_distance():
    truth = np.full((3, 3, 3), 255, np.uint8)
    truth[1, 1, 1] = 1
    scores = metrics.case_metrics(np.ones_like(truth), truth, ("background", "organ"), None)
    assert scores["organ"]["dice"] == 1
    assert np.isnan(scores["organ"]["hd95_voxel"])
    nothing = metrics.case_metrics(truth * 0, np.full_like(truth, 255), ("a", "b"), None)
    assert all(np.isnan(value) for value in nothing["b"].values())


@pytest.mark.parametrize("spacing", [(10.0, 1.5, 1.5), (3.0, 1.0, 2.0)])
@pytest.mark.parametrize("shape", [(7, 9, 8), (9, 8), (12,)])
def test_nearest_surface_by_trying_all(shape, spacing):
    generator = np.random.default_rng(0)
    masks = [generator.random(shape) < 0.15 for _ in range(2)]
    masks[1][: len(masks[1]) // 2] = False  # planes without any
    steps = spacing[-len(shape) :]
    surfaces = find_surfaces(*masks, np.zeros(shape, bool))
    for found, scale in zip(
        surfaces.distances([None, steps]), ((1,) * len(shape), steps), strict=True
    ):
        a, b = (np.argwhere(mask) * scale for mask in surfaces)
        between = np.linalg.norm(a[:, None] - b[None], axis=2)
        np.testing.assert_allclose(found[0], between.min(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found[1], between.min(axis=0), rtol=1e-12)


def test_a_metric_knows_how_it_is_shown():
    found = {m.name: (m.heading, m.label, m.unit, m.text(0.25)) for m in metrics.METRICS.values()}
    assert found["dice"] == ("Dice %", "Dice (%)", "1", "25.00")
    assert found["hd95_voxel"] == ("95HD voxels", "95HD (voxels)", "voxel", "0.25")
    assert metrics.METRICS["asd_mm"].text(math.nan) == "–"
    better = [m.name for m in metrics.METRICS.values() if m.higher_is_better]
    assert better == ["dice", "jaccard"]
