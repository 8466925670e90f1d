"""The results of the demo, in words and tables that follow only from the numbers."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.table import Table

from diffrect.console import plain, stdout_console, visible
from diffrect.data.split import Split
from diffrect.evaluation.markup import markdown_text
from diffrect.evaluation.metrics import METRICS
from diffrect.evaluation.result import Evaluation
from diffrect.showcase.settings import METHODS, DemoSettings
from diffrect.showcase.slices import mean_dice
from diffrect.version import package_version

Results = Mapping[str, Evaluation]
"""The evaluation of each method, by its name."""

COLUMNS = [metric for metric in METRICS.values() if metric.unit != "voxel"]


def claim(results: Results) -> str:
    """Say which method is better by mean Dice on the test patients, and in how many of them."""
    base, ours = (results[name].mean["dice"] for name in ("supervised", "diffrect"))
    if math.isnan(base) or math.isnan(ours):
        return "The methods cannot be compared: the test patients show none of the structures."
    gain = 100 * (ours - base)
    verdict = "as good as" if f"{abs(gain):.1f}" == "0.0" else "better" if gain > 0 else "worse"
    verdict += "" if verdict == "as good as" else " than"
    before, after = (patient_dice(results[name]) for name in ("supervised", "diffrect"))
    wins = sum(after[patient] > before[patient] for patient in before)
    return (
        f"DiffRect is {verdict} supervised training here: mean Dice {100 * ours:.1f} % against "
        f"{100 * base:.1f} % ({gain:+.1f}), higher in {wins} of {len(before)} test patients."
    )


def patient_dice(result: Evaluation) -> dict[str, float]:
    """Return the mean Dice of each patient's cases, in [0, 1]."""
    patients: dict[str, list[float]] = {}
    for case in result.cases:
        patients.setdefault(case.patient, []).append(mean_dice(case.classes))
    return {patient: float(np.mean(values)) for patient, values in patients.items()}


def table_rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield structure, method and metrics as text: each structure by method, then the means."""
    first = next(iter(results.values()))
    for structure in (*first.classes, "mean"):
        for method, result in results.items():
            scores = result.mean if structure == "mean" else result.classes[structure]
            cells = (m.text(scores[m.name], decimals=1 if m.percent else 2) for m in COLUMNS)
            yield structure, METHODS[method], *cells


def undefined_notes(results: Results) -> list[str]:
    """Return one line per method and structure with distances that are undefined."""
    notes = []
    for method, result in results.items():
        for structure, counts in result.undefined.items():
            if counts["hd95_mm"]:
                notes.append(
                    f"{METHODS[method]}: {structure} missing from prediction or truth in "
                    f"{counts['hd95_mm']} of {len(result.cases)} scans; their distances are "
                    "undefined and left out."
                )
    return notes


def print_comparison(folder: Path, results: Results) -> None:
    """Print the table, and where everything is, on stdout."""
    table = Table(title=f"test patients, {len(results['diffrect'].cases)} scans")
    for name in ("structure", "method"):
        table.add_column(name)
    for metric in COLUMNS:
        table.add_column(metric.heading, justify="right")
    for index, row in enumerate(table_rows(results)):
        if index and index % len(results) == 0:
            table.add_section()
        table.add_row(*map(plain, row), style="bold" if row[0] == "mean" else None)
    console = stdout_console(soft_wrap=True)
    console.print(table)
    for note in (*undefined_notes(results), claim(results)):
        console.print(visible(note), markup=False)
    places = {
        "demo.png": "image, truth and both predictions; a pseudo-label before and after",
        "demo.md": "this table with its protocol",
        "predictions": "label files of a test patient",
        "diffrect": f"the model: diffrect predict {folder / 'diffrect'} OUT IMAGE...",
    }
    for name, what in places.items():
        console.print(visible(f"{folder / name}: {what}"), markup=False)


def write_report(
    path: Path,
    results: Results,
    split: Split,
    settings: DemoSettings,
    minutes: Mapping[str, float],
    caption: str,
) -> None:
    """Write claim, picture, table and protocol as Markdown.

    Args:
        path: file to write.
        results: the evaluation of each method.
        split: the patients.
        settings: what the demo did.
        minutes: how long each training took.
        caption: caption of the picture.
    """
    heading = ["structure", "method", *(metric.heading for metric in COLUMNS)]
    lines = ["# DiffRect on synthetic hearts", "", markdown_text(claim(results)), ""]
    lines += [
        "![image, truth, predictions, rectification](demo.png)",
        "",
        markdown_text(caption),
        "",
    ]
    lines += [_markdown_row(heading), _markdown_row(["---", "---", *["---:"] * len(COLUMNS)])]
    for row in table_rows(results):
        texts = map(markdown_text, row)
        cells = [f"**{text}**" for text in texts] if row[0] == "mean" else texts
        lines.append(_markdown_row(cells))
    lines += [
        "",
        *(f"- {markdown_text(note)}" for note in undefined_notes(results)),
        "",
        "## Protocol",
        "",
    ]
    lines += [f"- {markdown_text(line)}" for line in protocol(results, split, settings, minutes)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def protocol(
    results: Results, split: Split, settings: DemoSettings, minutes: Mapping[str, float]
) -> list[str]:
    """Return the facts without which the numbers mean nothing, one line each.

    Args:
        results: the evaluation of each method.
        split: the patients.
        settings: what the demo did.
        minutes: how long each training took.
    """
    steps = ", ".join(f"{METHODS[name]} iteration {r.step}" for name, r in results.items())
    spent = ", ".join(f"{METHODS[name]} {value:.1f}" for name, value in minutes.items())
    rows = settings.batch_labelled + settings.batch_unlabelled
    return [
        f"Version: diffrect {package_version()}, preset default, one training of each method.",
        f"Data: {settings.patients} synthetic patients (seed {settings.phantom_seed}), two scans "
        "each. Numbers on them say nothing about patients.",
        f"Labelled: {', '.join(split.labelled)}.",
        f"Unlabelled: {', '.join(split.unlabelled)} (DiffRect only, labels never read).",
        f"Validation, to choose the checkpoint: {', '.join(split.val)}.",
        f"Test, used once: {', '.join(split.test)}.",
        f"Training: {settings.iterations} iterations, size {settings.size} x {settings.size}, seed "
        f"{settings.seed}; batches of {settings.batch_labelled} labelled and "
        f"{settings.batch_unlabelled} unlabelled slices, for supervised of {rows} labelled ones; "
        f"rectification from iteration {settings.rectify_from}; validation every "
        f"{settings.validate_every}.",
        f"Checkpoints, best by mean validation Dice: {steps}.",
        f"Minutes of training: {spent}.",
        "Metrics per structure and scan on the scans' own grid, then means over scans; 95HD is the "
        "95 % Hausdorff distance, ASD the average surface distance.",
    ]


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
