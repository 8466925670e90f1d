"""Every command typed wrong in many ways: one line that names what is wrong, without jargon."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffrect.cli import main as cli
from diffrect.cli.arguments.nearest import nearest
from diffrect.cli.arguments.spec import Argument, arguments_of
from diffrect.cli.commands import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "messages-commands.md"
# Words of parsers and of Python, which tell a user nothing.
JARGON = re.compile(
    r"positional|argument|invalid|unrecogni[sz]ed|choice|parse|literal|convert|flag|token|metavar"
    r"|subcommand|NoneType|Traceback|\b(int|float|str|bool|tuple|Path|None)\b"
)
# What a person types -> all of the line after "diffrect: error: ". HELP ends as the command says.
TYPED = {
    "": "diffrect: expected a command, one of ALL, got none; see diffrect --help",
    "--quiet": "--quiet: expected a command, one of ALL; see diffrect --help",
    "trian store run": "trian: expected a command, one of ALL; did you mean train? see diffrect "
    "--help",
    "Train store run": "Train: expected a command, one of ALL; did you mean train? see diffrect "
    "--help",
    "help": "help: expected a command, one of ALL; did you mean --help? see diffrect --help",
    "-v": "-v: expected a command, one of ALL; see diffrect --help",
    "train": "STORE: expected a path, got none; the command is diffrect train STORE RUN, HELP",
    "train store": "RUN: expected a path, got none; the command is diffrect train STORE RUN, HELP",
    "train store run third": "third: expected no more than diffrect train STORE RUN; HELP",
    "train --size 64 store": "RUN: expected a path, got none; the command is diffrect train STORE "
    "RUN, HELP",
    "train store run --epochs 3": "--epochs: diffrect train has no such option; HELP",
    "train store run --sise 64": "--sise: diffrect train has no such option; did you mean --size? "
    "HELP",
    "train store run --iter=5": "--iter: diffrect train has no such option; did you mean "
    "--iterations? HELP",
    "train store run --batch 5": "--batch: diffrect train has no such option; did you mean "
    "--batch-labelled? HELP",
    "train store run --Seed 5": "--Seed: diffrect train has no such option; did you mean --seed? "
    "HELP",
    "train store run -seed 5": "-seed: diffrect train has no such option; did you mean --seed? "
    "HELP",
    "train store run \u2014seed 5": "\u2014seed: diffrect train has no such option; did you mean "
    "--seed? HELP",
    "train store run ---seed 5": "---seed: diffrect train has no such option; did you mean "
    "--seed? HELP",
    "train store run --rate 5": "--rate: diffrect train has no such option; did you mean "
    "--learning-rate? HELP",
    "train store run --size": "--size: expected a value, got none; HELP",
    "train store run --size --quiet": "--size: expected a value, got none; HELP",
    "train store run --size big": "--size: expected a whole number, got 'big'; HELP",
    "train store run --size 64.0": "--size: expected a whole number, got '64.0'; HELP",
    "train store run --size=": "--size: expected a whole number, got ''; HELP",
    "train store run --size 0": "--size: expected at least 2, got 0",
    "train store run --learning-rate 1,5": "--learning-rate: expected a number, got '1,5'; HELP",
    "train store run --learning-rate -1": "--learning-rate: expected a positive number up to "
    "1e+06, got -1.0",
    "train store run --preset refrence": "--preset: expected one of default, reference, got "
    "'refrence'; did you mean reference? HELP",
    "train store run --resume=yes": "--resume: expected no value, it is on if it is there, got "
    "'yes'; HELP",
    "train store run --resume yes": "yes: expected no more than diffrect train STORE RUN; HELP",
    "train store run --crop 64": "--crop: expected --spacing with it, got none",
    "train store run --option": "--option: expected a value, got none; HELP",
    "train store run --option confidence": "--option confidence: expected NAME=VALUE",
    "train store run --logger tensorbord": "--logger tensorbord: expected one of tensorboard, csv, "
    "png, mlflow, wandb, none, or package.module:Class(...)",
    "train store run --config none.yaml": "none.yaml: expected a readable YAML file, found no "
    "such file",
    "prepare source --overwrite": "STORE: expected a path, got none; the command is diffrect "
    "prepare SOURCE STORE, HELP",
    "prepare source store --window 40": "--window: expected 2 values, LEVEL WIDTH, got '40'; HELP",
    "prepare source store --window 40,400": "--window: expected 2 values, LEVEL WIDTH, got "
    "'40,400'; HELP",
    "prepare source store --window 40 wide": "--window: expected a number, got 'wide'; HELP",
    "prepare source store --formatt acdc": "--formatt: diffrect prepare has no such option; did "
    "you mean --format? HELP",
    "prepare source store --axis axail": "--axis: expected one of layout, auto, 0, 1, 2, axial, "
    "coronal, sagittal, got 'axail'; did you mean axial? HELP",
    "inspect": "PATH: expected a path, got none; the command is diffrect inspect PATH, HELP",
    "inspect a b": "b: expected no more than diffrect inspect PATH; HELP",
    "inspect a --jsn": "--jsn: diffrect inspect has no such option; did you mean --json? HELP",
    "evaluate run --split valid": "--split: expected one of val, test, all, got 'valid'; did you "
    "mean val? HELP",
    "evaluate run --checkpoint 300": "--checkpoint: expected one of best, last, student, average, "
    "got '300'; HELP",
    "evaluate run --store=": "--store: expected a path, got ''; HELP",
    "predict run out": "INPUT: expected at least one image file or folder, got none",
    "predict run -1 a.nii": "-1: diffrect predict has no such option; write ./-1 for a path that "
    "begins with a dash, HELP",
    "predict run out a.nii --channel one": "--channel: expected a whole number, got 'one'; HELP",
    "export run": "MODEL: expected a path, got none; the command is diffrect export RUN "
    "MODEL, HELP",
    "compare store cells --seed 1": "--seed: diffrect compare has no such option; did you mean "
    "--seeds? HELP",
    "compare store cells --method ict": "--method: diffrect compare has no such option; did you "
    "mean --methods? HELP",
    "compare store cells --split both": "--split: expected one of val, test, got 'both'; HELP",
    "compare store": "compare: expected STORE and FOLDER, got store",
    "demo a b": "b: expected no more than diffrect demo FOLDER; HELP",
    "demo --iterations 5": "--iterations: diffrect demo has no such option; HELP",
}


def told(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a wrong command line is refused with, after "diffrect: error: "."""
    assert cli.main(line) == 2, line
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"diffrect: error: [^\n]+\n", err), (line, err)
    message = err.removeprefix("diffrect: error: ").rstrip("\n")
    words = "".join(word for word in re.split(r"'[^']*'", message))  # quoted is what was typed
    assert not JARGON.search(words), message
    assert message.isprintable()
    return message


