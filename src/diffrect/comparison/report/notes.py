"""The facts below every table: split, checkpoint, units, training, code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diffrect.comparison.report.comparison import SPLIT_NAMES, Comparison
from diffrect.comparison.report.results import CellResult
from diffrect.console import count
from diffrect.networks.spec import UNET

_MOST_NAMES = 10


def notes(comparison: Comparison) -> list[str]:
    """Return the facts without which the numbers mean nothing, one line each."""
    protocol = comparison.protocol
    seeds = ", ".join(map(str, sorted({result.seed for result in comparison.results})))
    lines = [
        _split_note(comparison),
        _checkpoint_note(comparison),
        f"Values: mean ± standard deviation over seeds ({seeds}) of the mean over cases; the mean "
        "of the classes is the mean of their values. One seed has no spread.",
        f"Units: {_unit_words(comparison)}; the best value for a number of labelled patients is "
        "bold.",
        _empty_words(str(protocol["empty"])),
        f"Training: {_pixels(protocol)}, {protocol['iterations']} iterations, "
        f"batches of {protocol['batch_labelled']} labelled and {protocol['batch_unlabelled']} "
        f"unlabelled slices, validation every {protocol['validate_every']}, "
        f"{_rates(comparison.results)}, {protocol['precision']}, devices: {protocol['devices']}.",
        *_network_notes(comparison.results),
        *_labelled_notes(comparison.results),
        *_test_notes(comparison),
        *_cost_notes(comparison),
        *_setting_notes(comparison.results),
        f"Code: diffrect {', '.join(sorted({r.version for r in comparison.results}))}.",
    ]
    unsealed = [result.folder.name for result in comparison.results if not result.sealed]
    if unsealed:
        lines.append(f"Not sealed, of a version without checksums: {', '.join(unsealed)}.")
    machines = sorted({r.cost.machine for r in comparison.results if r.cost.machine is not None})
    if machines:
        lines.append(f"Machine: {'; '.join(machines)}.")
    if comparison.missing:
        lines.append(f"Planned but missing: {', '.join(comparison.missing)}.")
    return lines


def _split_note(comparison: Comparison) -> str:
    first = comparison.results[0]
    cases, patients = count(len(first.cases), "case"), count(first.patients, "patient")
    line = f"Split: {SPLIT_NAMES[comparison.split]} ({comparison.split}), {cases} of {patients}."
    if comparison.split == "val" and comparison.protocol["checkpoint"] != "last":
        line += " The same patients chose the checkpoint and are reported."
    return line


_CHECKPOINTS = {
    "best": "best by mean validation Dice",
    "last": "last",
    "student": "the student's best by its mean validation Dice",
    "average": "the moving average's best by its mean validation Dice",
}


def _checkpoint_note(comparison: Comparison) -> str:
    chosen = _CHECKPOINTS[comparison.protocol["checkpoint"]]
    steps = sorted({result.step for result in comparison.results})
    one = len(steps) == 1
    reached = f"iteration {steps[0]}" if one else f"iterations {steps[0]} to {steps[-1]}"
    return f"Checkpoint: {chosen} ({reached})."


def _unit_words(comparison: Comparison) -> str:
    """Return which metrics are shown in which unit, such as "Dice and Jaccard in per cent"."""
    titles: dict[str, list[str]] = {}
    for metric in comparison.metrics:
        unit = "per cent" if metric.percent else metric.shown_unit
        titles.setdefault(unit, []).append(metric.title)
    return ", ".join(f"{' and '.join(names)} in {unit}" for unit, names in titles.items())


def _empty_words(empty: str) -> str:
    if empty == "undefined":
        return (
            "A class missing from prediction or truth has no distance; such values enter no mean "
            'and are counted under "no distance".'
        )
    return "A class missing from a case counts as Dice 0, Jaccard 0, 95HD 50 and ASD 10."


def _pixels(protocol: Mapping[str, Any]) -> str:
    if protocol["crop"] is None:
        return f"slices resized to {protocol['size']} x {protocol['size']} pixels"
    spacing, crop = protocol["spacing"], protocol["crop"]
    return f"slices resampled to pixels of {spacing} mm and cropped to {crop} x {crop}"


def _rates(results: Sequence[CellResult]) -> str:
    """Return the learning rate, or all of them with the variants that have them."""
    named: dict[float, list[str]] = {}
    for name, rate in {result.name: result.learning_rate for result in results}.items():
        named.setdefault(rate, []).append(name)
    if len(named) == 1:
        return f"learning rate {next(iter(named))}"
    parts = (f"{rate:.3g} in {', '.join(names)}" for rate, names in named.items())
    return f"learning rates {'; '.join(parts)}"


def _network_notes(results: Sequence[CellResult]) -> list[str]:
    """Return which networks segment, unless all are the U-Net."""
    named: dict[str, list[str]] = {}
    for name, network in {result.name: result.network for result in results}.items():
        named.setdefault(network, []).append(name)
    if set(named) == {UNET}:
        return []
    parts = [f"{network} in {', '.join(names)}" for network, names in named.items()]
    return [f"Network: {'; '.join(parts)}."]


def _labelled_notes(results: Sequence[CellResult]) -> list[str]:
    """Return who is labelled, for each number of patients."""
    lines = []
    for number in sorted({result.count for result in results}):
        lists = {result.labelled for result in results if result.count == number}
        names = next(iter(lists))
        shown = ", ".join(names[:_MOST_NAMES])
        if number > _MOST_NAMES:
            shown += f" and {number - _MOST_NAMES} more"
        which = shown if len(lists) == 1 else "drawn by the seed"
        lines.append(f"{count(number, 'labelled patient')}: {which}.")
    return lines


def _test_notes(comparison: Comparison) -> list[str]:
    if comparison.against is None:
        return []
    return [
        f"p: two-sided Wilcoxon signed-rank test against {comparison.against}, paired by patient "
        "(means over classes, the patient's cases and common seeds), with Holm's correction over "
        "all tests of the metric. Intervals: 95 % bootstrap of the mean difference over seeds and "
        "patients, both drawn; with one seed it is over patients only, with three rather narrow."
    ]


def _cost_notes(comparison: Comparison) -> list[str]:
    """Return which clock is reported; wall-clock time includes the machine's other work."""
    if not any("minutes" in row.cost for row in comparison.rows):
        return []
    line = (
        "Cost: times by the clock include halts and other work on the machine; minutes cover all "
        "sessions with their validations, ms per iteration leaves validation out."
    )
    if any("processor_minutes" in row.cost for row in comparison.rows):
        line += (
            " Processor minutes are what the threads of the training process computed; other work "
            "has little influence on them, and they leave out the work of a GPU."
        )
    return [line]


def _setting_notes(results: Sequence[CellResult]) -> list[str]:
    """Return the settings that variants do not share; the most common value comes last."""
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
