"""Preparing: faithful, parallel, refused in one line, interrupted and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from diffrect.cli import main as cli
from diffrect.config import TrainConfig
from diffrect.data import prepare as module
from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.data.store import Store
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.inference.model import Model
from diffrect.runs.folder import check_same_task
from diffrect.training.train import train
from support.disk import contents
from support.tiny import scan, write_acdc, write_dataset_json, write_nifti


@pytest.fixture
def decathlon_copy(decathlon_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(decathlon_folder, tmp_path / "decathlon"))


def break_last_case(folder: Path) -> Path:
    """Truncate an image that is read late, so that cases have been written before."""
    path = folder / "imagesTr" / "part_006.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    return path


def fail_after(monkeypatch: pytest.MonkeyPatch, cases: int) -> None:
    """Interrupt like Ctrl-C after a number of cases."""
    write, count = module.write_case, iter(range(cases))

    def interrupted(*arguments: object) -> None:
        if next(count, None) is None:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_case", interrupted)


def test_raw_files_reproduce_the_benchmarks_slices(real_data: Path, tmp_path: Path) -> None:
    patients = ("patient002", "patient028", "patient038", "patient050", "patient099", "patient100")
    for patient in patients:
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / patient).symlink_to(real_data / "acdc" / "training" / patient)
    store = prepare(tmp_path / "raw", tmp_path / "store", progress=False)
    store.verify()
    folder = real_data / "acdc_h5" / "data"
    for case_id, record in store.cases.items():
        volume = folder / f"{case_id}.h5"
        slices = [folder / "slices" / f"{case_id}_slice_{n + 1}.h5" for n in range(record.slices)]
        for index, path in enumerate(slices):
            with h5py.File(volume if volume.exists() else path) as file:
                part = index if volume.exists() else ...
                image, label = file["image"][part], file["label"][part]
            assert np.abs(store.image(case_id, index)[0] - image).max() <= 1e-6
            np.testing.assert_array_equal(store.label(case_id, index), label)
    assert store.cases["patient028_frame01"].spacing == (10.0, 1.5625, 1.5625)
    assert len(store.missing_patients) == 94


def test_real_benchmark_folder(real_data: Path, tmp_path: Path) -> None:
    store = prepare(real_data / "acdc_h5", tmp_path / "store", progress=False)
    assert store.format == "ssl4mis"
    assert len(store.cases) == 12
    assert store.cases["patient099_frame01"].slices == 16


def test_choices_are_kept_and_predicted_with(
    decathlon_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = tmp_path / "store", tmp_path / "run"
    choices = ["--axis", "coronal", "--intensity", "window", "--window", "-20", "300"]
    command = ["prepare", str(decathlon_folder), str(path), "--workers", "1", *choices]
    assert cli.main(command) == 0
    store = Store(path)
    assert (store.axis, store.intensity) == ("coronal", "window:-20:300")
    record = store.cases["part_000"]
    assert (record.slices, record.shape, record.spacing) == (18, (4, 20), (1.0, 2.0, 1.0))
    assert (record.axis, record.orientation) == (1, "ASR")
    raw, _ = scan((20, 18, 4), classes=3, seed=0)
    expected = np.clip((raw.transpose(1, 2, 0) + 170) / 300, 0, 1)
    np.testing.assert_allclose(store.image("part_000")[:, 0], expected, atol=1e-6)
    case = json.loads((path / "cases" / "part_000" / "case.json").read_text())
    assert case["slicing"] == {"axes": [1, 2, 0], "flips": [False, False, False]}

    train(path, run, TrainConfig(method="supervised", size=16, iterations=1), progress=False)
    model = Model.load(run)
    assert (model.axis, model.intensity) == (store.axis, store.intensity)
    labels = model.predict(decathlon_folder / "imagesTr" / "part_000.nii.gz")
    again = model.predict_slices(store.image("part_000"), batch=4)
    np.testing.assert_array_equal(labels, again.transpose(2, 0, 1))
    with pytest.raises(InputError, match=r"--resume expected the axis as before, coronal, got 2"):
        prepare(decathlon_folder, path, intensity="window:-20:300", resume=True, progress=False)
    capsys.readouterr()


def test_stores_and_checkpoints_from_before_there_was_a_choice(
    decathlon_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    store = prepare(decathlon_folder, tmp_path / "store", progress=False)
    settings = json.loads((store.path / "store.json").read_text())
    for name in ("axis", "symmetries", "options", "checksum"):
        del settings[name]
    settings["version"] = 1
    for entry in settings["cases"]:
        for name in ("axis", "orientation", "remarks"):
            del entry[name]
    (store.path / "store.json").write_text(json.dumps(settings))
    assert Store(store.path).axis == "2"
    assert Store(store.path).cases["part_000"].axis == 2
    assert Store(store.path).task.symmetries is None
    prepare(decathlon_folder, store.path, resume=True, progress=False)
    # A statement of today is no reason to refuse it.
    prepare(decathlon_folder, store.path, symmetries="flips", resume=True, progress=False)

    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    state = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    del state["task"]["axis"], state["config"]["spacing"], state["config"]["crop"]
    torch.save(state, run / "checkpoints" / "best.pt")
    assert Model.load(run).axis == "2"
    assert Model.load(run).config == Model.load(tiny_run).config


def test_what_may_be_done_to_slices(
    acdc_folder: Path, decathlon_copy: Path, tiny_run: Path, store: Store, tmp_path: Path
) -> None:
    assert store.task.symmetries == "turns"  # the layout says so
    assert Model.load(tiny_run).task.symmetries == "turns"
    assert prepare(decathlon_copy, tmp_path / "tiny", progress=False).task.symmetries is None
    file = decathlon_copy / "dataset.json"
    file.write_text(file.read_text().replace('"Tiny"', '"Hippocampus"'))
    path = tmp_path / "hippocampus"
    assert prepare(decathlon_copy, path, progress=False).task.symmetries == "none"
    again = prepare(decathlon_copy, path, symmetries="flips", repair=True, progress=False)
    assert again.task.symmetries == "flips"
    assert prepare(decathlon_copy, path, repair=True, progress=False).task.symmetries == "flips"
    with pytest.raises(InputError, match="--symmetries: expected one of none, flips, turns"):
        prepare(decathlon_copy, path, symmetries="all", progress=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of none, flips, turns under 'symmetries'"):
        Task.from_dict({**store.task.to_dict(), "symmetries": ["flips"]})
    # It says nothing about what a model was trained for, so that other statements fit, too.
    other = replace(store.task, symmetries=None)
    assert other == store.task
    assert store.task.difference(other) is None
    check_same_task(store.task, other, tiny_run)


def test_labels_in_another_place_need_trust(decathlon_copy: Path, tmp_path: Path) -> None:
    label = decathlon_copy / "labelsTr" / "part_003.nii.gz"
    codes = scan((20, 18, 4), classes=3, seed=3)[1]
    elsewhere = np.eye(4)
    elsewhere[0, 3] = 30
    write_nifti(label, codes, (1.0, 1.0, 2.0), elsewhere)
    with pytest.raises(InputError, match=r"part_003.*: expected the geometry of its image .*30 mm"):
        prepare(decathlon_copy, tmp_path / "store", progress=False)
    trusting = SourceOptions(trust_image_geometry=True)
    store = prepare(decathlon_copy, tmp_path / "store", options=trusting, progress=False)
    np.testing.assert_array_equal(store.label("part_003"), codes.T)


def test_unusual_axes_are_reported_and_kept(
    decathlon_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = decathlon_copy / "imagesTr" / "part_007.nii.gz"
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    write_nifti(image, scan((20, 18, 4), 3, 7)[0], (1.0, 1.0, 2.0), sheared)
    store = prepare(decathlon_copy, tmp_path / "store")
    expected = f"{image}: its axes are not at right angles (63.4 degrees between two of them)"
    assert store.cases["part_007"].remarks == (expected,)
    assert expected in capsys.readouterr().err


def test_workers_write_the_same_store(decathlon_folder: Path, tmp_path: Path) -> None:
    one = prepare(decathlon_folder, tmp_path / "one", progress=False)
    two = prepare(decathlon_folder, tmp_path / "two", workers=2, progress=True)
    assert contents(one.path) == contents(two.path)
    assert sorted(path.name for path in two.path.iterdir()) == ["cases", "store.json"]
    two.verify()


def test_missing_patients_are_reported(
    acdc_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare(acdc_folder, tmp_path / "store")
    lines = [line for line in capsys.readouterr().err.splitlines() if "missing" in line]
    assert len(lines) == 1
    assert "95 patients of the official lists are missing: patient001, patient002" in lines[0]
    assert len(store.missing_patients) == 95
    assert "patient099" not in store.missing_patients


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_input_leaves_nothing_behind(
    decathlon_copy: Path, tmp_path: Path, workers: int
) -> None:
    path = break_last_case(decathlon_copy)
    with pytest.raises(InputError, match="expected a readable NIfTI") as caught:
        prepare(decathlon_copy, tmp_path / "new" / "store", workers=workers, progress=False)
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "new" / "store").exists()


def test_faults_of_each_kind_name_their_file(decathlon_copy: Path, tmp_path: Path) -> None:
    shape = (20, 18, 4)
    scan = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    label = np.zeros(shape, np.uint8)
    faults = {
        "constant": (np.ones(shape, np.float32), label, "image.nii.gz: expected varying"),
        "shape": (scan, label[:, :, 1:], "label.nii.gz: expected the shape of its image"),
        "codes": (scan, label + 3, r"label.nii.gz: expected label codes 0 to 2 \(3 classes\)"),
        "fraction": (scan, label + np.float32(0.5), "label.nii.gz: expected whole label codes"),
        "nan": (scan * np.nan, label, "image.nii.gz: expected finite intensities"),
        "channels": (np.stack([scan, scan], -1), label, "image.nii.gz: expected 1 channel"),
    }
    write_dataset_json(decathlon_copy, [{"image": "image.nii.gz", "label": "label.nii.gz"}])
    for image, codes, message in faults.values():
        write_nifti(decathlon_copy / "image.nii.gz", image)
        write_nifti(decathlon_copy / "label.nii.gz", codes)
        with pytest.raises(InputError, match=message) as caught:
            prepare(decathlon_copy, tmp_path / "store", progress=False)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "store").exists()


def test_classes_refused(decathlon_copy: Path, tmp_path: Path) -> None:
    faults = {
        "expected classes of different names, got tumour twice": ["background", "tumour", "tumour"],
        "expected 2 to 255 classes, got 256": [f"class {code}" for code in range(256)],
    }
    for message, names in faults.items():
        labels = {str(code): name for code, name in enumerate(names)}
        write_dataset_json(decathlon_copy, ["imagesTr/part_000.nii.gz"], labels=labels)
        with pytest.raises(InputError, match=message):
            prepare(decathlon_copy, tmp_path / "store", progress=False)


def test_ids_refused(decathlon_copy: Path, tmp_path: Path) -> None:
    twice = ["imagesTr/part_000.nii.gz", "imagesTr/part_000.nii.gz"]
    write_dataset_json(decathlon_copy, twice)
    with pytest.raises(InputError, match="expected unique case ids, found part_000 twice"):
        prepare(decathlon_copy, tmp_path / "store", progress=False)
    shutil.copy(decathlon_copy / twice[0], decathlon_copy / ".hidden.nii.gz")
    write_dataset_json(decathlon_copy, [".hidden.nii.gz"])
    with pytest.raises(InputError, match=r"expected ids usable as names, got '.hidden'"):
        prepare(decathlon_copy, tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()


def test_options_refused(acdc_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--workers: expected at least 1, got 0"):
        prepare(acdc_folder, tmp_path / "store", workers=0)
    with pytest.raises(InputError, match="--overwrite and --resume: expected one of them, got 2"):
        prepare(acdc_folder, tmp_path / "store", overwrite=True, resume=True)
    with pytest.raises(InputError, match="--format: expected one of"):
        prepare(acdc_folder, tmp_path / "store", format="nrrd")
    assert not (tmp_path / "store").exists()


def test_an_existing_store_is_kept_unless_told(decathlon_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.mkdir()  # an empty folder counts as none
    prepare(decathlon_folder, path, progress=False)
    before = contents(path)
    with pytest.raises(InputError, match=r"found a store \(give --overwrite\)"):
        prepare(decathlon_folder, path, progress=False)
    assert contents(path) == before
    prepare(decathlon_folder, path, resume=True, progress=False)
    assert contents(path) == before


def test_overwrite_replaces_a_store_only_by_a_complete_one(
    decathlon_copy: Path, tmp_path: Path
) -> None:
    path = tmp_path / "stores" / "store"
    prepare(decathlon_copy, path, progress=False)
    before = contents(path)
    healthy = (decathlon_copy / "imagesTr" / "part_006.nii.gz").read_bytes()
    broken = break_last_case(decathlon_copy)
    with pytest.raises(InputError):
        prepare(decathlon_copy, path, overwrite=True, progress=False)
    assert contents(path) == before
    broken.write_bytes(healthy)
    write_dataset_json(decathlon_copy, ["imagesTr/part_006.nii.gz"])
    (decathlon_copy / "imagesTr" / "part_007.nii.gz").unlink()  # else an unlabelled case
    assert list(prepare(decathlon_copy, path, overwrite=True, progress=False).cases) == ["part_006"]
    assert [entry.name for entry in path.parent.iterdir()] == ["store"]


def test_other_folders_are_never_overwritten(decathlon_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    expected = {"precious": "a new folder or a store", "file": "a folder for the store"}
    for name in ("precious", "file"):
        for options in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(InputError, match=f"expected {expected[name]}"):
                prepare(decathlon_folder, tmp_path / name, progress=False, **options)
    assert (tmp_path / "precious" / "thesis.txt").exists()
    assert (tmp_path / "file").exists()


def test_an_interrupted_prepare_is_resumed(
    decathlon_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        fail_after(patch, cases=5)
        with pytest.raises(KeyboardInterrupt):
            prepare(decathlon_folder, path, progress=False)
    with pytest.raises(InputError, match="half prepared: run prepare with --resume"):
        Store(path)
    with pytest.raises(InputError, match=r"found an interrupted one \(give --resume\)"):
        prepare(decathlon_folder, path, progress=False)
    finished = path / "cases" / "part_000" / "image.b2nd"
    before = finished.stat().st_mtime_ns
    # What a kill or a power cut can leave: half a case, a damaged one, one no longer wanted.
    (path / "cases" / ".part_005.1.partial").mkdir()
    (path / "cases" / "part_001" / "image.b2nd").write_bytes(b"")
    shutil.copytree(path / "cases" / "part_000", path / "cases" / "old")
    with monkeypatch.context() as patch:
        fail_after(patch, cases=4)  # the damaged one and the three not yet written
        resumed = prepare(decathlon_folder, path, resume=True, progress=False)
    assert finished.stat().st_mtime_ns == before
    whole = prepare(decathlon_folder, tmp_path / "whole", progress=False)
    assert contents(resumed.path) == contents(whole.path)


def test_resume_needs_the_same_source(
    decathlon_copy: Path, acdc_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        fail_after(patch, cases=2)
        with pytest.raises(KeyboardInterrupt):
            prepare(decathlon_copy, path, progress=False)
    with pytest.raises(InputError, match="--resume expected the source as before"):
        prepare(acdc_folder, path, resume=True, progress=False)
    # A fault while resuming keeps what is finished.
    break_last_case(decathlon_copy)
    with pytest.raises(InputError, match="expected a readable NIfTI"):
        prepare(decathlon_copy, path, resume=True, progress=False)
    assert (path / "cases" / "part_005").is_dir()
    # Starting over replaces an interrupted one.
    write_dataset_json(decathlon_copy, ["imagesTr/part_000.nii.gz"])
    store = prepare(decathlon_copy, path, overwrite=True, progress=False)
    with pytest.raises(InputError, match="--resume expected the source as before"):
        prepare(acdc_folder, store.path, resume=True, progress=False)


def test_an_interrupted_prepare_leaves_no_half_of_a_case(
    decathlon_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even that of a process that had to be ended while it wrote."""
    half = tmp_path / "store" / "cases" / ".part_003.12345.partial"

    def interrupted(*arguments: object) -> None:
        half.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(decathlon_folder, tmp_path / "store", progress=False)
    assert not half.exists()


