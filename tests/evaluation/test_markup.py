"""Hostile names in Markdown, LaTeX and CSV are text and nothing else."""

import csv
import io
import re

import pytest
from markdown import markdown

from diffrect.evaluation.markup import latex_text, markdown_text
from diffrect.text_files import csv_text

HOSTILE = [
    r"\[x](https://evil.example)",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<img src=x onerror=alert(1)>",
    "<https://evil.example>",
    "https://evil.example www.evil.example",
    "&lt;script&gt; &#60;b&#62;",
    "`code` ``more`` *a* **b** _c_ __d__ ~~e~~ $f$",
    "a | b | c",
    "\\",
    "trailing \\",
    "# heading",
    "- item",
    "+ item",
    "12. item",
    "3) item",
    "> quote",
    "---",
    "===",
    "    code",
    '!!! note "box"',
    "??? more",
    ": definition",
    "[^1] [TOC] {#id onclick=alert(1)}",
    "a\n\n# b",
    "a\r<b>",
    "a\x1b[2J\u202eb\u200bc\u2028d",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("- ", ""), ("## ", ""), ("| ", " | 1 |")])
def test_markdown_shows_names_as_they_are(name: str, before: str, after: str) -> None:
    text = markdown_text(name)
    assert text.isprintable()
    table = "| a | b |\n| --- | --- |\n" if before == "| " else ""
    page = markdown(
        f"{table}{before}{text}{after}\n", extensions=["tables", "attr_list", "admonition"]
    )
    allowed = "p|ul|li|h2|table|thead|tbody|tr|td|th" if before else "p"
    assert set(re.findall(r"<[^>]*>", page)) <= {
        f"<{end}{tag}>" for tag in allowed.split("|") for end in ("", "/")
    } | {'<h2 id="x">'}
    assert page.count("<td>") in (0, 2)


@pytest.mark.parametrize(
    "name",
    [
        *("mean_teacher", "diffrect@5%", "80.12 ± 0.34", "< 0.001", "+1.20", "-0.52", "1,5 (a)"),
        *("a.nii.gz", "p < 3", "R&D", "a: b", "1.5 mm", "5% of 40"),
    ],
)
def test_markdown_leaves_ordinary_names_readable(name: str) -> None:
    assert markdown_text(name) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (r"a\[x](y)", r"a\\\[x\](y)"),
        ("a|b", r"a\|b"),
        ("_a_", r"\_a\_"),
        ("<b>", "&lt;b>"),
        ("&lt;", "&amp;lt;"),
        ("https://a", "https&#58;//a"),
        ("1. a", "1&#46; a"),
        ("a\n- b", r"a\\n- b"),
    ],
)
def test_markdown_escapes(name: str, text: str) -> None:
    assert markdown_text(name) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a_b 5% ± <", r"a\_b 5\% $\pm$ $<$"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("$x^2$ ~#&", r"\$x\textasciicircum{}2\$ \textasciitilde{}\#\&"),
        ("[2cm]*", "{[}2cm{]}{*}"),  # after \\ they would be its arguments
        ("a\n\\b\u202e", r"a\textbackslash{}n\textbackslash{}b\textbackslash{}u202e"),
    ],
)
def test_latex_prints_names_as_they_are(name: str, text: str) -> None:
    assert latex_text(name) == text


@pytest.mark.parametrize(
    "name", ["=1+1", "+a", "-a", "@a", "\t=1", "\r=1", '=HYPERLINK("https://a")', "＝1"]
)
def test_spreadsheets_see_no_formula(name: str) -> None:
    text = csv_text(["name", "difference"], [(name, -0.5)])
    _, (cell, number) = csv.reader(io.StringIO(text))
    assert cell.startswith("'")
    assert cell.isprintable()
    assert number == "-0.5"


def test_csv_keeps_ordinary_names_and_escapes_what_steers() -> None:
    text = csv_text(["a", "b"], [("mean_teacher", 'say "x", y'), ("a\x1b[2J\nb", "")])
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "b"],
        ["mean_teacher", 'say "x", y'],
        ["a\\x1b[2J\\nb", ""],
    ]
