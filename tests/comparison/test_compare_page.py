"""The page of a comparison: the tables and plots of its report, in one file."""

from pathlib import Path

from diffrect.comparison.report.notes import notes
from diffrect.comparison.report.report import compare_table
from diffrect.comparison.report.sections import sections
from diffrect.evaluation.figures import literal_names, new_figure, save_figure
from diffrect.reporting.plots import inline_plot
from support.fake_cells import write_cell
from support.pages import check_is_alone


def test_the_page_has_tables_tests_and_plots(tmp_path: Path) -> None:
    hostile = "<script>x<|script>"
    for name, dice in ((hostile, 0.6), ("diffrect", 0.8)):
        cases = {"p1": [dice, None], "p2": [dice - 0.1, 0.5]}
        write_cell(tmp_path, name, cases, classes=["<b>inner</b>", "$outer$"])
    report = compare_table(tmp_path)
    place = tmp_path / "report_val" / "index.html"
    text = place.read_text("utf-8")
    page = check_is_alone(text)
    for section in sections(report):
        assert section.title in page.words
        for row in section.rows:
            assert all(entry.text in page.words for entry in row)
    for note in notes(report):
        assert note in page.words
    assert "wilcoxon" in page.words.lower()
    drawn = [svg["aria-label"] for svg in page.of("svg") if svg.get("class") == "drawn"]
    assert drawn == ["dice by labelled", "dice by class", "dice by minutes"]
    assert f"diffrect compare {tmp_path} --table --split val --against diffrect" in page.words
    assert not page.of("b")
    assert len(text) < 500_000


def test_a_plot_keeps_what_it_draws_and_nothing_else(tmp_path: Path) -> None:
    with literal_names():
        figure = new_figure(3, 2)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#d55e00", linestyle="--", marker="s")
        axes.set_title("</text><script>x</script> & $y$")
        save_figure(figure, tmp_path / "plot.svg")
        first = (tmp_path / "plot.svg").read_bytes()
        save_figure(figure, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_bytes() == first
    drawn = inline_plot(tmp_path / "plot.svg", '"quoted"')
    assert "<script" not in drawn
    assert "&lt;/text&gt;&lt;script&gt;x&lt;/script&gt; &amp; $y$" in drawn
    assert 'stroke="#d55e00"' in drawn
    assert "stroke-dasharray" in drawn
    assert "style=" not in drawn
    uses = drawn.count('href="#plot-')
    assert uses > 4  # ticks and markers
    assert drawn.count("<use") == uses


def test_a_plot_made_by_others_is_left_with_its_drawing(tmp_path: Path) -> None:
    file = tmp_path / "plot.svg"
    file.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" onload="x()">'
        '<script>x()</script><foreignObject/><image href="http://x"/><g onclick="x()">'
        '<use href="http://x"/><rect width="3" style="fill: url(http://x); stroke: red"/></g></svg>'
    )
    assert inline_plot(file, "plot").endswith('<g><use/><rect width="3" stroke="red"/></g></svg>')
