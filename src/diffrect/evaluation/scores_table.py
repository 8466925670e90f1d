"""The table of scores on the screen; it names its split and what was left out."""

import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diffrect.console import count
from diffrect.evaluation.metrics import METRICS

_HEADINGS = {
    "dice": ("Dice", "%"),
    "jaccard": ("Jaccard", "%"),
    "hd95_mm": ("95HD", "mm"),
    "hd95_voxel": ("95HD", "voxels"),
    "asd_mm": ("ASD", "mm"),
    "asd_voxel": ("ASD", "voxels"),
}


def scores_table(result: dict[str, Any]) -> Table:
    """The table of an evaluation: a row per class and their mean, overlaps in per cent.

    `result` is what `evaluate` returns. The title names the split and the checkpoint, the caption
    how many values are undefined and therefore in no mean.
    """
    caption = _caption(result)  # names are anybody's, and no markup
    table = Table(
        title=escape(_title(result)), caption=caption and escape(caption), caption_justify="left"
    )
    table.add_column("class")
    for metric in METRICS:
        table.add_column("\n".join(_HEADINGS[metric]), justify="right")
    for name, scores in result["classes"].items():
        table.add_row(escape(name), *_cells(scores))
    table.add_section()
    table.add_row("mean", *_cells(result["mean"]), style="bold")
    return table


def print_scores(result: dict[str, Any], console: Console | None = None) -> None:
    """Print the table of an evaluation to stdout."""
    (console or Console()).print(scores_table(result))


def _title(result: dict[str, Any]) -> str:
    patients = len({case["patient"] for case in result["cases"]})
    parts = [
        f"{result['split']} split: {count(len(result['cases']), 'case')}, "
        f"{count(patients, 'patient')}",
        f"checkpoint {result['checkpoint']} (step {result['step']})",
    ]
    if result["empty"] != "undefined":
        parts.append(f"empty masks as in the {result['empty']}")
    return "; ".join(parts)


def _caption(result: dict[str, Any]) -> str | None:
    """What was left out of the means: patients, and undefined values per class."""
    total = count(len(result["cases"]), "case")
    lines = []
    if result["missing_patients"]:
        lines.append(f"without a labelled case: {', '.join(result['missing_patients'])}")
    partial = [case["ignored_voxels"] for case in result["cases"] if case.get("ignored_voxels")]
    if partial:
        voxels = count(sum(partial), "voxel")
        lines.append(f"annotated in part: {len(partial)} of {total}, {voxels} left out")
    for name, counts in result["undefined"].items():
        for number in sorted({n for n in counts.values() if n}):
            metrics = [" ".join(_HEADINGS[metric]) for metric in counts if counts[metric] == number]
            lines.append(f"{name}: undefined in {number} of {total}: {', '.join(metrics)}")
    return "\n".join(lines) or None


def _cells(scores: dict[str, float | None]) -> list[str]:
    return [_cell(metric, scores[metric]) for metric in METRICS]


def _cell(metric: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.2f}" if metric in ("dice", "jaccard") else f"{value:.2f}"
