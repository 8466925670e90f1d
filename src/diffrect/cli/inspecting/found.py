"""Show what `inspect` finds in a data set, a store or an image as tables on the screen."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from diffrect.cli.guidance import next_line
from diffrect.console import plain, stdout_console, visible
from diffrect.data.findings import Inspection

_SHOWN = 8
_KINDS = {"source": "a data set", "store": "a store", "file": "a file"}
_ALIKE = 3  # findings that are alike are counted from here on


def print_inspection(
    result: Inspection,
    console: Console | None = None,
    *,
    every: bool = False,
    with_options: bool = False,
) -> None:
    """Print the result of `inspect` to stdout: facts, classes if there are any, and problems.

    Args:
        result: what was found.
        console: where to print; None prints on stdout.
        every: list every problem and note, also those that are alike.
        with_options: the data set was read with options, which prepare needs too.
    """
    console = console or stdout_console()
    title = visible(f"{result.path}: {_KINDS[result.kind]}, {result.format}")
    console.print(title, soft_wrap=True, markup=False, highlight=False)
    console.print(_facts(result))
    if any(facts.cases for facts in result.classes):
        console.print(_classes(result))
    lines = [f"problems: {len(result.problems) or 'none'}"]
    lines += _grouped(result.problems, every)
    if result.remarks:
        lines += [f"notes: {len(result.remarks)}", *_grouped(result.remarks, every)]
    lines += filter(None, [_next(result, with_options)])
    console.print("\n".join(map(visible, lines)), soft_wrap=True, markup=False, highlight=False)


def _grouped(findings: Sequence[str], every: bool) -> list[str]:
    """Return the findings as lines; of those that are alike, their number and the first."""
    groups: dict[str, list[str]] = {}
    for finding in findings:
        groups.setdefault(finding if every else _without_particulars(finding), []).append(finding)
    lines, counted = [], False
    for group in groups.values():
        if len(group) < _ALIKE:
            lines += [f"  {finding}" for finding in group]
        else:
            counted = True
            lines.append(f"  {len(group)} like this, the first: {group[0]}")
    return [*lines, "  --all lists them"] if counted else lines


def _without_particulars(finding: str) -> str:
    """Return what a finding says without its file and numbers."""
    subject, colon, what = finding.partition(": ")
    return re.sub(r"\d+(\.\d+)?", "#", what if colon else subject)


def _next(result: Inspection, with_options: bool) -> str:
    """Return what comes next; nothing for a file that cannot be read."""
    path = Path(result.path)
    if result.kind == "source":
        first = "mend or leave out what is wrong, then: " if result.problems else ""
        options = ("and the same options",) if with_options else ()
        return next_line(f"{first}diffrect prepare", path, "STORE", *options)
    if result.kind == "store":
        if result.problems:
            return next_line("diffrect prepare SOURCE", path, "--repair")
        return next_line("diffrect train", path, "RUN")
    return "" if result.problems else next_line("diffrect predict RUN OUT", path)


def _facts(result: Inspection) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column()
    rows = {
        **(_type(result) if result.kind == "file" else _cases(result)),
        "channels": str(result.channels),
        "shapes": _counts(result.shapes) or _extent(f.shape for f in result.each),
        "spacing (mm)": _counts(result.spacings) or _extent(f.spacing for f in result.each),
        "orientation": _counts(result.orientations),
        "intensity": "unknown",
    }
    if result.intensity:
        rows["intensity"] = "{:g} to {:g}".format(*result.intensity)
    if result.ignored:
        rows["not annotated"] = f"{100 * result.ignored:.1f} % of the pixels"
    if result.split:
        rows["split"] = ", ".join(f"{name} {size}" for name, size in result.split.items())
    for name, value in rows.items():
        table.add_row(name, "\n".join(map(plain, value.split("\n"))))
    return table


def _cases(result: Inspection) -> dict[str, str]:
    unread = result.cases - result.labelled - result.unlabelled
    labelled = f"{result.labelled} labelled, {result.unlabelled} unlabelled"
    not_read = f", {unread} not read" if unread else ""
    return {
        "cases": f"{result.cases}: {labelled}{not_read}",
        "patients": str(result.patients),
    }


def _type(result: Inspection) -> dict[str, str]:
    """Return what one file holds, in place of the number of cases."""
    return {"numbers": next((facts.type for facts in result.each if facts.type), "unknown")}


def _counts(counts: Mapping[str, int]) -> str:
    """Return each kind with its number of cases, or nothing if there are too many kinds."""
    if len(counts) <= 1:
        return next(iter(counts), "unknown")
    shown = [f"{text} ({count})" for text, count in counts.items()]
    return "\n".join(shown) if len(shown) <= _SHOWN else ""


def _extent(sizes: Iterable[Sequence[float] | None]) -> str:
    """Return the smallest and the largest size along each axis."""
    axes = zip(*(size for size in sizes if size), strict=True)
    return " x ".join(f"{min(axis):g} to {max(axis):g}" for axis in axes)


def _classes(result: Inspection) -> Table:
    table = Table()
    table.add_column("class")
    for heading in ("% of pixels", "cases"):
        table.add_column(heading, justify="right")
    for facts in result.classes:
        share = "–" if facts.share is None else f"{100 * facts.share:.3f}"
        table.add_row(plain(facts.name), share, str(facts.cases))
    return table
