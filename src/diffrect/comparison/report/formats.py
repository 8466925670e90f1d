"""The tables of a report as Markdown, LaTeX and CSV; each names its split."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence

from diffrect.comparison.report.notes import notes
from diffrect.comparison.report.sections import (
    COSTS,
    Entry,
    Report,
    Section,
    labelled_words,
    sections,
)
from diffrect.comparison.report.statistics import MEAN
from diffrect.evaluation.metrics import METRICS

_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "%&_#${}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
}

_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def markdown(report: Report, plots: Sequence[str] = ()) -> str:
    """The whole report: tables, notes, and the plots by file name."""
    lines = [f"# Comparison on the {report.split_words}", ""]
    for section in sections(report):
        lines += [f"## {_harmless(section.title)}", "", *_markdown_table(section), ""]
    for plot in plots:
        title = plot.rpartition(".")[0].replace("_", " ")
        lines += [f"![{title}, {report.split_words}]({plot})", ""]
    lines += ["## Protocol", "", *(f"- {_harmless(note)}" for note in notes(report))]
    return "\n".join(lines) + "\n"


def _harmless(text: str) -> str:
    """Names of classes, methods and files become neither HTML nor links nor pictures."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).replace("[", "\\[")


def _markdown_table(section: Section) -> list[str]:
    aligned = ["---"] * section.names + ["---:"] * (len(section.heading) - section.names)
    rows = [section.heading, aligned]
    rows += [[_markdown_cell(entry) for entry in row] for row in section.rows]
    return [f"| {' | '.join(row)} |" for row in rows]


def _markdown_cell(entry: Entry) -> str:
    text = _harmless(entry.text).replace("|", "\\|")
    return f"**{text}**" if entry.best else text


def latex(report: Report) -> str:
    """The tables as floats, each caption with the split; those wider than the page shrink to it."""
    facts = notes(report)
    lines = ["% needs \\usepackage{booktabs,graphicx}"]
    lines += [f"% {fact}" for fact in facts]
    for section in sections(report):
        lines += ["", *_latex_table(section, report)]
    return "\n".join(lines) + "\n"


def _latex_table(section: Section, report: Report) -> list[str]:
    columns = "l" * section.names + "r" * (len(section.heading) - section.names)
    told = report.results[0].protocol
    caption = (
        f"{section.title}. Checkpoint: {told['checkpoint']}; mean ± standard deviation over seeds."
    )
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(caption)}}}"]
    lines += [_FIT, rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines.append(_latex_row(map(escape_latex, section.heading)))
    lines.append(r"\midrule")
    before = None
    for row in section.rows:
        if before is not None and row[0].text != before:
            lines.append(r"\midrule")
        before = row[0].text
        lines.append(_latex_row(_latex_cell(entry) for entry in row))
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]


def _latex_cell(entry: Entry) -> str:
    text = escape_latex(entry.text)
    return rf"\textbf{{{text}}}" if entry.best else text


def _latex_row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(character, character) for character in text)


def scores_csv(report: Report) -> str:
    """One line per number: overlaps from 0 to 1, all metrics, unrounded."""
    told = report.results[0].protocol
    rows = []
    for row in report.rows:
        for name, scores in row.scores.items():
            for metric in METRICS.values():
                value = scores[metric.name]
                undefined = "" if name == MEAN else row.undefined[name][metric.name]
                rows.append(
                    (
                        *(report.split, told["checkpoint"], row.group.labelled),
                        *(row.group.name, name, metric.name, metric.unit, len(row.seeds)),
                        *(_plain(value.mean), _plain(value.deviation), undefined, row.values),
                    )
                )
    heading = "split,checkpoint,labelled,method,class,metric,unit,seeds,mean,sd,undefined,values"
    return _csv(heading.split(","), rows)


def tests_csv(report: Report) -> str:
    """One line per test, unrounded."""
    heading = "split,labelled,method,against,metric,cases,median_difference,better,p,p_holm"
    rows = [
        (
            *(report.split, test.group.labelled, test.group.name, test.against, test.metric),
            *(test.cases, test.difference, test.better, test.p, test.p_holm),
        )
        for test in report.tests
    ]
    return _csv(heading.split(","), rows)


def cost_csv(report: Report) -> str:
    """One line per row of the table, means over its cells, unrounded."""
    rows = [
        (
            *(labelled_words(row.group), row.group.name, len(row.seeds)),
            *(_plain(row.cost[name].mean) if name in row.cost else "" for name in COSTS),
        )
        for row in report.rows
    ]
    return _csv(["labelled", "method", "seeds", *COSTS], rows)


def _csv(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return text.getvalue()


def _plain(value: float) -> float | str:
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() else value