@pytest.mark.parametrize("typed", TYPED, ids=lambda typed: typed or "nothing")
def test_a_wrong_line_is_explained(
    typed: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = TYPED[typed].replace("ALL", ", ".join(COMMANDS))
    help_hint = f"see diffrect {typed.split()[0]} --help" if typed else ""
    assert told(typed.split(), capsys) == expected.replace("HELP", help_hint)
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_messages_says_what_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = re.findall(r"^\| `diffrect (.*)` \| `(.*)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) >= 15
    monkeypatch.chdir(tmp_path)
    for typed, message in rows:
        assert told(typed.split(), capsys) == message.replace("COMMANDS", ", ".join(COMMANDS))


def wrong_values(argument: Argument) -> Iterator[tuple[str, ...]]:
    """Ways to write an option wrongly."""
    flag = argument.label
    if argument.number == 0:
        yield (f"{flag}=true",)
        yield (f"{flag}=",)
        return
    yield (flag,)
    yield (flag, "--quiet")
    if argument.kind in (int, float):
        numbers = ("many", "", "1;2", "0x10", "--", "1 2", "\u00b2", "9" * 5000 + "x")
        yield from ((flag, *[value] * (argument.number or 1)) for value in numbers)
    elif argument.choices:
        yield from ((flag, value) for value in ("", "nonsense", argument.choices[0].upper()))


def misspelt(argument: Argument) -> Iterator[str]:
    """Other spellings of an option, each of which is to be told from it."""
    name = argument.label.removeprefix("--")
    yield from (f"-{name}", f"\u2013{name}", f"--{name}x", f"--{name.upper()}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_typed_wrong(
    command: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = arguments_of(COMMANDS[command])
    places = [each.label for each in arguments if each.place]
    help_hint = f"see diffrect {command} --help"
    lines = 0
    for option in (each for each in arguments if not each.place):
        for given in wrong_values(option):
            message = told([command, *places, *given], capsys)
            assert message.startswith(f"{option.label}: expected ")
            assert message.endswith(help_hint)
            lines += 1
        for name in misspelt(option):
            message = told([command, *places, name, "1"], capsys)
            assert message.startswith(f"{name}: diffrect {command} has no such option; ")
            assert message.endswith(f"did you mean {option.label}? {help_hint}")
            lines += 1
    own = {each.label for each in arguments}
    foreign = {each.label for kind in COMMANDS.values() for each in arguments_of(kind)} - own
    flags = sorted(name for name in foreign if name.startswith("--"))
    for name in (*flags, "-v", "-x1", "--\u00e4\u00f6\u00fc", "--%s", "-9", "--" + "x" * 900):
        message = told([command, *places, name], capsys)
        assert message.endswith(help_hint)
        lines += 1
    assert lines >= 30
    assert list(tmp_path.iterdir()) == []


def test_an_empty_or_a_missing_path_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for command, kind in COMMANDS.items():
        places = [each for each in arguments_of(kind) if each.place]
        for number, place in enumerate(places):
            if place.kind is not Path:
                continue
            before = [each.label for each in places[:number]]
            empty = told([command, *before, ""], capsys)
            assert empty.startswith(f"{place.label}: expected a path, got ''; see diffrect")
            if place.required and place.number is not None:
                missing = told([command, *before], capsys)
                assert missing.startswith(f"{place.label}: expected a path, got none; the command")


def test_the_nearest_name() -> None:
    names = ["--size", "--spacing", "--batch-labelled", "--quiet"]
    assert nearest("--SIZE", names) == "--size"
    assert nearest("--labelled", names) == "--batch-labelled"
    assert nearest("--zzz", names) is None
    assert nearest("-", names) is None
    assert nearest("--" + "size" * 20_000, names) is None  # at once: nobody's slip is so long


def test_ways_to_write_the_same() -> None:
    expected = cli.parse(["prepare", "A", "B", "--trust-image-geometry", "--window", "40", "400"])
    for same in (
        "prepare --trust-image-geometry A --window 40 400 B",
        "prepare --trust_image_geometry --window=40 400 -- A B",
        "prepare --window 1 2 A B --window 40 400 --trust-image-geometry",
    ):
        assert cli.parse(same.split()) == expected
    assert cli.parse(["demo", "--", "--quiet"]).folder == Path("--quiet")
    assert cli.parse(["train", "A", "B", "--seed=5", "--labelled", "-1"]).settings.labelled == "-1"
    with pytest.raises(SystemExit):
        cli.parse(["train", "A", "--help"])
