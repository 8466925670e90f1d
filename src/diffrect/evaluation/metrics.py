"""Overlap and surface distances of masks: stateless, in voxels or mm, undefined is NaN.

Dice, Jaccard, 95 % Hausdorff distance and average surface distance follow the definitions that the
papers of this field use. A voxel is on the surface of a mask if one of its face neighbours is not
in the mask, or lies outside the volume; an axis of length 1 counts as none, so a single slice is
scored as an image. Voxels that the truth leaves open (`IGNORED`) belong to no
mask and make no surface. Nothing here knows about torch, stores or runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from diffrect.evaluation.surfaces import (
    Distances,
    Mask,
    Spacing,
    bounding_box,
    drop_flat_axes,
    find_surfaces,
    surface_distances,
)
from diffrect.imaging.label_codes import IGNORED

Labels = npt.NDArray[np.integer]
"""Class codes; 0 is the background, `IGNORED` is not annotated."""
Scores = dict[str, float]
"""The value of each metric by its name; NaN where it is undefined."""
EmptyConvention = Literal["undefined", "reference"]
"""What a class counts that is missing from a case, see `case_metrics`."""


@dataclass(frozen=True)
class Metric:
    """How a metric is named, shown and compared.

    Attributes:
        name: its key in results and files, such as `hd95_mm`.
        title: its name in tables and plots, such as `95HD`.
        unit: unit of its values as they are stored: `1`, `mm` or `voxel`.
        percent: whether its values, from 0 to 1, are shown in per cent.
        higher_is_better: whether the larger of two values is the better one.
    """

    name: str
    title: str
    unit: str
    percent: bool = False
    higher_is_better: bool = False

    @property
    def scale(self) -> float:
        """Factor from a stored value to the one that is shown."""
        return 100.0 if self.percent else 1.0

    @property
    def shown_unit(self) -> str:
        """Unit of the values that are shown: `%`, `mm` or `voxels`."""
        return "%" if self.percent else {"voxel": "voxels"}.get(self.unit, self.unit)

    @property
    def heading(self) -> str:
        """Title and unit of a column, such as `95HD mm`."""
        return f"{self.title} {self.shown_unit}"

    @property
    def label(self) -> str:
        """Title and unit of a plot's axis, such as `Dice (%)`."""
        return f"{self.title} ({self.shown_unit})"

    def text(self, value: float, decimals: int = 2) -> str:
        """Return a stored value as it is shown, without its unit; a dash if it is undefined."""
        return "–" if math.isnan(value) else f"{self.scale * value:.{decimals}f}"


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", "1", percent=True, higher_is_better=True),
        Metric("jaccard", "Jaccard", "1", percent=True, higher_is_better=True),
        Metric("hd95_mm", "95HD", "mm"),
        Metric("hd95_voxel", "95HD", "voxel"),
        Metric("asd_mm", "ASD", "mm"),
        Metric("asd_voxel", "ASD", "voxel"),
    )
}
"""By name, in the order of tables and files; `case_metrics` computes each of them."""

EMPTY_CONVENTIONS: tuple[str, ...] = get_args(EmptyConvention)
# The values that the reference reports when a class is missing from a prediction.
REFERENCE_EMPTY = {"Dice": 0.0, "Jaccard": 0.0, "95HD": 50.0, "ASD": 10.0}


def dice(prediction: Mask, truth: Mask) -> float:
    """Return 2 |P and T| / (|P| + |T|), in [0, 1]; NaN if both masks are empty."""
    both = int(np.count_nonzero(prediction & truth))
    return _dice(both, int(np.count_nonzero(prediction)), int(np.count_nonzero(truth)))


def jaccard(prediction: Mask, truth: Mask) -> float:
    """Return |P and T| / |P or T|, in [0, 1]; NaN if both masks are empty."""
    both = int(np.count_nonzero(prediction & truth))
    return _jaccard(both, int(np.count_nonzero(prediction)), int(np.count_nonzero(truth)))


def hausdorff95(prediction: Mask, truth: Mask, spacing: Spacing | None = None) -> float:
    """Return the 95th percentile of the surface distances of both directions taken together.

    Args:
        prediction: the one mask P.
        truth: the other mask T, of the same shape.
        spacing: voxel size along each axis, whose unit the result has; None counts in voxels.

    Returns:
        The distance; NaN if a mask is empty.
    """
    there, back = surface_distances(prediction, truth, spacing)
    return _hausdorff95(there, back)


def average_surface_distance(
    prediction: Mask, truth: Mask, spacing: Spacing | None = None
) -> float:
    """Return the mean distance from the surface of `prediction` to that of `truth`, not back.

    Args:
        prediction: the mask P from whose surface the distances are taken.
        truth: the mask T, of the same shape.
        spacing: voxel size along each axis, whose unit the result has; None counts in voxels.

    Returns:
        The distance; NaN if a mask is empty.
    """
    there, _ = surface_distances(prediction, truth, spacing)
    return _mean(there)


def case_dice(prediction: Labels, truth: Labels, classes: Sequence[str]) -> Scores:
    """Return the Dice of every foreground class of one case, the cheap part of `case_metrics`.

    Args:
        prediction: class codes.
        truth: class codes of the same shape; voxels that are `IGNORED` in it do not count.
        classes: names of the codes, background first.

    Returns:
        Dice in [0, 1] by class; NaN for a class that is in neither.
    """
    _check_shapes(prediction, truth)
    prediction, truth = _foreground(prediction, truth)
    sizes = _sizes(prediction, truth, len(classes))
    return {name: _dice(*sizes[index]) for index, name in enumerate(classes) if index > 0}


