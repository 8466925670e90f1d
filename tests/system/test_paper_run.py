"""The protocol of the paper in short sessions: data is carried bit for bit, no score is lost."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import paper_run
from diffrect.comparison.cell import Outcome
from diffrect.comparison.report.report import compare_table
from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.data.store import Store
from diffrect.distributed.signals import stop_self
from diffrect.errors import InputError
from diffrect.training.train import train
from diffrect.training.trainer import Trainer
from paper import sessions
from paper.levels import packed, steps_of, unpacked
from paper.packing import pack, unpack
from paper.parts import joined, parse_size, write_parts
from support.runs import lines, same

Run = Callable[..., tuple[int, str, str]]
ONE_CELL = ("--labelled", "1", "--seeds", "0", "--size", "32")
CELLS = ("--methods", "supervised,unimatch", "--iterations", "6", *ONE_CELL)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; returns its exit code and what it printed to stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["paper_run", *map(str, arguments)])
        capsys.readouterr()
        code = paper_run.main()
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def carried(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny store, packed into several files."""
    folder = tmp_path_factory.mktemp("carried") / "packed"
    pack(store.path, folder, parse_size("2KiB"), labelled=1)
    return folder


def test_whole_numbers_are_found_and_come_back_bit_for_bit() -> None:
    random = np.random.default_rng(0)
    raw = random.integers(0, 711, (2, 1, 9, 7))
    raw[0, 0, 0, :2] = 0, 710
    image = (raw / 710.0).astype(np.float32)
    facts, content = packed(image, "image")
    assert facts["steps"] == steps_of(np.unique(image)) == 710
    assert unpacked(content, facts, "image").tobytes() == image.tobytes()
    assert len(content) < image.nbytes / 2
    others = random.random((2, 1, 9, 7), np.float32)  # of no grid
    facts, content = packed(others, "image")
    assert facts["levels"] == others.size
    assert unpacked(content, facts, "image").tobytes() == others.tobytes()


def test_damage_and_too_many_intensities_are_refused() -> None:
    many = np.linspace(0, 1, 2**16 + 1, dtype=np.float32).reshape(1, 1, 1, -1)
    with pytest.raises(InputError, match="at most 65536 different intensities, found 65537"):
        packed(many, "image of x")
    facts, content = packed(np.eye(4, dtype=np.float32)[None, None], "image")
    with pytest.raises(InputError, match=r"x: expected the bits that were packed"):
        unpacked(content, facts | {"steps": 2}, "x")
    with pytest.raises(InputError, match=r"x: expected an array as it was packed"):
        unpacked(content[:-3], facts, "x")


def test_parts_stay_below_their_limit_and_join(tmp_path: Path) -> None:
    parts = write_parts([b"abc", b"defgh", b"ij"], tmp_path, "x", 4)
    assert [(p["name"], p["bytes"]) for p in parts] == [("x.01", 4), ("x.02", 4), ("x.03", 2)]
    assert joined(tmp_path, parts) == b"abcdefghij"
    (tmp_path / "x.02").write_bytes(b"efgX")
    with pytest.raises(InputError, match=r"x\.02: expected the part as it was written"):
        joined(tmp_path, parts)
    (tmp_path / "x.02").unlink()
    with pytest.raises(InputError, match=r"x\.02: .* found no such file"):
        joined(tmp_path, parts)


def test_the_store_comes_back_without_what_the_protocol_does_not_read(
    store: Store, carried: Path, tmp_path: Path
) -> None:
    made = unpack(carried, tmp_path / "store")
    assert len(list(carried.glob("slices.*"))) > 3
    assert max(file.stat().st_size for file in carried.glob("slices.*")) == 2048
    assert set(made.patients) == set(store.patients) - {"patient011"}  # who tests
    for case, record in made.cases.items():
        assert made.image(case).tobytes() == store.image(case).tobytes()
        assert record.labelled == (record.patient in ("patient099", "patient028"))
        if record.labelled:
            assert made.label(case).tobytes() == store.label(case).tobytes()
        assert np.array_equal(made.affine(case), store.affine(case))
        assert (record.spacing, record.shape) == (store.cases[case].spacing, (22, 26))
    assert store.official_split is not None
    assert made.official_split is not None
    for part in ("train", "val"):
        assert getattr(made.official_split, part) == getattr(store.official_split, part)
    assert (made.task, "patient011" in made.missing_patients) == (store.task, True)
    made.verify()


def test_a_training_cannot_tell_the_two_stores_apart(
    store: Store, carried: Path, tmp_path: Path
) -> None:
    made = unpack(carried, tmp_path / "store")
    config = TrainConfig("unimatch", size=32, iterations=2, labelled="1", logger="none")
    one, other = (
        train(path, tmp_path / name, config, progress=False)
        for path, name in ((store.path, "one"), (made.path, "other"))
    )
    assert lines(one) == lines(other)
    assert same(*(weights(run) for run in (one, other)))


