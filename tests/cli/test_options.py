"""`diffrect options` lists what --option sets, and --print-config what would be trained."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diffrect.cli import main as cli
from diffrect.cli.compare import Compare
from diffrect.cli.train import Train
from diffrect.config import TrainConfig
from diffrect.data.view_options import VIEW_PRESETS, ViewOptions
from diffrect.methods.catalogue.describe import describe
from diffrect.methods.catalogue.known import description_of, option_names
from diffrect.methods.registry import METHODS, complete, find_method, resolve


@pytest.mark.parametrize("method", METHODS)
def test_every_option_is_listed_with_its_values(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["options", method, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    for preset in ("default", "reference"):
        resolved = resolve(TrainConfig(method=method, preset=preset))  # type: ignore[arg-type]
        listed = {o["name"]: o["values"][preset] for o in (*found["options"], *found["views"])}
        assert listed == {**vars(resolved.method_options), **vars(resolved.view_options)}
    for option in (*found["options"], *found["views"]):
        assert option["text"].endswith("."), option
        assert option["kind"]
        assert all(isinstance(choice, str) for choice in option["choices"])
    assert option_names() >= {option["name"] for option in found["options"]}


def test_the_list_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["options", "mcnet"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith("mcnet: ")
    assert "temperature " in printed
    assert "(number; default: 0.1)" in printed
    assert "(true or false; default: true; reference: false)" in printed
    assert "(linear or nearest; default: linear; reference: nearest)" in printed
    assert printed.endswith("next: diffrect train STORE RUN --method mcnet --option NAME=VALUE")
    assert cli.main(["options"]) == 0
    every = capsys.readouterr().out
    assert [name for name in METHODS if f"\n{name}: " not in every] == []
    assert every.count("\n  interpolation ") == 1


def test_a_method_of_your_own_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    own = "diffrect.methods.supervised:Supervised"
    assert description_of(own).options == describe("supervised").options
    assert cli.main(["options", own]) == 0
    assert capsys.readouterr().out.startswith(f"\n{own}: ")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("uam", "uam: expected one of supervised, .*; did you mean uamt[?]"),
        ("no.such:Method", "no.such:Method: expected a module on PYTHONPATH, or --plugin .*"),
        ("a b", "b: expected no more than diffrect options METHOD; see diffrect options --help"),
    ],
)
def test_a_method_that_is_none(
    typed: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["options", *typed.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert re.fullmatch(f"diffrect: error: {message}", line)


def test_options_are_listed_without_torch() -> None:
    code = (
        "import sys; from diffrect.cli.main import main; main(['options'])\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("name", ["teacher_decay", "blur-sigma", "cutmix_from"])
def test_an_option_of_a_method_that_is_typed_as_one_of_the_training(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("train", "compare"):
        assert cli.main([command, "a", "b", f"--{name}", "1"]) == 2
        option = name.replace("-", "_")
        assert f"; write --option {option}=VALUE, see diffrect" in capsys.readouterr().err


CONFIGURATIONS = (
    "",
    "--preset reference --size 64 --seed 3",
    "--method uamt --option passes=4 --option blur-sigma=0.1 --labelled 5% --device cpu",
    "--method mcnet --preset reference --spacing 1.25 --crop 96 --val-patients 0 --threads 2",
    "--split-file split\u202e\u00e4.json --rectify-from 7 --learning-rate 1e-5 --deterministic",
)


@pytest.mark.parametrize("given", CONFIGURATIONS, ids=lambda given: given[:20] or "nothing")
def test_a_printed_configuration_is_read_back(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "STORE", "RUN", *given.split()]
    assert cli.main([*words, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "printed.yaml"
    file.write_text(printed)
    command = cli.parse(["train", "STORE", "RUN", "--config", str(file)])
    asked = cli.parse(words)
    assert isinstance(command, Train)
    assert isinstance(asked, Train)
    assert command.settings == complete(asked.settings)
    assert cli.main(["train", "STORE", "RUN", "--config", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    "given", ["--preset reference --size 64", "--methods ict,uamt --option blur_sigma=2 --seeds 3"]
)
def test_what_cells_share_is_read_back(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["compare", "STORE", "FOLDER", *given.split()]
    assert cli.main([*words, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "printed.yaml"
    file.write_text(printed)
    command, asked = cli.parse(["compare", "S", "F", "--config", str(file)]), cli.parse(words)
    assert isinstance(command, Compare)
    assert isinstance(asked, Compare)
    assert command._matrix()["config"] == asked._matrix()["config"]


def test_a_wrong_option_is_refused_in_place_of_printed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "a", "b", "--option", "confidense=1", "--print-config"]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("; did you mean confidence?\n")


def test_views_are_those_of_their_dataclass() -> None:
    views = description_of("supervised").views
    assert {view.name: view.values["default"] for view in views} == vars(ViewOptions())
    changed = {v.name: v.values["reference"] for v in views if v.name in VIEW_PRESETS["reference"]}
    assert changed == VIEW_PRESETS["reference"]
    assert find_method("supervised").presets["reference"].keys().isdisjoint(changed)
