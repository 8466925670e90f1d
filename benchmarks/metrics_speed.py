"""The six metrics of a case equal medpy's and are many times as fast.

    python benchmarks/metrics_speed.py

Prints the largest difference, the time of both per case, and their ratio. Needs medpy.

The case is one synthetic volume of 10 x 256 x 216 voxels with three classes, the size of a
short-axis cine series. Medpy's four functions, the two distances in voxels and in mm, take turns
with `diffrect.evaluation.metrics.case_metrics`; the times are medians of five after a first round
that is not counted.
"""

import numpy as np
from medpy.metric import binary
from scipy import ndimage

from diffrect.evaluation.metrics import Labels, Scores, case_metrics
from side_by_side import take_turns

CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")
SPACING = (10.0, 1.4, 1.4)
ROUNDS = 5


def heart(random: np.random.Generator, shift: int) -> Labels:
    """Return two rings and a neighbour with rough outlines, (10, 256, 216) uint8."""
    _, y, x = np.mgrid[:10, :256, :216]
    rough = ndimage.gaussian_filter(random.normal(size=y.shape), (1, 4, 4)) * 20
    radius = np.hypot(y - 128 - shift, x - 110 + shift) + rough
    labels = np.where(np.hypot((y - 128) / 1.5, x - 70) + rough < 25, 1, 0)
    labels[radius < 35] = 2
    labels[radius < 22] = 3
    return labels.astype(np.uint8)


def with_medpy(prediction: Labels, truth: Labels) -> dict[str, Scores]:
    """Return the metrics of each class by medpy."""
    scores = {}
    for index, name in enumerate(CLASSES[1:], start=1):
        masks = prediction == index, truth == index
        scores[name] = {
            "dice": float(binary.dc(*masks)),
            "jaccard": float(binary.jc(*masks)),
            "hd95_mm": float(binary.hd95(*masks, SPACING)),
            "hd95_voxel": float(binary.hd95(*masks)),
            "asd_mm": float(binary.asd(*masks, SPACING)),
            "asd_voxel": float(binary.asd(*masks)),
        }
    return scores


def with_diffrect(prediction: Labels, truth: Labels) -> dict[str, Scores]:
    """Return the metrics of each class by this package."""
    return case_metrics(prediction, truth, CLASSES, SPACING)


def main() -> None:
    """Compare the numbers, take turns and print the ratio."""
    random = np.random.default_rng(0)
    prediction, truth = heart(random, 0), heart(random, 4)
    theirs, ours = with_medpy(prediction, truth), with_diffrect(prediction, truth)
    largest = max(
        abs(theirs[name][metric] - ours[name][metric]) for name in ours for metric in ours[name]
    )
    runs = {
        "medpy": lambda: with_medpy(prediction, truth),
        "diffrect": lambda: with_diffrect(prediction, truth),
    }
    medpy_time, diffrect_time = take_turns(runs, ROUNDS).values()
    print(f"largest difference  {largest:.1e}")
    print(f"medpy               {medpy_time * 1e3:7.1f} ms a case")
    print(f"diffrect            {diffrect_time * 1e3:7.1f} ms a case")
    print(f"ratio               {medpy_time / diffrect_time:7.1f}")


if __name__ == "__main__":
    main()
