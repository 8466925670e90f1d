"""What probabilities say of labels: how uncertain they are, and how much there is of each class."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import entr

from diffrect.atomic import remove_unfinished, write_atomic
from diffrect.imaging.volume import Volume
from diffrect.text_files import csv_text


class ClassStatistics(NamedTuple):
    """A row of the table of all scans.

    Attributes:
        scan: name of the scan's files.
        class_name: the class.
        voxels: number of voxels that have its label.
        volume_ml: their volume in millilitres; None if the scan's spacing is unknown.
        confidence: mean probability of the class over them, 0 to 1; None if there are none.
        entropy: mean entropy over them, see `entropy`; None if it is not wanted, or there are none.
    """

    scan: str
    class_name: str
    voxels: int
    volume_ml: float | None
    confidence: float | None
    entropy: float | None


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy of probabilities (..., classes), float32 from 0 (certain) to 1.

    It is -sum p ln p / ln(classes), the entropy of the predicted distribution (Shannon, 1948) in
    units of its maximum, at which all classes are equally probable.
    """
    found = entr(probabilities).sum(axis=-1) / np.log(probabilities.shape[-1])
    clipped: np.ndarray = np.clip(found, 0, 1).astype(np.float32)
    return clipped


def measure(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    image: Volume,
    scan: str,
    entropies: np.ndarray | None = None,
) -> list[ClassStatistics]:
    """Return a row for each class, and fill in the entropy map, a plane of the volume at a time.

    Args:
        labels: (X, Y, Z) uint8.
        probabilities: (X, Y, Z, classes) float32; may lie on disk.
        classes: names of the classes.
        image: the scan, whose spacing counts.
        scan: its name in the rows.
        entropies: float32 (X, Y, Z) to fill; None computes none.
    """
    sums = np.zeros((3, len(classes)))  # voxels, probability, entropy
    for position in range(labels.shape[2]):
        codes = labels[:, :, position]
        shares = np.asarray(probabilities[:, :, position])
        own = np.take_along_axis(shares, codes[..., np.newaxis].astype(np.intp), axis=-1)[..., 0]
        values: list[np.ndarray | None] = [None, own]
        if entropies is not None:
            entropies[:, :, position] = uncertain = entropy(shares)
            values.append(uncertain)
        for total, value in zip(sums, values, strict=False):
            weights = None if value is None else value.ravel()
            total += np.bincount(codes.ravel(), weights, minlength=len(classes))
    size = voxel_ml(image)
    return [
        ClassStatistics(
            scan,
            name,
            int(voxels),
            None if size is None else float(voxels * size),
            float(probability / voxels) if voxels else None,
            float(uncertainty / voxels) if voxels and entropies is not None else None,
        )
        for name, voxels, probability, uncertainty in zip(classes, *sums, strict=True)
    ]


def voxel_ml(image: Volume) -> float | None:
    """Return the volume of a voxel in millilitres, None if the spacing is unknown.

    The spacing is measured along the axes of the file; where these are not at right angles, as with
    a tilted gantry, a voxel is smaller than the product.
    """
    if image.spacing is None:
        return None
    axes = image.affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    lean = abs(np.linalg.det(axes / lengths)) if lengths.all() else 1.0
    return float(np.prod(image.spacing) * (lean or 1.0) / 1000)


def write_statistics(path: Path, rows: Iterable[ClassStatistics]) -> None:
    """Write the rows as CSV, with empty cells for what is None.

    Raises:
        OSError: naming the file, which is left as it was.
    """
    remove_unfinished(path.parent, path.name)
    heading = ("scan", "class", *ClassStatistics._fields[2:])
    write_atomic(path, csv_text(heading, [[csv_cell(value) for value in row] for row in rows]))


def csv_cell(value: object) -> object:
    """Return a value as a table has it: empty for None, and six digits of a number."""
    if value is None:
        return ""
    return float(f"{value:.6g}") if isinstance(value, float) else value
