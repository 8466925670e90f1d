"""The table of scores on the screen; it names its split and what was left out."""

from rich.console import Console
from rich.table import Table

from diffrect.console import count, plain, stdout_console
from diffrect.evaluation.metrics import METRICS, Scores
from diffrect.evaluation.result import Evaluation
from diffrect.runs.names import SPLITS


def scores_table(result: Evaluation) -> Table:
    """Return the table of an evaluation: a row per class and one of their means.

    Overlaps are in per cent. The title names the split and the checkpoint; the caption says how
    many values are undefined and therefore in no mean.
    """
    title, caption = plain(_title(result)), "\n".join(map(plain, _left_out(result))) or None
    table = Table(title=title, caption=caption, caption_justify="left")
    table.add_column("class")
    for metric in METRICS.values():
        table.add_column(f"{metric.title}\n{metric.shown_unit}", justify="right")
    for name, scores in result.classes.items():
        table.add_row(plain(name), *_cells(scores))
    table.add_section()
    table.add_row("mean", *_cells(result.mean), style="bold")
    return table


def print_scores(result: Evaluation, console: Console | None = None) -> None:
    """Print the table of an evaluation to stdout."""
    (console or stdout_console()).print(scores_table(result))


def _title(result: Evaluation) -> str:
    cases, patients = count(len(result.cases), "case"), count(len(result.patients), "patient")
    named = f"{result.split} split" if result.split in SPLITS else result.split.replace("_", "-")
    parts = [
        f"{named}: {cases}, {patients}",
        f"checkpoint {result.checkpoint} (step {result.step})",
    ]
    if result.empty != "undefined":
        parts.append(f"empty masks as in the {result.empty}")
    return "; ".join(parts)


def _left_out(result: Evaluation) -> list[str]:
    """Return what is in no mean, a line each: patients, voxels, undefined values per class."""
    total = count(len(result.cases), "case")
    lines = []
    if result.blocks:
        lines.append(
            "of slices left out of the scans that train, which chose the checkpoint: higher than "
            "the scores of new patients"
        )
    if result.missing_patients:
        lines.append(f"without a labelled case: {', '.join(result.missing_patients)}")
    partial = [case.ignored_voxels for case in result.cases if case.ignored_voxels]
    if partial:
        voxels = count(sum(partial), "voxel")
        lines.append(f"annotated in part: {len(partial)} of {total}, {voxels} left out")
    for name, counts in result.undefined.items():
        for number in sorted({n for n in counts.values() if n}):
            metrics = [METRICS[metric].heading for metric in counts if counts[metric] == number]
            lines.append(f"{name}: undefined in {number} of {total}: {', '.join(metrics)}")
    return lines


def _cells(scores: Scores) -> list[str]:
    return [metric.text(scores[metric.name]) for metric in METRICS.values()]
