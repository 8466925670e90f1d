"""Show what `inspect` finds as tables on the screen."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from diffrect.console import plain, stdout_console, visible
from diffrect.data.findings import Inspection

_SHOWN = 8


def print_inspection(result: Inspection, console: Console | None = None) -> None:
    """Print the result of `inspect` to stdout: facts, classes if there are any, and problems."""
    console = console or stdout_console()
    title = visible(f"{result.path}: {result.kind}, {result.format}")
    console.print(title, soft_wrap=True, markup=False, highlight=False)
    console.print(_facts(result))
    if any(facts.cases for facts in result.classes):
        console.print(_classes(result))
    problems = result.problems
    lines = [f"problems: {len(problems) or 'none'}", *(f"  {problem}" for problem in problems)]
    remarks = result.remarks
    if remarks:
        lines += [f"remarks: {len(remarks)}", *(f"  {remark}" for remark in remarks)]
    console.print("\n".join(map(visible, lines)), soft_wrap=True, markup=False, highlight=False)


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
