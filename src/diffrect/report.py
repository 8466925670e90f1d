"""What people see on screen: progress bars and tables of scores, each naming its split."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from diffrect.metrics import METRICS

Item = TypeVar("Item")

_HEADINGS = {
    "dice": "Dice %",
    "jaccard": "Jaccard %",
    "hd95_mm": "95HD mm",
    "hd95_voxel": "95HD voxels",
    "asd_mm": "ASD mm",
    "asd_voxel": "ASD voxels",
}


def progress_bar(items: Sequence[Item], description: str, shown: bool) -> Iterator[Item]:
    """Iterate with a bar on stderr, so that stdout holds results alone."""
    console = Console(stderr=True)
    yield from track(items, description=description, console=console, disable=not shown)


def scores_table(result: dict[str, Any]) -> Table:
    """The table of an evaluation: a row per class and their mean, overlaps in per cent.

    `result` is what `evaluate` returns. The title names the split and the checkpoint, the caption
    how many values are undefined and therefore in no mean.
    """
    table = Table(title=_title(result), caption=_caption(result), caption_justify="left")
    table.add_column("class")
    for metric in METRICS:
        table.add_column(_HEADINGS[metric], justify="right")
    for name, scores in result["classes"].items():
        table.add_row(name, *_cells(scores))
    table.add_section()
    table.add_row("mean", *_cells(result["mean"]), style="bold")
    return table


def print_scores(result: dict[str, Any], console: Console | None = None) -> None:
    """Print the table of an evaluation to stdout."""
    (console or Console()).print(scores_table(result))


def _title(result: dict[str, Any]) -> str:
    cases, empty = len(result["cases"]), result["empty"]
    parts = [
        f"{result['split']} split, {cases} case{'s' if cases != 1 else ''}",
        f"checkpoint {result['checkpoint']} (step {result['step']})",
    ]
    if empty != "undefined":
        parts.append(f"empty masks: {empty} convention")
    return "; ".join(parts)


def _caption(result: dict[str, Any]) -> str | None:
    """One line per class and reason: which values were left out of the means."""
    total = len(result["cases"])
    lines = []
    for name, counts in result["undefined"].items():
        missing = [f"{_HEADINGS[metric]} {count}" for metric, count in counts.items() if count]
        if missing:
            lines.append(f"{name}: undefined in {', '.join(missing)} of {total} cases")
    return "\n".join(lines) or None


def _cells(scores: dict[str, float | None]) -> list[str]:
    return [_cell(metric, scores[metric]) for metric in METRICS]


def _cell(metric: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.2f}" if metric in ("dice", "jaccard") else f"{value:.2f}"
