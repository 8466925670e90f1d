"""What `inspect` finds, as tables on the screen."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_SHOWN = 8


def print_inspection(result: dict[str, Any], console: Console | None = None) -> None:
    """Print the result of `inspect` to stdout: facts, classes if there are any, and problems."""
    console = console or Console()
    lines = [f"{result['path']}: {result['kind']}, {result['format']}"]
    console.print(*lines, soft_wrap=True, markup=False, highlight=False)
    console.print(_facts(result))
    if any(entry["cases"] for entry in result["classes"]):
        console.print(_classes(result))
    problems = result["problems"]
    lines = [f"problems: {len(problems) or 'none'}", *(f"  {problem}" for problem in problems)]
    remarks = result["remarks"]
    if remarks:
        lines += [f"remarks: {len(remarks)}", *(f"  {remark}" for remark in remarks)]
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)


def _facts(result: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column()
    rows = {
        **(_type(result) if result["kind"] == "file" else _cases(result)),
        "channels": str(result["channels"]),
        "shapes": _counts(result["shapes"]) or _extent(result["each"], "shape"),
        "spacing (mm)": _counts(result["spacings"]) or _extent(result["each"], "spacing"),
        "orientation": _counts(result["orientations"]),
        "intensity": "unknown",
    }
    if result["intensity"]:
        rows["intensity"] = "{:g} to {:g}".format(*result["intensity"])
    if result["ignored"]:
        rows["not annotated"] = f"{100 * result['ignored']:.1f} % of the pixels"
    if result["split"]:
        rows["split"] = ", ".join(f"{name} {size}" for name, size in result["split"].items())
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _cases(result: dict[str, Any]) -> dict[str, str]:
    unread = result["cases"] - result["labelled"] - result["unlabelled"]
    labelled = f"{result['labelled']} labelled, {result['unlabelled']} unlabelled"
    not_read = f", {unread} not read" if unread else ""
    return {
        "cases": f"{result['cases']}: {labelled}{not_read}",
        "patients": str(result["patients"]),
    }


def _type(result: dict[str, Any]) -> dict[str, str]:
    """What one file holds, instead of how many cases there are."""
    return {"numbers": next((one["type"] for one in result["each"] if "type" in one), "unknown")}


def _counts(counts: dict[str, int]) -> str:
    """Each kind with its number of cases, if there are several kinds; nothing if there are many."""
    if len(counts) <= 1:
        return next(iter(counts), "unknown")
    shown = [f"{text} ({count})" for text, count in counts.items()]
    return "\n".join(shown) if len(shown) <= _SHOWN else ""


def _extent(each: list[dict[str, Any]], key: str) -> str:
    """The smallest and the largest of each axis."""
    axes = zip(*(entry[key] for entry in each if entry.get(key)), strict=True)
    return " x ".join(f"{min(axis):g} to {max(axis):g}" for axis in axes)


def _classes(result: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("class")
    for heading in ("% of pixels", "cases"):
        table.add_column(heading, justify="right")
    for entry in result["classes"]:
        share = "–" if entry["share"] is None else f"{100 * entry['share']:.3f}"
        table.add_row(escape(entry["name"]), share, str(entry["cases"]))
    return table
