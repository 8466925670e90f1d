"""The command line: spellings, precedence of options, and one line for every error."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import diffrect
from diffrect.cli import main as cli
from diffrect.cli.demo import Demo
from diffrect.cli.evaluate import Evaluate
from diffrect.cli.predict import Predict
from diffrect.cli.prepare import Prepare
from diffrect.cli.train import Train
from diffrect.config import TrainConfig, write_config
from diffrect.data.sources import SOURCES
from diffrect.errors import InputError
from support.tiny import scan, write_nifti


def run_python(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], text=True, stderr=-1, **options)


def test_commands_as_documented():
    assert cli.parse(["prepare", "A", "B", "--format", "ssl4mis", "--workers", "3"]) == Prepare(
        Path("A"), Path("B"), format="ssl4mis", workers=3
    )
    assert cli.parse(["evaluate", "RUN", "--split", "test", "--checkpoint", "last"]) == Evaluate(
        Path("RUN"), split="test", checkpoint="last"
    )
    assert cli.parse(["evaluate", "RUN", "--empty", "reference"]).empty == "reference"
    assert cli.parse(["predict", "RUN", "OUT", "a.nii", "b c"]) == Predict(
        Path("RUN"), Path("OUT"), (Path("a.nii"), Path("b c"))
    )
    assert cli.parse(["demo"]) == Demo(Path("demo"))
    assert cli.parse(["demo", "elsewhere"]).folder == Path("elsewhere")


def test_train_as_documented():
    text = (
        "train STORE RUN --method supervised --preset reference --labelled 5% --size 128 "
        "--iterations 1500 --batch-labelled 2 --batch-unlabelled 4 --seed 7 --rectify-from 500 "
        "--devices 2 --precision bf16-mixed --resume"
    )
    command = cli.parse(text.split())
    assert isinstance(command, Train)
    assert (command.store, command.run, command.resume) == (Path("STORE"), Path("RUN"), True)
    assert command.settings == TrainConfig(
        method="supervised",
        preset="reference",
        labelled="5%",
        size=128,
        iterations=1500,
        batch_labelled=2,
        batch_unlabelled=4,
        seed=7,
        devices=2,
        precision="bf16-mixed",
        options={"rectify_from": 500},
    )


@pytest.mark.parametrize(("method", "ignored"), [("supervised", True), ("diffrect", False)])
def test_a_method_without_rectify_from_says_so_and_trains(
    method, ignored, store, monkeypatch, capsys
):
    trained = []
    monkeypatch.setattr("diffrect.training.train.train", lambda *a, **k: trained.append(a))
    assert (
        cli.main(
            [
                "train",
                str(store.path),
                "RUN",
                "--method",
                method,
                "--rectify-from",
                "5",
                "--quiet",
                "--no-report",
            ]
        )
        == 0
    )
    line = f"diffrect: --rectify-from: method {method} has no such option; it is ignored\n"
    assert capsys.readouterr().err == (line if ignored else "")
    assert trained[0][2].options == {"rectify_from": 5}


def test_rectify_from_wins_over_the_file_and_reaches_compare(tmp_path, capsys):
    file = tmp_path / "older.yaml"
    file.write_text("rectify_from: 7\noptions: {confidence: 0.7}\n")
    for command in (["train", "STORE", "RUN"], ["compare", "STORE", "FOLDER"]):
        given = [*command, "--config", str(file)]
        assert cli.parse(given).settings.options == {"confidence": 0.7, "rectify_from": 7}
        later = cli.parse([*given, "--rectify-from", "9"]).settings.options
        assert later == {"confidence": 0.7, "rectify_from": 9}
        assert cli.main([*given, "--rectify-from", "-1"]) == 2
        assert "--rectify-from: expected at least 0, got -1" in capsys.readouterr().err


def test_train_without_options_is_the_default_configuration():
    assert cli.parse(["train", "STORE", "RUN"]).settings == TrainConfig()


def test_options_given_win_over_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("size: 64\nseed: 5\noptions: {confidence: 0.7, clamp_latent: true}\n")
    given = ["--config", str(file), "--seed", "1337", "--option", "confidence=0.9"]
    settings = cli.parse(["train", "STORE", "RUN", *given, "--option", "blur-sigma=2"]).settings
    assert (settings.size, settings.seed) == (64, 1337)
    assert settings.options == {"confidence": 0.9, "clamp_latent": True, "blur_sigma": 2}


def test_resuming_starts_from_the_saved_configuration(tmp_path):
    write_config(TrainConfig(size=96, options={"confidence": 0.7}), tmp_path / "config.yaml")
    arguments = ["train", "STORE", str(tmp_path), "--workers", "2"]
    resumed = cli.parse([*arguments, "--resume"])
    assert resumed.resume
    assert resumed.settings == TrainConfig(size=96, workers=2, options={"confidence": 0.7})
    assert cli.parse([*arguments, "--overwrite"]).settings == TrainConfig(workers=2)


def test_every_format_can_be_named():
    assert set(get_args(get_type_hints(Prepare)["format"])) == {"auto", *SOURCES}


def test_from_data_set_to_label_files(acdc_folder, tmp_path, capsys):
    store, run, out = (str(tmp_path / name) for name in ("store", "run", "out"))
    image = str(acdc_folder / "patient011" / "patient011_frame01.nii.gz")
    steps = (
        ["prepare", str(acdc_folder), store, "--workers", "1"],
        ["train", store, run, "--method", "supervised", "--size", "32", "--iterations", "2"],
        ["evaluate", run, "--split", "test"],
        ["predict", run, out, image],
    )
    assert [cli.main(step) for step in steps] == [0, 0, 0, 0]
    printed = capsys.readouterr().out
    assert "10 cases, 10 with labels" in printed
    for command in (f"train {store} RUN", f"evaluate {run}", f"predict {run} OUT IMAGE..."):
        assert f"\nnext: diffrect {command}\n" in printed
    assert f"{run}/metrics_test.json: the scores of every case\n" in printed
    assert printed.splitlines()[-1].startswith("next: diffrect view IMAGES ")
    assert "test split: 2 cases, 1 patient" in printed
    assert "1 label file\n" in printed
    assert (Path(run) / "metrics_test.json").is_file()
    assert (Path(out) / "patient011_frame01.nii.gz").is_file()
    # A second time, each of the three that write a folder refuses.
    for step in (steps[0], steps[1], steps[3]):
        assert cli.main([*step, "--quiet"]) == 2
        assert "--overwrite" in capsys.readouterr().err.splitlines()[-1]
        assert cli.main([*step, "--quiet", "--overwrite"]) == 0
        assert capsys.readouterr().out == ""
    assert cli.main(["evaluate", run, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def only_line(capsys) -> str:
    """The one line that an error prints."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("diffrect: ")
    assert err.count("\n") == 1
    return err.rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "diffrect: expected a command, one of prepare, inspect, train, options, evaluate, "),
        ("prepar A B", "prepar: expected a command, one of prepare, "),
        ("prepar A B", "; did you mean prepare? see diffrect --help"),
        ("prepare A", "STORE: expected a path, got none; the command is diffrect prepare SOURCE"),
        ("prepare A B --format dicom", "--format: expected one of auto, decathlon, acdc, ssl4mis"),
        ("prepare A B --workers many", "--workers: expected a whole number, got 'many'; see "),
        ("train A B --learning-rate low", "--learning-rate: expected a number, got 'low'"),
        (
            "prepare A B --form acdc",
            "--form: diffrect prepare has no such option; did you mean --f",
        ),
        ("train A B --size", "--size: expected a value, got none"),
        ("train A B --batch-labelled 0", "--batch-labelled: expected at least 1, got 0"),
        ("evaluate RUN --split train", "--split: expected one of val, test, all, got 'train'"),
        ("predict RUN", "OUT: expected a path, got none"),
        ("predict RUN OUT", "INPUT: expected at least one image file or folder, got none"),
    ],
)
def test_every_error_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    line = only_line(capsys)
    assert line.startswith("diffrect: error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_long_name_stays_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    name = "a-very-long-name-" * 20
    assert cli.main(["prepare", "A", "B", "--format", name]) == 2
    assert name in only_line(capsys)
    assert os.environ["COLUMNS"] == "40"


def test_one_bad_image_among_several(tiny_run, tmp_path, capsys):
    write_nifti(tmp_path / "in" / "fine.nii.gz", scan((20, 20, 2), 4, seed=1)[0])
    write_nifti(tmp_path / "in" / "flat.nii.gz", 0 * scan((20, 20, 2), 4, seed=1)[0])
    arguments = ["predict", str(tiny_run), str(tmp_path / "out"), str(tmp_path / "in"), "--quiet"]
    assert cli.main(arguments) == 1
    assert re.search(r"error: .*flat\.nii\.gz: expected varying", only_line(capsys))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fine.nii.gz"]
    (tmp_path / "in" / "fine.nii.gz").write_text("broken")
    assert cli.main([*arguments, "--overwrite"]) == 2
    assert capsys.readouterr().err.count("diffrect: error: ") == 2


def raising(error):
    def function(*_, **__):
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("scan\none.nii: expected better"), 2, "error: scan\\none.nii: expected better"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("stopped; resume with --resume"), 130, "stopped; resume with --resume"),
        (PermissionError(13, "Permission denied", "RUN"), 2, "error: RUN: Permission denied"),
        (OSError(27, "File too large"), 2, "error: output: File too large"),
    ],
)
def test_exit_codes(error, code, line, capsys, monkeypatch):
    monkeypatch.setattr(cli, "parse", raising(error))
    assert cli.main([]) == code
    assert only_line(capsys) == f"diffrect: {line}"


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(2, "no", "x")])
def test_our_own_mistakes_keep_their_traceback(error, monkeypatch):
    monkeypatch.setattr(cli, "parse", raising(error))
    with pytest.raises(type(error)):
        cli.main([])


