"""Models as safetensors: the labels of the run, a card, and one line about a hostile file."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save

import diffrect
from diffrect.cli import main as cli
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.model import Model
from diffrect.inference.model_file import KEY, model_bytes, read_model_file
from diffrect.inference.predict import predict
from diffrect.json_files import write_json
from diffrect.runs.folds import FOLDS_FILE, fold_folder, split_file


@pytest.fixture(scope="module")
def scored(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_run`` with scores of its test patients."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("scored") / "run"))
    evaluate(run, split="test", progress=False)
    return run


@pytest.fixture(scope="module")
def file(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffrect.export(
        scored, tmp_path_factory.mktemp("models") / "heart.safetensors", licence="CC-BY-4.0"
    )


def test_its_labels_are_those_of_the_run(
    tiny_run: Path, file: Path, acdc_folder: Path, tmp_path: Path
) -> None:
    image = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    (ours,) = predict(tiny_run, tmp_path / "run", [image], probabilities=True, progress=False)
    out = tmp_path / "file"
    command = ["predict", str(file), str(out), str(image), "--probabilities", "--quiet"]
    assert cli.main(command) == 0
    for name in (ours.name, ours.name.replace(".nii", "_probabilities.nii")):
        assert (ours.parent / name).read_bytes() == (out / name).read_bytes()


def test_it_remembers_the_model(tiny_run: Path, file: Path) -> None:
    ours, theirs = Model.load(tiny_run, device="cpu"), Model.load(file, device="cpu")
    assert (theirs.task, theirs.config, theirs.step) == (ours.task, ours.config, ours.step)
    assert theirs.interpolation == ours.interpolation
    assert theirs.code == ours.code
    assert theirs.code["diffrect"] == diffrect.__version__
    mine, other = ours.network.state_dict(), theirs.network.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_any_program_reads_the_weights(file: Path) -> None:
    with safe_open(file, "numpy") as content:
        assert set(content.metadata()) == {"diffrect", "model_card", "format"}
        assert content.get_tensor("decoder.head.weight").shape[0] == 4


def test_the_same_run_makes_the_same_file(scored: Path, file: Path, tmp_path: Path) -> None:
    again = diffrect.export(scored, tmp_path / file.name, licence="CC-BY-4.0")
    assert again.read_bytes() == file.read_bytes()


def test_the_card(scored: Path, file: Path) -> None:
    card = file.with_suffix(".md").read_text("utf-8")
    assert read_model_file(file).card == card
    _, head, text = card.split("---\n", 2)
    facts = yaml.safe_load(head)
    assert facts["license"] == "CC-BY-4.0"
    assert facts["datasets"] == [Path(diffrect.Store(link(scored)).source).name]
    assert "supervised" in facts["tags"]
    for words in (
        "diffrect predict heart.safetensors labels scans",
        "1 labelled patient, 2 unlabelled, 1 to choose a checkpoint by, 1 to test",
        "| method | supervised |",
        "| seed | 1337 |",
        f"| diffrect | {diffrect.__version__} |",
        "Test patients (2 cases)",
        "| left ventricle |",
        "no medical device",
        "The weights: CC-BY-4.0.",
    ):
        assert words in text, words
    assert "patient028" not in card


def link(run: Path) -> str:
    return (run / "store.txt").read_text().strip()


def test_it_says_nothing_of_the_machine(scored: Path, file: Path) -> None:
    for path in (scored, Path(link(scored)), Path.home() / "x"):
        assert str(path.parent).encode() not in file.read_bytes()


def test_a_card_without_the_rest_of_the_run(tiny_run: Path, tmp_path: Path) -> None:
    best = tmp_path / "run" / "checkpoints" / "best.pt"
    best.parent.mkdir(parents=True)
    shutil.copy(tiny_run / "checkpoints" / "best.pt", best)
    file = diffrect.export(tmp_path / "run", tmp_path / "m.safetensors")
    card = file.with_suffix(".md").read_text("utf-8")
    assert "license: unknown" in card
    assert "| patients | not recorded |" in card
    assert "Not scored" in card
    assert "datasets" not in card


def test_scores_of_another_checkpoint_are_left_out(scored: Path, tmp_path: Path) -> None:
    file = diffrect.export(scored, tmp_path / "m.safetensors", checkpoint="last")
    assert "Not scored" in file.with_suffix(".md").read_text("utf-8")


def test_a_cross_validation_is_one_file(tiny_run: Path, acdc_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for fold in (1, 2):
        shutil.copytree(tiny_run, fold_folder(run, fold))
        shutil.copy(tiny_run / "split.json", split_file(run, fold))
    best = fold_folder(run, 2) / "checkpoints" / "best.pt"
    state = torch.load(best, weights_only=True)
    state["predictor"]["decoder.head.bias"] += torch.tensor([0.0, 0.4, 0.2, 0.1])
    torch.save(state, best)
    write_json(run / FOLDS_FILE, {"format": 1, "folds": [["a"], ["b"]], "finished": True})
    file = diffrect.export(run, tmp_path / "m.safetensors")
    image = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    assert np.array_equal(Model.load(file).predict(image), Model.load(run).predict(image))
    assert {name.split(".")[1] for name in load_file(file)} == {"0", "1"}
    assert "2 networks of a cross-validation of 5 patients" in file.with_suffix(".md").read_text()


def test_the_command(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.safetensors"
    command = ["export", str(tiny_run), str(file), "--licence", "MIT"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert f"{file}: written, its card is {tmp_path / 'm.md'}\n" in said
    assert said.endswith(f"next: diffrect predict {file} OUT IMAGE...\n")
    assert cli.main(command) == 2
    assert "m.safetensors: exists already; --overwrite replaces it" in capsys.readouterr().err
    file.unlink()
    assert cli.main(command) == 2  # a card that somebody has perhaps edited
    assert "m.md: exists already; --overwrite replaces it" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0
    assert cli.main(["inspect", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"{file}: a model made by export\n" in said
    assert "left ventricle" in said
    assert said.endswith(f"next: diffrect predict {file} OUT IMAGE...\n")
    onnx = ["export", str(tiny_run), str(tmp_path / "m.onnx"), "--licence", "MIT"]
    assert cli.main(onnx) == 2
    assert "--licence: expected a file that has a card, .safetensors" in capsys.readouterr().err


def test_a_file_is_no_run(
    file: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (file, exported):
        said = f"{given}: expected a run made by train, found a model made by export"
        assert cli.main(["evaluate", str(given)]) == 2
        assert capsys.readouterr().err == f"diffrect: error: {said}\n"
        assert cli.main(["export", str(given), str(tmp_path / "m.safetensors")]) == 2
        assert capsys.readouterr().err == f"diffrect: error: {said}; copy the file and its card\n"
    assert list(tmp_path.iterdir()) == []


# ---- hostile files -----------------------------------------------------------------------------


def with_facts(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Change what the file says of its model; its weights keep their checksum."""

    def changed(content: bytes) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        facts = json.loads(header["__metadata__"][KEY])
        change(facts)
        header["__metadata__"][KEY] = json.dumps(facts)
        return with_header(json.dumps(header), content[8 + length :])

    return changed