def weights(run: Path) -> object:
    return torch.load(run / "checkpoints" / "last.pt", weights_only=True)["method"]


def test_real_volumes_are_carried_bit_for_bit(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "acdc" / "training"
    if not source.is_dir():
        pytest.skip("needs ACDC: DIFFRECT_DATA/acdc/training")
    patients = ("patient099", "patient028")  # the first labelled one, and one who validates
    for patient in patients:
        shutil.copytree(source / patient, tmp_path / "acdc" / patient)
    whole = prepare(tmp_path / "acdc", tmp_path / "whole", progress=False)
    content = pack(whole.path, tmp_path / "packed", parse_size("60MiB"), labelled=1)
    assert all("steps" in entry["image"] for entry in content["cases"])
    made = unpack(tmp_path / "packed", tmp_path / "made")
    assert list(made.cases) == list(whole.cases)
    for case in whole.cases:
        assert made.image(case).tobytes() == whole.image(case).tobytes()
    size = sum(file.stat().st_size for file in whole.path.rglob("image.b2nd"))
    assert sum(part["bytes"] for part in content["parts"]) < size / 3


class AfterIterations(sessions.Clock):
    """A clock whose time is over after some iterations, however fast the machine is."""

    iterations = 3

    @contextmanager
    def running(self) -> Iterator[None]:
        count = 0
        iteration = Trainer.iteration

        def counted(trainer: Trainer, *arguments: object) -> object:
            nonlocal count
            count += 1
            if count == self.iterations:
                self.ends = 0.0
                self._stop()
            return iteration(trainer, *arguments)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "iteration", counted)
            with super().running():
                yield


