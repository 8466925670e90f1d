"""Overlap and surface distances of masks: stateless, in voxels or mm, undefined is NaN.

Dice, Jaccard, 95 % Hausdorff distance and average surface distance follow the definitions that the
papers of this field use (a voxel is on the surface if one of its face neighbours, or the outside of
the volume, is not in the mask). Voxels that the truth leaves open (`IGNORED`) belong to no mask and
make no surface. Nothing here knows about torch, stores or runs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from diffrect.evaluation.surfaces import (
    Distances,
    Mask,
    Spacing,
    bounding_box,
    find_surfaces,
    surface_distances,
)
from diffrect.labels import IGNORED

Labels = npt.NDArray[np.integer]
Scores = dict[str, float]
EmptyConvention = Literal["undefined", "reference"]


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
"""By name, in the order of tables and files."""

EMPTY_CONVENTIONS: tuple[str, ...] = get_args(EmptyConvention)
# What the reference reports when a class is missing in a prediction.
REFERENCE_EMPTY = {"dice": 0.0, "jaccard": 0.0, "hd95": 50.0, "asd": 10.0}


def dice(prediction: Mask, truth: Mask) -> float:
    """2 |P and T| / (|P| + |T|), in [0, 1]; NaN if both masks are empty."""
    both = int(np.count_nonzero(prediction & truth))
    return _dice(both, int(np.count_nonzero(prediction)), int(np.count_nonzero(truth)))


def jaccard(prediction: Mask, truth: Mask) -> float:
    """|P and T| / |P or T|, in [0, 1]; NaN if both masks are empty."""
    both = int(np.count_nonzero(prediction & truth))
    return _jaccard(both, int(np.count_nonzero(prediction)), int(np.count_nonzero(truth)))


def hausdorff95(prediction: Mask, truth: Mask, spacing: Spacing | None = None) -> float:
    """95th percentile of the surface distances of both directions taken together.

    `spacing` is the voxel size along each axis (the result has its unit); None counts in voxels.
    NaN if a mask is empty.
    """
    there, back = surface_distances(prediction, truth, spacing)
    return _hausdorff95(there, back)


def average_surface_distance(
    prediction: Mask, truth: Mask, spacing: Spacing | None = None
) -> float:
    """Mean distance from the surface of `prediction` to that of `truth` (one direction only).

    `spacing` is the voxel size along each axis (the result has its unit); None counts in voxels.
    NaN if a mask is empty.
    """
    there, _ = surface_distances(prediction, truth, spacing)
    return _mean(there)


def case_dice(prediction: Labels, truth: Labels, classes: Sequence[str]) -> Scores:
    """Dice of every foreground class of one case, the cheap part of `case_metrics`.

    `prediction` and `truth` hold class numbers and have one shape; `classes` names them, background
    first. A class that is in neither is NaN; voxels that the truth leaves open do not count.
    """
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
    """All of METRICS for every foreground class of one case.

    `prediction` and `truth` are label volumes (Z, H, W), or of any other dimension; `classes` names
    their numbers, background first; `spacing` is in mm along the same axes, None if unknown (the
    values in mm are then NaN). A class missing from both has NaN everywhere, one missing from
    either has Dice and Jaccard 0 and NaN distances; with `empty="reference"` both become 0, 0, 50
    and 10, as in the reference's code. Where the truth is `IGNORED`, nothing counts: neither
    overlap nor a surface that is there only because the annotation ends.
    """
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


def summarise(cases: Iterable[dict[str, Scores]]) -> tuple[dict[str, Scores], Scores, dict]:
    """Means over cases, and over classes, with undefined values left out and counted.

    Returns the mean over cases per class, the mean of those over the classes, and per class how
    many cases are undefined: `{class: {metric: count}}`. A mean of nothing is NaN.
    """
    cases = list(cases)
    names = list(cases[0]) if cases else []
    classes: dict[str, Scores] = {}
    undefined: dict[str, dict[str, int]] = {}
    for name in names:
        metrics = list(cases[0][name])
        columns = {metric: np.array([case[name][metric] for case in cases]) for metric in metrics}
        classes[name] = {metric: _mean(_defined(column)) for metric, column in columns.items()}
        undefined[name] = {
            metric: int(np.isnan(column).sum()) for metric, column in columns.items()
        }
    metrics = list(cases[0][names[0]]) if names else []
    mean = {
        metric: _mean(_defined(np.array([classes[name][metric] for name in names])))
        for metric in metrics
    }
    return classes, mean, undefined


def _distances(prediction: Mask, truth: Mask, ignored: Mask, spacing: Spacing | None) -> Scores:
    """The four distances of two masks, neither of them empty."""
    # With a margin: a mask may end in the box because the voxel beyond it is ignored.
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
    """Scores of a class that is missing from the prediction, the truth or both."""
    if empty == "undefined":
        return overlap | {metric: float("nan") for metric in METRICS if metric not in overlap}
    scores = {metric: REFERENCE_EMPTY[metric.split("_")[0]] for metric in METRICS}
    if spacing is None:  # no millimetres anywhere: a mean of nothing but conventions misleads
        scores |= {"hd95_mm": float("nan"), "asd_mm": float("nan")}
    return scores


def _foreground(prediction: Labels, truth: Labels) -> tuple[Labels, Labels]:
    """The smallest part of both outside which both are background, which no score looks at."""
    if prediction.shape != truth.shape:
        raise ValueError(f"labels of one shape expected, got {prediction.shape} and {truth.shape}")
    either = (prediction != 0) | (truth != 0)
    box = bounding_box(either) if either.any() else (slice(0, 0),) * either.ndim
    return prediction[box], truth[box]


def _sizes(prediction: Labels, truth: Labels, classes: int) -> list[tuple[int, int, int]]:
    """Voxels per class in both, in the prediction and in the truth, in one pass.

    Those of the background are the ones that were not cut off.
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
    return 2.0 * both / (prediction + truth) if prediction + truth else float("nan")


def _jaccard(both: int, prediction: int, truth: int) -> float:
    union = prediction + truth - both
    return both / union if union else float("nan")


def _hausdorff95(there: Distances, back: Distances) -> float:
    if not there.size:
        return float("nan")
    return float(np.percentile(np.concatenate((there, back)), 95))


def _defined(values: Distances) -> Distances:
    return values[~np.isnan(values)]


def _mean(values: Distances) -> float:
    return float(values.mean()) if values.size else float("nan")