# It waits after three cases, so that the kill comes in the middle; the workers import it too.
SCRIPT = """
import sys, time
from pathlib import Path
from diffrect.data import prepare as module

write_case = module.write_case

def three_times(*arguments):
    while len(list(Path(sys.argv[2]).glob("cases/heart*"))) >= 3:
        time.sleep(0.01)
    write_case(*arguments)

module.write_case = three_times
if __name__ == "__main__":
    module.prepare(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with SIGKILL")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_prepare_is_resumed(tmp_path: Path, workers: int) -> None:
    patients = [f"heart_{number:03d}" for number in range(6)]
    source, path = write_acdc(tmp_path / "source", patients), tmp_path / "store"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(source), str(path), str(workers)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 300
    while len(list(path.glob("cases/heart*"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (path / "store.json").exists()
    with pytest.raises(InputError, match="half prepared"):
        Store(path)
    resumed = prepare(source, path, resume=True, progress=False)
    assert len(resumed.cases) == 12
    resumed.verify()
    time.sleep(0.1)  # workers end with their parent and write nothing more
    assert not list(path.glob("cases/.*"))


def test_a_store_from_before_there_were_options(decathlon_folder: Path, tmp_path: Path) -> None:
    """It loads, and resumes if it was interrupted, as one made without any options."""
    path = tmp_path / "store"
    prepare(decathlon_folder, path, progress=False)
    content = json.loads((path / "store.json").read_text())
    assert content.pop("options")["modality"] is None
    del content["checksum"]
    content["version"] = 1
    (path / "store.json").write_text(json.dumps(content))
    assert Store(path).options == {}
    (path / "store.json").rename(path / "prepare.json")
    assert prepare(decathlon_folder, path, resume=True, progress=False).options["table"] is None


def test_an_id_that_is_too_long_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    image, labels = scan((16, 14, 2), 2, seed=1)
    for name in ("a" * 220, "b"):
        write_nifti(tmp_path / "own" / "images" / f"{name}.nii.gz", image)
        write_nifti(tmp_path / "own" / "labels" / f"{name}.nii.gz", labels)
    with pytest.raises(InputError, match=r"own: expected ids of at most 200 bytes, .*, got 'aaa"):
        prepare(tmp_path / "own", tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()
