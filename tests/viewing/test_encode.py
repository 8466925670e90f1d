"""Scans and layers as the page reads them: the values, where they lie, what is black and white."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume
from diffrect.viewing.encode import (
    display_affine,
    encode_labels,
    encode_map,
    encode_scan,
    slice_axis,
)


def volume(array: np.ndarray, spacing=(1.5, 1.25, 10.0), affine=None) -> Volume:
    return Volume(array, spacing, np.eye(4) if affine is None else affine, Path("scan.nii"))


def read(content: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_whole_numbers_of_16_bits_stay(kind):
    array = np.arange(24, dtype=kind).reshape(2, 3, 4)
    image = read(encode_scan(volume(array)))
    assert np.array_equal(image.get_fdata(), array)
    assert image.get_data_dtype() == (kind if kind in (np.uint8, np.uint16) else np.int16)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_other_numbers_are_rounded_to_steps_of_their_range(scale):
    array = (scale * np.random.default_rng(0).normal(size=(5, 6, 7))).astype(np.float32)
    found = read(encode_scan(volume(array))).get_fdata()
    assert np.abs(found - array).max() <= np.ptp(array) / 65535


def test_a_constant_scan_and_a_wide_one_can_be_shown():
    flat = read(encode_scan(volume(np.full((2, 2, 2), 3.5, np.float32)))).get_fdata()
    assert flat == pytest.approx(3.5)
    wide = np.array([0, 2**31 - 1], np.int64).repeat(4).reshape(2, 2, 2)
    assert read(encode_scan(volume(wide))).get_fdata() == pytest.approx(wide, rel=1e-4)


def test_the_brightest_half_per_cent_does_not_decide_what_is_white():
    array = np.zeros((10, 10, 10), np.int16)
    array[:, :, 5:] = 100
    array[0, 0, 0] = 30000
    header = read(encode_scan(volume(array))).header
    assert (header["cal_min"], header["cal_max"]) == (0, 100)


def test_channels_are_points_in_time():
    array = np.arange(2 * 3 * 4 * 2, dtype=np.int16).reshape(2, 3, 4, 2)
    assert np.array_equal(read(encode_scan(volume(array))).get_fdata(), array)


def test_labels_and_maps_keep_their_values():
    labels = np.array([0, 1, 19, 255], np.uint8).reshape(1, 2, 2)
    grid = volume(np.zeros((1, 2, 2), np.float32))
    assert np.array_equal(read(encode_labels(labels, grid)).get_fdata(), labels)
    entropy = np.array([0.0, 0.25, 0.5, 1.0], np.float32).reshape(1, 2, 2)
    assert read(encode_map(entropy, grid)).get_fdata() == pytest.approx(entropy, abs=0.501 / 255)


def test_an_affine_without_scale_gets_the_spacing_and_keeps_its_directions():
    """Those of ACDC are so."""
    turned = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, -1, 7], [0, 0, 0, 1]], float)
    affine = display_affine(volume(np.zeros((4, 5, 3)), affine=turned))
    assert affine[:3, :3] == pytest.approx(np.array([[0, -1.25, 0], [1.5, 0, 0], [0, 0, -10]]))
    assert affine @ [1.5, 2, 1, 1] == pytest.approx([0, 0, 0, 1])


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.ones((4, 4))])
def test_a_scan_that_does_not_say_where_it_points_is_shown_like_a_picture(affine):
    found = display_affine(volume(np.zeros((4, 5, 3)), affine=affine))
    assert np.diagonal(found[:3, :3]) == pytest.approx([1.5, -1.25, 10])
    picture = display_affine(volume(np.zeros((4, 5, 1)), spacing=None))
    assert np.diagonal(picture[:3, :3]) == pytest.approx([1, -1, 1])


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((9, 9, 9), (1.5, 1.25, 10.0), 2),
        ((9, 9, 9), (8.0, 1.0, 1.0), 0),
        ((9, 9, 9), (1.0, 1.0, 1.0), 2),
        ((9, 9, 9), (1.0, 1.001, 1.0), 2),
        ((9, 1, 9), (1.0, 1.0, 5.0), 1),
        ((9, 9, 1), None, 2),
    ],
)
def test_the_axis_of_the_slices_is_the_coarsest(shape, spacing, axis):
    image = volume(np.zeros(shape, np.uint8), spacing)
    assert slice_axis(image) == axis
    assert read(encode_labels(image.array, image)).header.get_dim_info()[2] == axis


def test_a_scan_that_the_format_cannot_hold_is_named():
    with pytest.raises(InputError, match=r"scan\.nii: expected at most 32767 voxels .* 40000 x"):
        encode_scan(volume(np.zeros((40000, 1, 1), np.uint8)))