def case_metrics(
    prediction: Labels,
    truth: Labels,
    classes: Sequence[str],
    spacing: Spacing | None,
    empty: EmptyConvention = "undefined",
) -> dict[str, Scores]:
    """Return all of METRICS for every foreground class of one case.

    Where the truth is `IGNORED`, nothing counts: neither overlap nor a surface that is there only
    because the annotation ends.

    Args:
        prediction: class codes (Z, H, W), or of any other number of dimensions. Axes of length 1
            count as none.
        truth: class codes of the same shape.
        classes: names of the codes, background first.
        spacing: mm along the same axes; None if unknown, which makes the values in mm NaN.
        empty: with `undefined`, a class missing from both has NaN everywhere, and one missing from
            either has Dice and Jaccard 0 and NaN distances; with `reference`, both have 0, 0, 50
            and 10, as in the reference's code.

    Returns:
        The scores of each class by its name.

    Raises:
        ValueError: shapes that differ, a spacing of another number of axes, or a code that has no
            name.
    """
    _check_shapes(prediction, truth)
    prediction, truth, spacing = drop_flat_axes(prediction, truth, spacing)
    prediction, truth = _foreground(prediction, truth)
    sizes = _sizes(prediction, truth, len(classes))
    ignored = truth == IGNORED
    if ignored.any():
        prediction = np.where(ignored, IGNORED, prediction)
    scores = {}
    for index, name in enumerate(classes):
        if index == 0:
            continue
        overlap = {"dice": _dice(*sizes[index]), "jaccard": _jaccard(*sizes[index])}
        if 0 not in sizes[index][1:]:
            scores[name] = overlap | _distances(
                prediction == index, truth == index, ignored, spacing
            )
        else:
            scores[name] = _empty_scores(overlap, spacing, empty)
    return scores


def count_voxels(
    prediction: Labels, truth: Labels, classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return how many voxels each foreground class has, `predicted` and in the `truth`.

    Args:
        prediction: class codes.
        truth: class codes of the same shape; voxels that are `IGNORED` in it do not count.
        classes: names of the codes, background first.
    """
    _check_shapes(prediction, truth)
    sizes = _sizes(*_foreground(prediction, truth), len(classes))
    return {
        name: {"predicted": sizes[code][1], "truth": sizes[code][2]}
        for code, name in enumerate(classes)
        if code
    }


def _distances(prediction: Mask, truth: Mask, ignored: Mask, spacing: Spacing | None) -> Scores:
    """Return the four distances of two masks, neither of them empty."""
    # The box has a margin, because a mask may end where the voxel beyond it is ignored.
    box = bounding_box(prediction | truth, margin=1 if ignored.any() else 0)
    surfaces = find_surfaces(prediction[box], truth[box], ignored[box])
    found = surfaces.distances([None] if spacing is None else [None, spacing])
    voxels, millimetres = found[0], (np.empty(0), np.empty(0)) if spacing is None else found[1]
    return {
        "hd95_mm": _hausdorff95(*millimetres),
        "hd95_voxel": _hausdorff95(*voxels),
        "asd_mm": _mean(millimetres[0]),
        "asd_voxel": _mean(voxels[0]),
    }


def _empty_scores(overlap: Scores, spacing: Spacing | None, empty: EmptyConvention) -> Scores:
    """Return the scores of a class that is missing from the prediction, the truth or both."""
    if empty == "undefined":
        return overlap | {metric: math.nan for metric in METRICS if metric not in overlap}
    # Without millimetres anywhere, a mean of mere conventions would mislead.
    return {
        name: math.nan if metric.unit == "mm" and spacing is None else REFERENCE_EMPTY[metric.title]
        for name, metric in METRICS.items()
    }


def _check_shapes(prediction: Labels, truth: Labels) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(f"labels of one shape expected, got {prediction.shape} and {truth.shape}")


def _foreground(prediction: Labels, truth: Labels) -> tuple[Labels, Labels]:
    """Cut both to the smallest box outside which both are background, at which no score looks."""
    either = (prediction != 0) | (truth != 0)
    box = bounding_box(either) if either.any() else (slice(0, 0),) * either.ndim
    return prediction[box], truth[box]


def _sizes(prediction: Labels, truth: Labels, classes: int) -> list[tuple[int, int, int]]:
    """Count the voxels of each class in both, in the prediction and in the truth, in one pass.

    The background's counts are those of the box, not of the volume.
    """
    counted = truth != IGNORED
    if not counted.all():
        prediction, truth = prediction[counted], truth[counted]
    if prediction.size and max(prediction.max(), truth.max()) >= classes:
        raise ValueError(f"class numbers below {classes} expected")
    pairs = truth.astype(np.intp).ravel() * classes + prediction.ravel()
    table = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    columns = (table.diagonal(), table.sum(axis=0), table.sum(axis=1))
    return [(int(both), int(p), int(t)) for both, p, t in zip(*columns, strict=True)]


def _dice(both: int, prediction: int, truth: int) -> float:
    return 2.0 * both / (prediction + truth) if prediction + truth else math.nan


def _jaccard(both: int, prediction: int, truth: int) -> float:
    union = prediction + truth - both
    return both / union if union else math.nan


def _hausdorff95(there: Distances, back: Distances) -> float:
    if not there.size:
        return math.nan
    return float(np.percentile(np.concatenate((there, back)), 95))


def _mean(values: Distances) -> float:
    return float(values.mean()) if values.size else math.nan
