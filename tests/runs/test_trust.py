"""Hostile files: nothing that is read runs code, leaves its folder or writes on the screen."""

import contextlib
import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import urllib.error
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from rich.console import Console

import audit
from diffrect.cli import main as cli
from diffrect.config import read_config
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.evaluation.scores_table import print_scores
from diffrect.imaging.read import read_image
from diffrect.inference.reference import load_reference_checkpoint
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from support.tiny import write_dataset_json, write_decathlon, write_ssl4mis


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("archive", "resume"),
        ("archive", "predict"),
        *[(kind, "evaluate") for kind in ("archive", "entry", "bare pickle", "old format")],
    ],
)
def test_hostile_checkpoints_are_refused_by_name(
    store: Store,
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    command: str,
) -> None:
    written = tmp_path / "written"
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    path = checkpoint_path(run, "last" if command == "resume" else "best")
    state = load_checkpoint(path)
    content = io.BytesIO()
    if kind == "bare pickle":
        pickle.dump(Hostile(written), content)
    else:
        bad = {**state, "extra": Hostile(written)} if kind == "entry" else Hostile(written)
        torch.save(bad, content, _use_new_zipfile_serialization=kind != "old format")
    path.write_bytes(content.getvalue())
    arguments = {
        "evaluate": ["evaluate", str(run)],
        "resume": ["train", str(store.path), str(run), "--resume"],
        "predict": ["predict", str(run), str(tmp_path / "out"), str(_image(tmp_path))],
    }
    assert cli.main(arguments[command]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"diffrect: error: {path}: expected a checkpoint of tensors and plain")
    assert err.count("\n") == 1
    if kind in ("archive", "entry"):
        assert f"{os.system.__module__}.system" in err
    assert not written.exists()
    with contextlib.suppress(RuntimeError):  # a bare pickle does its harm, and is no checkpoint
        torch.load(path, weights_only=False)
    assert written.exists()


@pytest.mark.parametrize("kind", ["compressed", "one for many"])
def test_checkpoints_do_not_unfold(tiny_run: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "best.pt"
    content = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))
        if kind == "one for many":
            archive.filelist += 100 * archive.filelist
    file.write_bytes(content.getvalue())
    with pytest.raises(InputError, match=r"best\.pt: expected a checkpoint as it was written"):
        load_checkpoint(file)


@pytest.mark.parametrize(
    ("entry", "change", "reason"),
    [
        (
            "task",
            {"channels": 10**9},
            "a whole number from 1 to 1024 under 'channels', got 1000000000",
        ),
        ("task", {"channels": "x"}, "a whole number from 1 to 1024 under 'channels', got 'x'"),
        ("task", {"classes": ["a"] * 10**5}, "2 to 255 names that differ under 'classes'"),
        ("task", {"classes": ["background", "\x1b[2J"]}, "names that can be shown under 'classes'"),
        ("task", {"axis": "../.."}, "--axis: expected one of"),
        ("config", [], "names with values under 'config', got \\[\\]"),
        ("predictor", float("nan"), "finite weights, .* is not; try --checkpoint last"),
        ("predictor", 1j, "weights that fit its configuration"),
    ],
)
def test_checkpoints_of_other_values(
    tiny_run: Path, tmp_path: Path, entry: str, change: Any, reason: str
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    state = load_checkpoint(checkpoint_path(run, "best"))
    if entry == "predictor":
        first = next(iter(state["predictor"]))
        state["predictor"][first] = state["predictor"][first] * change
    else:
        state[entry] = {**state[entry], **change} if change else change
    torch.save(state, checkpoint_path(run, "best"))
    with pytest.raises(InputError, match=rf"best\.pt: expected .*{reason}"):
        evaluate(run, progress=False)


@pytest.mark.parametrize("described", [True, False])
def test_a_checkpoint_imports_nothing_from_the_current_folder(
    tiny_run: Path, tmp_path: Path, described: bool
) -> None:
    """A network that is described needs no class of the method; of another there is a line."""
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    state = load_checkpoint(checkpoint_path(run, "best"))
    state["config"]["method"] = "hostile:Method"
    torch.save(state if described else {**state, "network": None}, checkpoint_path(run, "best"))
    (tmp_path / "hostile.py").write_text("open('written', 'w')\n")
    command = [sys.executable, "-m", "diffrect", "evaluate", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if described:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert "names the method hostile:Method, whose code is run only if" in done.stderr
    assert not (tmp_path / "written").exists()


def _image(folder: Path) -> Path:
    from support.tiny import scan, write_nifti

    return write_nifti(folder / "a.nii.gz", scan((20, 20, 2), 4, seed=1)[0])


def test_hostile_checkpoints_of_the_authors_code_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "written")}, tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"model\.pth: expected a checkpoint of the reference"):
        load_reference_checkpoint(tmp_path / "model.pth")
    assert not (tmp_path / "written").exists()