def test_an_interrupted_prepare_says_how_to_resume(monkeypatch, capsys):
    monkeypatch.setattr("diffrect.data.prepare.prepare", raising(KeyboardInterrupt()))
    assert cli.main(["prepare", "A", "B"]) == 130
    assert only_line(capsys) == (
        "diffrect: interrupted; resume with: diffrect prepare A B --resume"
    )


def test_help_and_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"diffrect {diffrect.__version__}\n"
    for command in ("", "prepare", "train", "evaluate", "predict", "compare", "demo"):
        assert cli.main([*command.split(), "--help"]) == 0
        printed = capsys.readouterr().out
        assert "usage: diffrect" in printed
        assert "None" not in printed


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from diffrect.cli.main import main; main(['train', '--help'])\n"
        "print([m for m in ('torch', 'numpy', 'nibabel', 'blosc2') if m in sys.modules])"
    )
    done = run_python(code, stdout=-1)
    assert done.stdout.endswith("\n[]\n")
    assert done.stderr == ""


def test_a_reader_who_leaves_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = run_python("from diffrect.cli.main import main; exit(main(['--help']))", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_names_that_the_terminal_cannot_show():
    code = "from diffrect.cli.main import main; exit(main(['prepare', 'Größe ♥', 'store']))"
    done = run_python(code, env={**os.environ, "PYTHONIOENCODING": "ascii:strict"})
    assert done.returncode == 2
    assert done.stderr.startswith(r"diffrect: error: Gr\xf6\xdfe \u2665")


def test_public_names():
    for name in diffrect.__all__:
        assert callable(getattr(diffrect, name)), name
        assert name in dir(diffrect)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        diffrect.nonsense  # noqa: B018


def test_no_module_takes_the_place_of_a_public_function():
    for name in diffrect.__all__:
        module = importlib.import_module(diffrect._MODULES[name])
        assert getattr(diffrect, name) is getattr(module, name)
    for name in ("train", "evaluate", "predict", "compare"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"diffrect.{name}")
