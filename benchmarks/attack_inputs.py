"""Spoiled inputs of every format: scans, texts, stores and checkpoints, each with its command.

An attack writes its input into a folder and returns an `Attempt`. Which input it is follows from
the generator that it is given, so the same seed and number make the same input again.
"""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from attack_fixtures import TRAINING, Files, Fixtures, copy_tree
from attack_mutations import spoil_bytes, spoil_text, spoil_tree
from attack_oracles import disagreement, expected
from attack_sandbox import run_command
from crash_ends import run_differences
from diffrect.cli import main as cli
from diffrect.cli.compare import Compare
from diffrect.cli.predict import Predict
from diffrect.cli.prepare import Prepare
from diffrect.cli.train import Train
from diffrect.data.case import image_slices
from diffrect.data.inspection import inspect
from diffrect.data.source_options import SourceOptions
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.slicing import choose_slicing
from support.mutations import mutated
from support.nonsense import spoilt_state


def fine(place: Path) -> list[str]:
    """Find nothing wrong."""
    return []


@dataclass
class Attempt:
    """An input that lies in a folder, and the command to give it to.

    Attributes:
        what: what was spoiled.
        work: the command; it runs in the folder and returns an exit code.
        outputs: names in the folder that the command may make.
        check: what is wrong although the command is done, see `Outcome.faults`.
        kept: outputs that may stay when the command is refused, because a repetition resumes.
    """

    what: str
    work: Callable[[], int]
    outputs: tuple[str, ...] = ("out",)
    check: Callable[[Path], list[str]] = fine
    kept: tuple[str, ...] = ()


Attack = Callable[[Fixtures, Path, random.Random], Attempt]


def command(parsed: Any) -> Callable[[], int]:
    """Return the work of a command that is parsed."""
    return lambda: run_command(parsed)


def arguments(*given: str) -> Callable[[], int]:
    """Return the work of a command line."""
    return lambda: cli.main(list(given))


# ---- scans -----------------------------------------------------------------------------------


@dataclass
class Read:
    """Read a scan as `prepare` and `predict` do, cut it, and keep its array in `out`."""

    path: Path
    label: bool = False

    def __call__(self) -> None:
        """Read and keep."""
        volume = read_label(self.path) if self.label else read_image(self.path)
        for policy in () if self.label else ("2", "auto"):
            try:
                slices = image_slices(volume, slicing=choose_slicing(volume, policy))
            except InputError:
                continue
            assert slices.min() >= 0, "slices below 0"
            assert slices.max() <= 1, "slices above 1"
        np.save("out", volume.array, allow_pickle=False)