def with_header(header: str, data: bytes = b"") -> bytes:
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data


def without_metadata(content: bytes) -> bytes:
    return save({"a": torch.zeros(3)})


def flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def out_of_bounds(content: bytes) -> bytes:
    """A tensor that ends beyond the file, of a file that is otherwise right."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["decoder.head.bias"]["data_offsets"][1] += 2**40
    return with_header(json.dumps(header), content[8 + length :])


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "expected a model made by export, found no header"),
    "text": (lambda _: b"not a model at all", "found no header of a safetensors file"),
    "cut": (lambda content: content[:3000], "found no header of a safetensors file"),
    "cut later": (lambda content: content[:-100], "its weights have changed"),
    "a pickle": (lambda _: b"\x80\x02}q\x00.", "found no header"),
    "huge header": (lambda c: (2**62).to_bytes(8, "little") + c[8:], "found no header"),
    "no JSON": (lambda _: with_header("{'a"), "expected a model made by export: "),
    "no object": (lambda _: with_header("[1, 2]"), "expected names with values"),
    "a name twice": (lambda _: with_header('{"a": 1, "a": 2}'), "'a' is there twice"),
    "deep": (lambda _: with_header("[" * 10**5), "more than 64 levels"),
    "metadata of numbers": (lambda _: with_header('{"__metadata__": 3}'), "names with values"),
    "of another program": (without_metadata, "found a safetensors file of something else"),
    "flipped": (flipped, "expected a model as export wrote it, its weights have changed"),
    "out of bounds": (out_of_bounds, "expected a model made by export: "),
    "a later version": (
        with_facts(lambda f: f.update(format=99)),
        "expected a model of format 1, got 99; read it with the version",
    ),
    "another shape": (
        with_facts(lambda f: f["network"].update(widths=[32, 32, 64, 128, 256])),
        "expected weights that fit its network, encoder.blocks.0.* of shape",
    ),
    "a huge network": (
        with_facts(lambda f: f["network"].update(widths=[4096] * 5)),
        "expected weights that fit its network",
    ),
    "widths beyond": (
        with_facts(lambda f: f["network"].update(widths=[10**9] * 5)),
        "5 numbers from 1 to 4096 under 'network.widths'",
    ),
    "parts of a channel": (
        with_facts(lambda f: f["network"].update(widths=[16.5, 32, 64, 128, 256])),
        "whole numbers under 'network.widths'",
    ),
    "an unknown network": (
        with_facts(lambda f: f["network"].update(kind="os.system")),
        "a kind of network that is known, .* under 'network.kind'",
    ),
    "networks in networks": (
        with_facts(lambda f: f.update(network={"kind": "mean", "networks": [{"kind": "mean"}]})),
        "1 to 100 networks under 'network.networks'",
    ),
    "other classes": (
        with_facts(lambda f: f["task"].update(classes=["a", "b"])),
        "expected a network of 2 classes, as its task, found 4",
    ),
    "steering classes": (
        with_facts(lambda f: f["task"].update(classes=["a", "b\x1b[2J"])),
        "names that can be shown under 'classes'",
    ),
    "no configuration": (with_facts(lambda f: f.pop("config")), "a value under 'config'"),
    "another configuration": (with_facts(lambda f: f["config"].update(sizes=3)), "sizes"),
    "a method to import": (
        with_facts(lambda f: f.update(network=None, config={**f["config"], "method": "hostile:M"})),
        "hostile",
    ),
    "a wrong interpolation": (
        with_facts(lambda f: f["config"]["options"].update(interpolation="os")),
        "interpolation",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_a_line(file: Path, tmp_path: Path, name: str) -> None:
    spoil, message = HOSTILE[name]
    spoilt = tmp_path / "m.safetensors"
    spoilt.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError, match=rf"m\.safetensors: .*{message}") as caught:
        Model.load(spoilt)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_are_finite(file: Path, tmp_path: Path, value: float) -> None:
    state = read_model_file(file).state
    weights = {**state.predictor, "decoder.head.bias": torch.full((4,), value)}
    spoilt = tmp_path / "m.safetensors"
    spoilt.write_bytes(model_bytes(replace(state, predictor=weights), ""))
    with pytest.raises(InputError, match=r"expected finite weights, decoder\.head\.bias is not"):
        Model.load(spoilt)


def test_the_command_line_refuses_in_a_line(
    tmp_path: Path, acdc_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = tmp_path / "m.safetensors"
    image = str(acdc_folder / "patient028" / "patient028_frame01.nii.gz")
    command = ["predict", str(spoilt), str(tmp_path / "out"), image]
    assert cli.main(command) == 2
    assert capsys.readouterr().err == (
        f"diffrect: error: {spoilt}: expected a model made by export, found no such file\n"
    )
    spoilt.write_text("text")
    for arguments in (command, ["inspect", str(spoilt)]):
        code = cli.main(arguments)
        said = capsys.readouterr()
        assert code == (1 if arguments[0] == "inspect" else 2)
        assert re.search(r"m\.safetensors: expected a model made by export, found no h", str(said))
    assert not (tmp_path / "out").exists()
