"""The facts that stand below every table: split, checkpoint, units, training, code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diffrect.comparison.report.results import Result
from diffrect.comparison.report.sections import SPLIT_NAMES, Report


def notes(report: Report) -> list[str]:
    """The facts without which the numbers mean nothing, one line each."""
    first = report.results[0]
    told = first.protocol
    steps = sorted({result.step for result in report.results})
    reached = (
        f"iteration {steps[0]}" if len(steps) == 1 else f"iterations {steps[0]} to {steps[-1]}"
    )
    chosen = "best by mean validation Dice" if told["checkpoint"] == "best" else "last"
    same = ""
    if report.split == "val" and told["checkpoint"] == "best":
        same = " The same patients chose the checkpoint and are reported."
    seeds = ", ".join(map(str, sorted({result.seed for result in report.results})))
    lines = [
        f"Split: {SPLIT_NAMES[report.split]} ({report.split}), "
        f"{_some(len(first.cases), 'case')} of "
        f"{_some(first.patients, 'patient')}.{same}",
        f"Checkpoint: {chosen} ({reached}).",
        f"Values: mean ± standard deviation over seeds ({seeds}) of the mean over cases; the mean "
        "of the classes is the mean of their values. One seed has no spread.",
        f"Units: {_unit_words(report)}; the best value for a number of labelled patients is bold.",
        _empty_words(str(told["empty"])),
        f"Training: {_pixels(told)}, {told['iterations']} iterations, "
        f"batches of {told['batch_labelled']} labelled and {told['batch_unlabelled']} unlabelled "
        f"slices, validation every {told['validate_every']}, learning rate "
        f"{told['learning_rate']}, {told['precision']}, devices: {told['devices']}.",
        *_labelled_notes(report.results),
        *_test_notes(report),
        *_cost_notes(report),
        *_setting_notes(report.results),
        f"Code: diffrect {', '.join(sorted({result.version for result in report.results}))}.",
    ]
    machines = sorted({str(r.cost["machine"]) for r in report.results if "machine" in r.cost})
    if machines:
        lines.append(f"Machine: {'; '.join(machines)}.")
    if report.missing:
        lines.append(f"Planned and not there: {', '.join(report.missing)}.")
    return lines


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _unit_words(report: Report) -> str:
    """Return which metrics are shown in which unit: "Dice and Jaccard in per cent, ..."."""
    titles: dict[str, list[str]] = {}
    for metric in report.metrics:
        unit = "per cent" if metric.percent else metric.shown_unit
        titles.setdefault(unit, []).append(metric.title)
    return ", ".join(f"{' and '.join(names)} in {unit}" for unit, names in titles.items())


def _pixels(told: Mapping[str, Any]) -> str:
    if told["crop"] is None:
        return f"slices resized to {told['size']} x {told['size']} pixels"
    crop = told["crop"]
    return f"slices resampled to pixels of {told['spacing']} mm and cropped to {crop} x {crop}"


def _empty_words(empty: str) -> str:
    if empty == "undefined":
        return (
            "A class missing from prediction or truth has no distance; these values are in no "
            'mean and are counted under "no distance".'
        )
    return "A class missing from a case counts Dice 0, Jaccard 0, 95HD 50, ASD 10."


def _labelled_notes(results: Sequence[Result]) -> list[str]:
    """Who is labelled, for each number of patients."""
    lines = []
    for count in sorted({result.count for result in results}):
        lists = {result.labelled for result in results if result.count == count}
        names = next(iter(lists))
        shown = ", ".join(names[:10]) + (f" and {count - 10} more" if count > 10 else "")
        lines.append(f"Labelled, {count}: {shown if len(lists) == 1 else 'drawn by seed'}.")
    return lines


def _test_notes(report: Report) -> list[str]:
    if report.against is None:
        return []
    return [
        f"p: two-sided Wilcoxon signed-rank test against {report.against}, paired by case (means "
        "over classes and common seeds), Holm's correction over all tests of the metric."
    ]


def _cost_notes(report: Report) -> list[str]:
    """Which time is told: that of the wall clock runs on while a machine does other work."""
    if not any("minutes" in row.cost for row in report.rows):
        return []
    line = (
        "Cost: by the clock, other work on the machine and halts included; minutes are those of "
        "all sessions, validation included, ms per iteration without it."
    )
    if any("processor_minutes" in row.cost for row in report.rows):
        line += (
            " Processor minutes are what the threads of the training process computed, "
            "on which other work has little influence; a GPU's work is not in them."
        )
    return [line]


def _setting_notes(results: Sequence[Result]) -> list[str]:
    """Settings of methods and views that variants do not share; the most common value goes last."""
    by_name = {result.name: result.options for result in results}
    lines = []
    for option in sorted({name for options in by_name.values() for name in options}):
        values: Mapping[str, Any] = {
            name: options[option] for name, options in by_name.items() if option in options
        }
        usual, _ = Counter(map(str, values.values())).most_common(1)[0]
        others = [f"{value} in {name}" for name, value in values.items() if str(value) != usual]
        if others:
            lines.append(f"Setting {option}: {', '.join(others)}; else {usual}.")
    return lines
