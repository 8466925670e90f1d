"""The command `view`: addresses, pages, exit codes."""

import signal
import threading
import urllib.request
from pathlib import Path

import pytest

from diffrect.cli.main import main
from diffrect.viewing import niivue as niivue_module
from support.viewers import write_scans


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write_scans(tmp_path))
    return tmp_path


def test_it_serves_until_somebody_interrupts(scans, monkeypatch, capsys):
    answers = []

    def look(url: str) -> None:
        answers.append(urllib.request.urlopen(url, timeout=10).read())
        signal.raise_signal(signal.SIGINT)

    def browse(url: str) -> None:
        threading.Timer(0.05, look, (url,)).start()

    monkeypatch.setattr("webbrowser.open", browse)
    assert main(["view", "images", "labels", "--open"]) == 130
    output = capsys.readouterr()
    assert output.out.startswith("http://127.0.0.1:")
    assert output.out.count("\n") == 1
    assert output.err.endswith("diffrect: interrupted\n")
    assert b"two" in answers[0]


def test_it_writes_a_page(scans, capsys):
    assert main(["view", "images", "labels", "--html", "out.html"]) == 0
    output = capsys.readouterr().out
    assert "out.html: 2 cases, 2." in output
    assert "next: open it in a browser" in output
    assert Path("out.html").stat().st_size > 1_000_000
    assert main(["view", "images", "--html", "out.html"]) == 2
    assert main(["view", "images", "--html", "out.html", "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_what_is_left_out_is_told(scans, capsys):
    (scans / "labels" / "one_x.nii.gz").symlink_to(scans / "images" / "one.nii.gz")
    arguments = ["view", "images", "labels", "--html", "out.html"]
    assert main(arguments) == 0
    assert "one_x.nii.gz: leads out of" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_the_only_scan_is_read_before_anything_is_served(scans, capsys):
    Path("bad.nii.gz").write_text("text")
    assert main(["view", "bad.nii.gz"]) == 2
    assert "bad.nii.gz: expected a readable NIfTI file" in capsys.readouterr().err
    assert main(["view", "images/one.nii.gz", "bad.nii.gz"]) == 2
    output = capsys.readouterr()
    assert "bad.nii.gz: expected a readable NIfTI file" in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["nowhere"], "nowhere: expected an image file or a folder of them, found neither"),
        ([], "RUN|STORE|SCAN: expected a path, got none"),
        (["images", "--port", "70000"], "--port: expected at most 65535, got 70000"),
        (["images", "--patients", "val"], "--patients: expected a run or a store to show"),
        (["images", "--store", "images"], "--store: expected a run to show"),
        (["images", "--html", "no/out.html"], "no: expected a folder to write the page into"),
    ],
)
def test_bad_arguments_are_one_line(arguments, wanted, scans, capsys):
    assert main(["view", *arguments]) == 2
    error = capsys.readouterr().err
    assert wanted in error
    assert error.count("\n") == 1


def test_without_the_extra_the_line_says_how_to_get_it(scans, capsys, monkeypatch):
    monkeypatch.setattr(niivue_module, "PACKAGE", "no-such-package-as-this")
    assert main(["view", "images"]) == 2
    assert (
        "install the extra viewer, or: pip install 'ipyniivue>=2.4.4,<2.5'"
        in capsys.readouterr().err
    )
