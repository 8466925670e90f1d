"""The benchmark of rectified labels: errors are what they are called, and tables count right."""

import argparse

import numpy as np
import pytest

import rectify_labels
from diffrect.inference.rectifying.label_rectifier import Rule
from rectify_labels import parse_rule, scaled, table


def labels() -> np.ndarray:
    found = np.zeros((6, 32, 32), np.uint8)
    found[:, 8:24, 8:24] = 1
    found[:, 12:20, 12:20] = 2
    return found


def test_errors() -> None:
    truth = labels()
    random = np.random.default_rng(0)
    assert not rectify_labels.empty_slices(truth.copy(), random, 3)[[1, 4]].any()
    swapped = rectify_labels.swapped(truth.copy(), random, 3)
    np.testing.assert_array_equal(swapped == 1, truth == 2)
    half = rectify_labels.half_swapped(truth.copy(), random, 3)
    np.testing.assert_array_equal(half[:3], truth[:3])
    np.testing.assert_array_equal(half[3:], swapped[3:])
    holes = rectify_labels.holes(truth.copy(), random, 3)
    assert set(np.unique(truth[holes != truth])) <= {1, 2}
    assert 0 < np.count_nonzero(holes != truth) < 0.3 * np.count_nonzero(truth)
    moved = rectify_labels.moved(truth.copy(), random, 3)
    np.testing.assert_array_equal(moved[:, 2:, :-2], truth[:, :-2, 2:])


def test_an_atlas_is_scaled_to_the_scan() -> None:
    found = scaled(labels(), (3, 64, 16))
    assert found.shape == (3, 64, 16)
    np.testing.assert_array_equal(found[0, ::2], labels()[0][:, ::2])


def test_rules() -> None:
    assert parse_rule("") == Rule()
    assert parse_rule("sure=0.8,blend=0.1/0.6") == Rule(sure=0.8, blend=(0.1, 0.6))
    with pytest.raises(argparse.ArgumentTypeError, match="no setting surely"):
        parse_rule("surely=1")


def test_a_table_counts_what_was_harmed() -> None:
    rows = [("p1", 80.0, 90.0, 0.0), ("p1", 80.0, 90.0, 0.5), ("p2", 60.0, 59.0, 1.0)]
    _, _, line = table({"x": rows})
    assert line == "| x | 73.33 | 79.67 | +6.33 [-1.00, +10.00] | 1 of 3, -1.0 | 0.50 |"
