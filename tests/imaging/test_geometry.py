"""Volumes of one grid that are stored in another order or direction of their axes."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.volume import Volume

ARRAY = np.random.default_rng(3).integers(0, 9, (6, 5, 4))
ORIENTATIONS = [
    np.array([(axis, sign) for axis, sign in zip(order, signs, strict=True)])
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def volume(image: nib.Nifti1Image, name: str = "label.nii.gz") -> Volume:
    x, y, z = nib.affines.voxel_sizes(image.affine)
    return Volume(np.asarray(image.dataobj), (x, y, z), image.affine, Path(name))


def placed(array: np.ndarray, kind: str = "oblique") -> nib.Nifti1Image:
    """An image whose voxels are unequal and whose axes are oblique, or sheared."""
    shear = np.array([[1, 0.02, 0.3], [0, 1, 0.1], [0, 0, 1]]) if kind == "sheared" else np.eye(3)
    turn = nib.eulerangles.euler2mat(0.2, 0.1, -0.3)
    affine = nib.affines.from_matvec(turn @ shear @ np.diag([1.2, 0.7, 5]), (30, -40, 7))
    return nib.Nifti1Image(array.astype(np.int16), affine)


@pytest.mark.parametrize("kind", ["oblique", "sheared"])
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_every_orientation_of_a_grid_is_turned_back(orientation: np.ndarray, kind: str) -> None:
    image = placed(ARRAY, kind)
    turned = turn_onto(volume(image), volume(image.as_reoriented(orientation)))
    np.testing.assert_array_equal(turned.array, ARRAY)
    np.testing.assert_allclose(turned.affine, image.affine, atol=1e-9)
    assert turned.spacing == pytest.approx(volume(image).spacing)
    check_geometry(volume(image), turned, "its image")


def test_a_single_slice_is_turned() -> None:
    image = placed(ARRAY[:, :, :1])
    stored = volume(image.as_reoriented(np.array([(0, -1), (1, -1), (2, -1)])))
    np.testing.assert_array_equal(turn_onto(volume(image), stored).array, ARRAY[:, :, :1])


def test_what_lies_elsewhere_is_not_turned() -> None:
    image = placed(ARRAY)
    flipped = image.as_reoriented(np.array([(0, -1), (1, -1), (2, 1)]))
    flipped.affine[:3, 3] += 1
    other = volume(flipped)
    assert turn_onto(volume(image), other) is other
    same = volume(image)
    assert turn_onto(same, same) is same
    unknown = Volume(ARRAY, None, np.diag([-1.0, -1, 1, 1]))
    assert turn_onto(same, unknown) is unknown
    nowhere = Volume(ARRAY, (1, 1, 1), np.zeros((4, 4)))
    assert turn_onto(same, nowhere) is nowhere


@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, 1, -1), (-1, 1, 1)])
def test_trusting_the_image_is_not_proposed_where_it_would_flip(signs: tuple[int, ...]) -> None:
    image = Volume(ARRAY, (1, 1, 2), np.diag([1.0, 1, 2, 1]), Path("image.nii.gz"))
    affine = np.diag([*signs, 1.0]) @ image.affine
    there = "".join(nib.aff2axcodes(affine))
    with pytest.raises(InputError) as caught:
        check_geometry(image, Volume(ARRAY, (1, 1, 2), affine, Path("label.nii.gz")), "its image")
    assert "--trust-image-geometry" not in str(caught.value)
    assert f"its axes point to {there} and the image's to RAS; save it on" in str(caught.value)
    with pytest.raises(InputError) as caught:
        check_geometry(image, Volume(ARRAY, (1, 1, 3), affine, Path("label.nii.gz")), "its image")
    assert "--trust-image-geometry" not in str(caught.value)
