"""The axis that is cut is chosen by policy; slices do not depend on the file's orientation."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.imaging.slicing import POLICIES, Slicing, choose_slicing
from diffrect.imaging.volume import Volume
from support.scans import grid

SHAPE = (4, 5, 6)


def volume(
    spacing: tuple[float, float, float] | None = (1.0, 1.0, 1.0),
    shape: tuple[int, ...] = SHAPE,
    affine: np.ndarray | None = None,
) -> Volume:
    array = np.arange(np.prod(shape)).reshape(shape)
    affine = grid(np.eye(3), spacing or (1, 1, 1)) if affine is None else affine
    return Volume(array, spacing, affine, Path("scan.nii.gz"))


def every_orientation(original: Volume) -> list[Volume]:
    """Return the same scan stored in each of the 48 ways."""
    image = nib.Nifti1Image(original.array.astype(np.int32), original.affine)
    turned = []
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        other = image.as_reoriented(np.array(list(zip(axes, flips, strict=True))))
        spacing = tuple(float(size) for size in nib.affines.voxel_sizes(other.affine))
        array = np.asarray(other.dataobj)
        turned.append(Volume(array, spacing, other.affine, Path("scan.nii.gz")))
    return turned


@pytest.mark.parametrize("policy", ["auto", "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 5, 1), (4, 1, 1), (1, 1, 3), (1, 2, 2)])
def test_every_orientation_is_cut_alike(policy: str, spacing: tuple[float, ...]) -> None:
    original = volume(spacing)
    expected = choose_slicing(original, policy).view(original.array)
    for other in every_orientation(original):
        slicing = choose_slicing(other, policy)
        np.testing.assert_array_equal(slicing.view(other.array), expected)
        assert slicing.spacing(other) == pytest.approx(
            choose_slicing(original, policy).spacing(original)
        )
        assert slicing.orientation(other) in ("SAR", "ASR", "RSA")


@pytest.mark.parametrize(
    ("spacing", "orientation"),
    [
        ((1, 1, 1), "SAR"),
        ((1, 1, 5), "SAR"),
        ((1, 5, 1), "ASR"),
        ((5, 1, 1), "RSA"),
        ((5, 5, 1), "ASR"),  # of equally coarse axes the more axial one
        ((1.004, 1, 1), "SAR"),  # rounding
        (None, None),
    ],
)
def test_auto(spacing, orientation) -> None:
    scan = volume(spacing)
    slicing = choose_slicing(scan, "auto")
    assert slicing.orientation(scan) == orientation
    if orientation in ("SAR", None):
        np.testing.assert_array_equal(slicing.view(scan.array), scan.array.T)


def test_a_single_slice_is_a_slice() -> None:
    for axis in range(3):
        shape = tuple(1 if other == axis else 5 for other in range(3))
        assert choose_slicing(volume((9, 9, 9), shape), "auto").axes[0] == axis


def test_the_file_s_own_axes_are_never_turned() -> None:
    scan = volume(affine=np.diag([-1.0, -1.0, -1.0, 1.0]))
    for policy, axes in {"0": (0, 2, 1), "1": (1, 2, 0), "2": (2, 1, 0)}.items():
        assert choose_slicing(scan, policy) == Slicing(axes)
        np.testing.assert_array_equal(Slicing(axes).view(scan.array), scan.array.transpose(axes))
    assert Slicing().orientation(scan) == "IPL"


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_written_to_slices_is_in_the_file_s_place(policy: str) -> None:
    scan = volume((1, 5, 1), affine=grid(np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]])))
    slicing = choose_slicing(scan, policy)
    copy = np.zeros_like(scan.array)
    slicing.view(copy)[...] = slicing.view(scan.array)
    np.testing.assert_array_equal(copy, scan.array)


def test_refused() -> None:
    with pytest.raises(InputError, match="--axis: expected one of auto, 0, 1, 2, axial"):
        choose_slicing(volume(), "3")
    flat = volume(affine=np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match=r"scan.nii.gz: expected an affine .* \(or --axis 0, 1"):
        choose_slicing(flat, "auto")
    assert choose_slicing(flat, "2").orientation(flat) is None