def scan(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a scan of any format."""
    name = draw.choice(sorted(fixtures.scans))
    original = fixtures.scans[name]
    files, what = spoil_scan(name, original, draw)
    write_files(place / "in", files)
    path = Path("in") / name
    if draw.random() < 0.15:
        out = Path("out")
        work = command(
            Predict(
                fixtures.run,
                out,
                (path,),
                device="cpu",
                quiet=True,
                format=draw.choice(("nifti", "same")),
            )
        )
        return Attempt(f"predict: {what}", work)
    label = "label" in name or draw.random() < 0.1
    wanted = expected(name, files, original)

    def check(folder: Path) -> list[str]:
        array = np.load(folder / "out.npy")
        wrong = disagreement(array, wanted)
        return [wrong] if wrong else []

    return Attempt(what, command(Read(path, label)), ("out.npy",), check)


def spoil_scan(name: str, original: Files, draw: random.Random) -> tuple[Files, str]:
    """Return the files of a scan with one of them spoiled, and what was done."""
    victim = draw.choice(sorted(original))
    content = original[victim]
    files = dict(original)
    if victim.startswith("sample-") and draw.random() < 0.6:
        files[victim] = mutated(victim, content, draw)
        return files, f"fields of {victim}"
    if victim.endswith(".gz") and draw.random() < 0.6:
        inner = spoil_bytes(gzip.decompress(content), draw, 352)
        files[victim] = gzip.compress(inner, 1, mtime=0)
        return files, f"inside {victim}"
    head, blank, voxels = split_header(victim, content)
    if head and draw.random() < 0.7:
        text = spoil_text(head.decode("latin-1"), draw).encode("utf-8", "surrogatepass")
        files[victim] = text + blank + voxels
        return files, f"header of {victim}"
    files[victim] = spoil_bytes(content, draw)
    return files, f"bytes of {victim}"


def split_header(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the text before the voxels of a NRRD or MetaImage file, what ends it, and the rest."""
    if name.endswith((".nrrd", ".nhdr")):
        return content.partition(b"\n\n")
    if name.endswith((".mha", ".mhd")):
        head, mark, rest = content.partition(b"ElementDataFile = ")
        value, end, voxels = rest.partition(b"\n")
        return head + mark + value, end, voxels
    return b"", b"", content


def write_files(folder: Path, files: Files) -> None:
    """Write files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


# ---- data sets -------------------------------------------------------------------------------


def decathlon(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil dataset.json, or a file that it names."""
    source = copy_tree(fixtures.decathlon, place / "in")
    file = source / "dataset.json"
    if draw.random() < 0.8:
        spoil_json(file, draw)
    else:
        file = draw.choice(sorted(source.rglob("*.nii.gz")))
        file.write_bytes(spoil_bytes(file.read_bytes(), draw))
    return prepared(Path("in"), "decathlon", f"{file.name} of a decathlon")


def acdc(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil Info.cfg."""
    source = copy_tree(fixtures.acdc, place / "in")
    file = draw.choice(sorted(source.rglob("Info.cfg")))
    file.write_bytes(spoil_text(file.read_text(), draw).encode("utf-8", "surrogatepass"))
    return prepared(Path("in"), "acdc", "Info.cfg")


def ssl4mis(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil an HDF5 file or a list."""
    source = copy_tree(fixtures.ssl4mis, place / "in")
    file = draw.choice(sorted(source.rglob("*.*")))
    if file.suffix == ".list":
        file.write_bytes(spoil_text(file.read_text(), draw).encode("utf-8", "surrogatepass"))
    else:
        file.write_bytes(spoil_bytes(file.read_bytes(), draw, 2048))
    return prepared(Path("in"), "ssl4mis", f"{file.name} of SSL4MIS")


def tables(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil the list of cases or the names of classes of a folder."""
    source = place / "in"
    for name, kind in (("images", "imagesTr"), ("labels", "labelsTr")):
        copy_tree(fixtures.decathlon / kind, source / name)
    cases = "image,label,patient,split\n" + "".join(
        f"images/part_00{n}.nii.gz,labels/part_00{n}.nii.gz,p{n},{split}\n"
        for n, split in enumerate(("train", "train", "val", "test"))
    )
    texts = {
        "table.csv": cases,
        "classes.csv": "code,name\n1,Anterior\n2,Posterior\n",
        "classes.yaml": "0: background\n1: Anterior\n2: Posterior\n",
        "labels.txt": '1  255 0 0  1 1 1  "Anterior"\n2  0 255 0  1 1 1  "Posterior"\n',
    }
    name = draw.choice(sorted(texts))
    spoiled = spoil_text(texts[name], draw).encode("utf-8", "surrogatepass")
    if draw.random() < 0.3:
        spoiled = spoil_bytes(texts[name].encode(), draw)
    (source / name).write_bytes(spoiled)
    path = Path("in") / name
    options = SourceOptions(table=path) if name == "table.csv" else SourceOptions(classes=path)
    return prepared(Path("in"), "folder", name, options)


def prepared(source: Path, format: Any, what: str, options: SourceOptions | None = None) -> Attempt:
    """Prepare or inspect a data set; a store that comes out is whole."""
    parsed = Prepare(
        source,
        Path("out"),
        format=format,
        workers=1,
        quiet=True,
        options=options or SourceOptions(),
    )

    def check(place: Path) -> list[str]:
        store = Store(place / "out")
        for case in store.cases:
            store.image(case, 0)
        return []

    return Attempt(what, command(parsed), ("out",), check, kept=("out",))


# ---- settings --------------------------------------------------------------------------------


def split_file(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a split file, of our own form or of nnU-Net's."""
    split = json.loads((fixtures.run / "split.json").read_text())
    content = [split, split] if draw.random() < 0.3 else split
    write_files(place / "in", {"split.json": json.dumps(content).encode()})
    spoil_json(place / "in" / "split.json", draw)
    settings = replace(TRAINING, iterations=1, labelled=None, split_file=Path("in/split.json"))
    parsed = Train(fixtures.store, Path("out"), settings, quiet=True)
    return Attempt("split.json", command(parsed))


def configuration(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil config.yaml."""
    text = (fixtures.run / "config.yaml").read_text().replace("iterations: 2", "iterations: 1")
    write_files(place / "in", {"c.yaml": spoil_lines(text, draw)})
    given = ["train", str(fixtures.store), "out", "--config", "in/c.yaml", "--quiet"]
    return Attempt("config.yaml", arguments(*given))


VARIANTS = "a: {method: supervised}\nb:\n  method: supervised\n  options:\n    blur_sigma: 1.5\n"


def variants(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a file of variants."""
    write_files(place / "in", {"v.yaml": spoil_lines(VARIANTS, draw)})
    parsed = Compare(
        (fixtures.store, Path("out")),
        variants=Path("in/v.yaml"),
        settings=TRAINING,
        dry_run=True,
        quiet=True,
    )
    return Attempt("variants", command(parsed), ())


def cells(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil the scores or the facts of a finished cell."""
    copy_tree(fixtures.cells, place / "out")
    file = draw.choice(sorted((place / "out").rglob("*.json")))
    spoil_json(file, draw)

    def work() -> int:
        from diffrect.comparison.report import report

        report.draw_plots = lambda *_: []  # type: ignore[assignment]  they take seconds
        return run_command(Compare((Path("out"),), table=True))

    return Attempt(f"{file.name} of a cell", work, kept=("out",))


def spoil_json(file: Path, draw: random.Random) -> None:
    """Change values of a JSON file, or its text."""
    if draw.random() < 0.7:
        tree = spoil_tree(json.loads(file.read_text()), draw)
        file.write_text(json.dumps(tree))
    else:
        file.write_bytes(spoil_lines(file.read_text(), draw))


def spoil_lines(text: str, draw: random.Random) -> bytes:
    """Change lines or bytes of a text."""
    if draw.random() < 0.3:
        return spoil_bytes(text.encode(), draw)
    return spoil_text(text, draw).encode("utf-8", "surrogatepass")


# ---- what diffrect has written ---------------------------------------------------------------


def store(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a file of a store: scores and facts are as before, or the file is named."""
    copied = copy_tree(fixtures.store, place / "in")
    run = copy_tree(fixtures.run, place / "out")
    file = spoil_one(copied, draw)
    (run / "metrics_val.json").unlink()
    given = ["evaluate", "out", "--split", "val", "--store", "in", "--device", "cpu", "--quiet"]

    def check(folder: Path) -> list[str]:
        mine, theirs = (
            json.loads((f / "metrics_val.json").read_text()) for f in (folder / "out", fixtures.run)
        )
        same = all(mine[key] == theirs[key] for key in ("cases", "classes", "mean", "undefined"))
        return [] if same else ["other scores than those of the store as it was"]

    return Attempt(f"{file} of a store", arguments(*given), ("out",), check, kept=("out",))


@dataclass
class Look:
    """Inspect a store, keep what is found in `out`, and refuse it if there are problems."""

    path: Path

    def __call__(self) -> None:
        """Inspect, and raise for problems."""
        found = inspect(self.path, progress=False)
        if found.problems:
            raise InputError("; ".join(found.problems))
        Path("out").write_text(json.dumps({**found.to_dict(), "path": ""}))


def inspected_store(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a file of a store and look at it."""
    file = spoil_one(copy_tree(fixtures.store, place / "in"), draw)

    def check(folder: Path) -> list[str]:
        wanted = {**inspect(fixtures.store, progress=False).to_dict(), "path": ""}
        same = json.loads((folder / "out").read_text()) == json.loads(json.dumps(wanted))
        return [] if same else ["other facts than those of the store as it was"]

    return Attempt(f"{file} of a store", command(Look(Path("in"))), ("out",), check)


def old_store(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a description in a store of version 1, which has no checksum, and look at it."""
    copied = copy_tree(fixtures.old_store, place / "in")
    file = draw.choice(sorted(copied.rglob("*.json")))
    spoil_json(file, draw)
    return Attempt(f"{file.name} of an old store", command(Look(Path("in"))), ("out",))


def checkpoint(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil the checkpoint that predicts: labels are as before, or the file is named."""
    run = place / "in"
    (run / "checkpoints").mkdir(parents=True)
    content = (fixtures.run / "checkpoints" / "best.pt").read_bytes()
    (run / "checkpoints" / "best.pt").write_bytes(spoil_bytes(content, draw, len(content)))
    parsed = Predict(Path("in"), Path("out"), (fixtures.scan,), device="cpu", quiet=True)

    def check(folder: Path) -> list[str]:
        name = "part_000.nii.gz"
        mine, theirs = (
            np.asarray(nib.load(f / name).dataobj) for f in (folder / "out", fixtures.labels)
        )
        return [] if np.array_equal(mine, theirs) else ["other labels than before"]

    return Attempt("best.pt", command(parsed), ("out",), check)


def resumed(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Spoil a file of an interrupted run, and resume it."""
    run = copy_tree(fixtures.run, place / "out")
    (run / "metrics_val.json").unlink()
    shutil.copy(run / "checkpoints" / "previous.pt", run / "checkpoints" / "last.pt")
    file = spoil_one(run, draw)
    given = ["train", str(fixtures.store), "out", "--resume", "--quiet"]

    def check(folder: Path) -> list[str]:
        if file not in ("checkpoints/last.pt", "checkpoints/previous.pt"):
            return []  # a damaged best.pt is named by whoever reads it
        return [f for f in run_differences(folder / "out", fixtures.run) if "is left" not in f]

    return Attempt(f"{file} of a run", arguments(*given), ("out",), check, kept=("out",))


def rewritten(fixtures: Fixtures, place: Path, draw: random.Random) -> Attempt:
    """Write a checkpoint in which one value is another, and predict or resume with it."""
    if draw.random() < 0.5:
        run, name = place / "in", "best.pt"
        (run / "checkpoints").mkdir(parents=True)
        parsed: Any = Predict(Path("in"), Path("out"), (fixtures.scan,), device="cpu", quiet=True)
        kept: tuple[str, ...] = ()
    else:
        run, name = copy_tree(fixtures.run, place / "out"), "last.pt"
        (run / "metrics_val.json").unlink()
        parsed = Train(fixtures.store, Path("out"), TRAINING, resume=True, quiet=True)
        kept = ("out",)
    source = "best.pt" if name == "best.pt" else "previous.pt"
    state = torch.load(fixtures.run / "checkpoints" / source, weights_only=True)
    torch.save(spoilt_state(state, draw), run / "checkpoints" / name)
    return Attempt(f"values of {name}", command(parsed), kept=kept)


def spoil_one(folder: Path, draw: random.Random) -> str:
    """Spoil one of the files in a folder, and return its name."""
    file = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = file.read_bytes()
    if file.suffix == ".json" and draw.random() < 0.5:
        spoil_json(file, draw)
    elif file.suffix in (".yaml", ".jsonl", ".txt"):
        file.write_bytes(spoil_lines(content.decode(), draw))
    else:
        file.write_bytes(spoil_bytes(content, draw, len(content)))
    return str(file.relative_to(folder))


INPUTS: dict[str, tuple[Attack, int]] = {
    "scans": (scan, 12),
    "decathlon": (decathlon, 3),
    "acdc": (acdc, 1),
    "ssl4mis": (ssl4mis, 3),
    "tables": (tables, 2),
    "split files": (split_file, 1),
    "configurations": (configuration, 1),
    "variants": (variants, 1),
    "cells": (cells, 2),
    "stores": (store, 2),
    "stores, inspected": (inspected_store, 2),
    "old stores": (old_store, 2),
    "checkpoints": (checkpoint, 2),
    "checkpoints, rewritten": (rewritten, 3),
    "runs, resumed": (resumed, 2),
}
"""What is spoiled, with how often it has its turn."""