def test_two_cells_are_cut_carried_on_and_end_as_if_nothing_had_been(
    store: Store, carried: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, out = tmp_path / "store", tmp_path / "there", tmp_path / "out"
    assert run("unpack", carried, here)[0] == 0
    code, printed, _ = run("train", here, out, *CELLS, "--dry-run")
    assert (code, out.exists()) == (0, False)
    assert re.search(r"^supervised: [\d.]+ s an iteration, validation included$", printed, re.M)
    assert re.search(r"^\d minutes of training, 1 session of 14 minutes$", printed, re.M)

    # The first session ends in the middle of the first cell.
    with monkeypatch.context() as patch:
        patch.setattr(paper_run, "Clock", AfterIterations)
        code, printed, _ = run("train", here, out, *CELLS)
    first = "supervised-labelled1-seed0"
    assert (code, first + ": iteration 3 of 6, best so far" in printed) == (0, True)
    scores = json.loads((out / first / "metrics_val.json").read_text())
    assert len(scores["cases"]) == 2
    assert not (out / "unimatch-labelled1-seed0").exists()

    # What it leaves goes to another machine, which finishes both.
    code, printed, _ = run("collect", out, tmp_path / "kept", "--states", "--part-size", "4MiB")
    assert (code, "checkpoints/last.pt" in printed) == (0, True)
    assert max(file.stat().st_size for file in (tmp_path / "kept").iterdir()) == 4 * 2**20
    assert run("restore", tmp_path / "kept", there)[0] == 0
    assert same(weights(out / first), weights(there / first))
    assert json.loads((there / first / "metrics_val.json").read_text()) == scores
    code, printed, _ = run("train", here, there, *CELLS)
    assert (code, printed.count("iteration 6 of 6")) == (0, 2)
    assert run("train", here, there, *CELLS)[1].count("is finished") == 2

    # The cut and the move changed nothing.
    config = TrainConfig(
        method="supervised",
        labelled="1",
        seed=0,
        size=32,
        iterations=6,
        validate_every=1,
        logger="none",
        log_images=0,
    )
    whole = train(store.path, tmp_path / "whole", config, progress=False)
    assert same(weights(whole), weights(there / first))
    noted = json.loads((there / "sessions.json").read_text())["sessions"]
    assert [(s["cell"], s["from"], s["to"]) for s in noted] == [
        (first, 0, 3),
        (first, 3, 6),
        ("unimatch-labelled1-seed0", 0, 6),
    ]

    # Scores come home, where nothing that is as far is replaced.
    assert run("collect", there, tmp_path / "results")[0] == 0
    code, printed, _ = run("restore", tmp_path / "results", out)
    assert (code, printed.count(": finished")) == (0, 2)
    assert (
        run("restore", tmp_path / "kept", out)[1] == f"{first}: is finished here, left as it is\n"
    )
    assert len(json.loads((out / "sessions.json").read_text())["sessions"]) == 3
    assert len(compare_table(out).rows) == 2
    kinds = {line["kind"] for line in lines(out / first)}
    assert kinds == {"format", "val", "end"}


def test_a_stop_before_the_first_validation_and_one_from_outside(
    store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ("--methods", "supervised", "--iterations", "300", *ONE_CELL)
    monkeypatch.setattr(paper_run, "estimate_cells", lambda *_: [])
    with monkeypatch.context() as patch:
        patch.setattr(paper_run, "Clock", AfterIterations)
        patch.setattr(AfterIterations, "iterations", 1)
        code, printed, _ = run("train", store.path, tmp_path / "out", *cells)
    assert (code, "iteration 1 of 300, no validation yet" in printed) == (0, True)
    timer = threading.Timer(0.0, stop_self)
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "do_cell", stopped_from_outside(sessions.do_cell, timer))
        code, _, error = run("train", store.path, tmp_path / "out", *cells)
    assert (code, error) == (130, "paper_run: interrupted\n")
    code, printed, _ = run("train", store.path, tmp_path / "out", *cells, "--minutes", "0.1")
    assert (code, "the time is over" in printed) == (0, True)


def test_a_cell_that_fails_stops_no_other(
    store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--methods", "supervised,unimatch,bcp", "--iterations", "2", *ONE_CELL)
    monkeypatch.setattr(paper_run, "estimate_cells", lambda *_: [])
    outcomes = iter(["taken by another process", "", "its numbers are not finite"])
    monkeypatch.setattr(sessions, "do_cell", lambda *_: Outcome("failed", next(outcomes)))
    code, printed, error = run("train", store.path, tmp_path / "out", *asked)
    assert (code, error) == (2, f"paper_run: {tmp_path / 'out'}: 2 cells failed, see above\n")
    assert "bcp-labelled1-seed0: its numbers are not finite\n" in printed


def stopped_from_outside(do_cell: Callable[..., object], timer: threading.Timer) -> object:
    def stopped(*arguments: object) -> object:
        timer.start()
        return do_cell(*arguments)

    return stopped


def test_the_cells_are_those_of_the_protocol() -> None:
    cells = sessions.paper_cells(paper_run.METHODS.split(","), ["1", "3", "7"], [1337, 1])
    assert [cell.folder for cell in cells[:5]] == [
        "default-labelled1-seed1337",
        "reference-labelled1-seed1337",
        "unimatch-labelled1-seed1337",
        "supervised-labelled1-seed1337",
        "default-labelled3-seed1337",
    ]
    assert {cell.config.seed for cell in cells[12:]} == {1}
    for cell in cells:
        config = cell.config
        assert (config.size, config.iterations, config.validation_interval) == (256, 30_000, 200)
        assert (config.batch_labelled, config.batch_unlabelled) == (3, 3)
    assert cells[0].config.options == {}
    assert (cells[1].config.preset, cells[1].config.options) == (
        "reference",
        {"rectify_from": 1_000},
    )


def test_wrong_input_ends_in_one_line(
    store: Store, decathlon_store: Store, carried: Path, tmp_path: Path, run: Run
) -> None:
    spoilt = shutil.copytree(carried, tmp_path / "spoilt")
    (spoilt / "slices.01").write_bytes(b"no")
    changed = shutil.copytree(carried, tmp_path / "changed")
    text = (changed / "pack.json").read_text()
    (changed / "pack.json").write_text(text.replace("patient099", "patient098"))
    scores = tmp_path / "scores" / "supervised-labelled1-seed0"
    scores.mkdir(parents=True)
    (scores / "metrics_val.json").write_text('{"checkpoint": "last", "empty": "undefined"}')
    cases = [
        (("pack", tmp_path / "none", tmp_path / "x"), "a store made by prepare"),
        (("pack", store.path, carried), "expected a new folder, found pack.json"),
        (("pack", decathlon_store.path, tmp_path / "x"), "a data set with a published split"),
        (("pack", store.path, tmp_path / "x", "--part-size", "9"), "--part-size: expected a size"),
        (("unpack", tmp_path, tmp_path / "x"), "a folder that pack has written, found no pack"),
        (("unpack", spoilt, tmp_path / "x"), "slices.01: expected the part as it was written"),
        (("unpack", changed, tmp_path / "x"), "the contents that pack wrote, they have changed"),
        (("unpack", carried, store.path), "expected a new folder, found a store"),
        (("train", store.path, store.path), "expected a folder for the cells, found a store"),
        (("train", store.path, tmp_path / "x", "--methods", "nothing"), "nothing"),
        (("train", store.path, tmp_path / "x", "--minutes", "0"), "a time above 0"),
        (("collect", store.path, tmp_path / "x"), "a folder of cells that train has written"),
        (("restore", carried, tmp_path / "x"), "a folder that collect has written"),
    ]
    for arguments, message in cases:
        code, printed, error = run(*arguments)
        assert (code, printed, error.count("\n")) == (2, "", 1), arguments
        assert message in error
    assert not (tmp_path / "x").exists()
