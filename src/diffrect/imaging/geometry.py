"""Check that two volumes lie in the same place."""

from itertools import product

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.volume import Volume


def check_geometry(image: Volume, other: Volume, whose: str) -> None:
    """Check that the voxels of another volume lie where those of an image lie.

    Only what both formats record is compared. A tenth of a voxel at any corner may be rounding.

    Args:
        image: the volume whose place counts.
        other: a volume of the image's shape.
        whose: what the image is to the other, for example "its image".

    Raises:
        InputError: spacing or place differ; the message names both files.
    """
    if image.spacing is None or other.spacing is None:
        return
    trust = "if the image's is right, give --trust-image-geometry"
    if not np.allclose(image.spacing, other.spacing, rtol=0.01, atol=0):
        there, here = (" x ".join(f"{s:g}" for s in v.spacing or ()) for v in (image, other))
        expected = f"the spacing of {whose} {image.path}, {there} mm"
        raise InputError(other.path, expected, got=f"{here} mm", hint=trust)
    if np.array_equal(image.affine, other.affine, equal_nan=True):
        return
    last = [size - 1 for size in image.array.shape[:3]]
    corners = np.array([(*corner, 1) for corner in product(*((0, end) for end in last))])
    apart = np.linalg.norm(corners @ (image.affine - other.affine).T, axis=1).max()
    voxel = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    if not apart <= 0.1 * voxel:
        expected = f"the geometry of {whose} {image.path}"
        reason = f"voxels lie up to {apart:.4g} mm apart"
        raise InputError(other.path, expected, reason=reason, hint=trust)
