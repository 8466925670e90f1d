"""Charts of volumes against the truth for each class, after Bland and Altman."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from diffrect.data.store import Store
from diffrect.evaluation.result import Evaluation
from diffrect.reporting.charts import Points, colour_class, scatter
from diffrect.reporting.volumes import agreement


class VolumePanel(NamedTuple):
    """The volumes of a class: a line of numbers, and two charts."""

    name: str
    words: str
    against_truth: Markup
    bland_altman: Markup


def volume_panels(result: Evaluation, store: Store) -> list[VolumePanel]:
    """Return a panel per class; volumes are in ml, or in voxels if a case has no spacing."""
    sizes = [_millilitres(store, case.id) for case in result.cases]
    unit = "voxels" if any(math.isnan(size) for size in sizes) else "ml"
    if unit == "voxels":
        sizes = [1.0] * len(sizes)
    panels = []
    for code, name in enumerate(result.classes, start=1):
        pairs = [case.voxels[name] for case in result.cases]
        predicted = [size * pair["predicted"] for size, pair in zip(sizes, pairs, strict=True)]
        true = [size * pair["truth"] for size, pair in zip(sizes, pairs, strict=True)]
        panels.append(_panel(name, code, unit, [c.id for c in result.cases], predicted, true))
    return panels


def _panel(
    name: str,
    code: int,
    unit: str,
    cases: Sequence[str],
    predicted: Sequence[float],
    true: Sequence[float],
) -> VolumePanel:
    found = agreement(predicted, true)
    words = f"bias {found.bias:+.3g} {unit}"
    levels = [found.bias]
    if not math.isnan(found.low):
        words += f", limits of agreement {found.low:+.3g} to {found.high:+.3g} {unit}"
        levels += [found.low, found.high]
    style = colour_class(code)
    means = [(p + t) / 2 for p, t in zip(predicted, true, strict=True)]
    differences = [p - t for p, t in zip(predicted, true, strict=True)]
    against = scatter(
        f"{name}: predicted volume against the truth",
        Points(true, predicted, cases, style),
        f"truth ({unit})",
        f"prediction ({unit})",
        diagonal=True,
    )
    bland_altman = scatter(
        f"{name}: difference of volumes against their mean",
        Points(means, differences, cases, style),
        f"mean of both ({unit})",
        f"prediction - truth ({unit})",
        levels=levels,
    )
    return VolumePanel(name, words, against, bland_altman)


def _millilitres(store: Store, case: str) -> float:
    """Return the volume of a voxel; NaN if it is not known."""
    spacing = store.cases[case].spacing
    return math.nan if spacing is None else math.prod(spacing) / 1000