def test_configurations_are_plain_values(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"size: !!python/object/apply:os.system ['touch {tmp_path}/written']\n")
    with pytest.raises(InputError, match=r"c\.yaml: expected a readable YAML file"):
        read_config(file)
    option = f"blur_sigma=!!python/object/apply:os.system ['touch {tmp_path}/written']"
    with pytest.raises(InputError, match="expected a plain value"):
        cli.parse(["train", "a", "b", "--option", option])
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("name", ["../secret.nii.gz", "a/../../secret.nii.gz", "..\\secret.nii.gz"])
def test_data_sets_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    folder = write_decathlon(tmp_path / "data", labelled=2, unlabelled=0)
    shutil.copy(folder / "imagesTr" / "part_000.nii.gz", tmp_path / "secret.nii.gz")
    write_dataset_json(folder, [{"image": name}])
    with pytest.raises(InputError, match=r"dataset\.json: expected paths inside its folder"):
        prepare(folder, tmp_path / "store", progress=False)


@pytest.mark.parametrize("place", ["{folder}/raw", "../raw", "a/../../raw", "LIST\n../raw"])
@pytest.mark.parametrize("suffix", ["mhd", "mha", "nhdr", "nrrd"])
def test_headers_do_not_read_files_elsewhere(tmp_path: Path, suffix: str, place: str) -> None:
    (tmp_path / "raw").write_bytes(bytes(range(64)))
    (tmp_path / "in").mkdir()
    named = place.format(folder=tmp_path)
    meta = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
    meta += f"ElementDataFile = {named}\n"
    nrrd = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: {named}\n"
    file = tmp_path / "in" / f"a.{suffix}"
    file.write_text(meta if suffix.startswith("m") else nrrd)
    with pytest.raises(InputError, match=rf"a\.{suffix}: expected its voxels in a file of its f"):
        read_image(file)
    if "LIST" not in place:  # beside the header they are read
        shutil.copy(tmp_path / "raw", file.with_name("raw"))
        file.write_text(file.read_text().replace(named, "raw"))
        assert read_image(file).array.sum() == sum(range(64))


@pytest.mark.parametrize("kind", ["link", "soft link", "raw file", "virtual"])
def test_hdf5_files_do_not_read_others(tmp_path: Path, kind: str) -> None:
    folder = write_ssl4mis(tmp_path / "data")
    file = folder / "data" / "patient028_frame01.h5"
    other = shutil.copy(file, tmp_path / "other.h5")
    with h5py.File(file, "a") as content:
        shape = content["image"].shape
        del content["image"]
        if kind == "link":
            content["image"] = h5py.ExternalLink(str(other), "/image")
        elif kind == "soft link":
            content["image"] = h5py.SoftLink("/label")
        elif kind == "raw file":
            (tmp_path / "raw").write_bytes(np.ones(shape, np.float32).tobytes())
            size = 4 * int(np.prod(shape))
            raw = [(str(tmp_path / "raw"), 0, size)]
            content.create_dataset("image", shape, np.float32, external=raw)
        else:
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[...] = h5py.VirtualSource(str(other), "image", shape=shape)
            content.create_virtual_dataset("image", layout)
    with pytest.raises(
        InputError, match=r"frame01\.h5: .* image is not an array in the file itself"
    ):
        prepare(folder, tmp_path / "store", progress=False)


def test_names_steer_neither_table_nor_terminal(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    found = evaluate(run, progress=False)
    scores = next(iter(found.classes.values()))
    result = replace(
        found,
        classes={"[red]not red[/]": scores, "[/]": scores},
        missing_patients=["[bold]x[/bold]", "[/oops]"],
    )
    output = io.StringIO()
    print_scores(result, Console(file=output, width=200))
    for name in (*result.classes, *result.missing_patients):
        assert name in output.getvalue()
    assert cli.main(["evaluate", "a\x1b[2Jb\r\nc"]) == 2
    assert capsys.readouterr().err.startswith(r"diffrect: error: a\x1b[2Jb")


def test_class_names_can_be_shown(tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path / "data", labelled=2, unlabelled=0)
    labels = {"0": "background", "1": "a\x1b[2J"}
    write_dataset_json(folder, ["imagesTr/part_000.nii.gz"], labels=labels)
    with pytest.raises(InputError, match="expected class names that can be shown"):
        prepare(folder, tmp_path / "store", progress=False)


def test_a_link_laid_in_the_way_is_not_followed(tmp_path: Path) -> None:
    from diffrect.atomic import write_atomic

    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.json").symlink_to(victim)
    write_atomic(tmp_path / "a.json", "{}")
    assert victim.read_text() == "precious"


def answer(content: Any) -> Any:
    return lambda *_, **__: io.BytesIO(json.dumps(content).encode())


def test_audit_reports_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pinned\ntorch==2.8.0\nnumpy==2.4.6\n")
    known = {"results": [{"vulns": [{"id": "GHSA-1"}]}, {}]}
    monkeypatch.setattr(audit, "urlopen", answer(known))
    assert audit.main([str(pins)]) == 1
    assert capsys.readouterr().out == "torch 2.8.0: GHSA-1, see https://osv.dev/GHSA-1\n"
    monkeypatch.setattr(audit, "urlopen", answer({"results": [{}, {}]}))
    assert audit.main([str(pins)]) == 0
    assert "2 packages, no known vulnerability" in capsys.readouterr().out


def test_audit_says_when_it_cannot_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError(OSError(errno.ENETUNREACH, "Network is unreachable"))

    (tmp_path / "c.txt").write_text("numpy==2.4.6\n")
    monkeypatch.setattr(audit, "urlopen", unreachable)
    assert audit.main([str(tmp_path / "c.txt")]) == 0
    assert "NOT AUDITED: the advisories cannot be reached" in capsys.readouterr().out
