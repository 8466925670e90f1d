"""Pseudo-labels of a training: as it makes them, on the grid of the scans, and their table."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from diffrect.cli.main import main
from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.data.record import CaseRecord
from diffrect.data.store import Store
from diffrect.data.volumes import training_volumes
from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.volume import Volume
from diffrect.inference.load import LoadedMethod, load_method
from diffrect.inference.measures import entropy
from diffrect.inference.model import Model
from diffrect.inference.predict import predict
from diffrect.inference.pseudo_labels.facts import facts_of, write_table
from diffrect.inference.pseudo_labels.labeller import PseudoLabel, PseudoLabeller
from diffrect.inference.pseudo_labels.predict_store import pseudo_labels
from diffrect.json_files import read_json
from diffrect.methods.base import Problem
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.registry import complete, resolve
from diffrect.runs.folder import read_split
from diffrect.training.train import train

CPU = torch.device("cpu")
CASES = [f"patient0{number}_frame0{frame}" for number in (38, 50) for frame in (1, 2)]


def trained(store: Store, folder: Path, **settings: object) -> Path:
    """A RUN folder after a training of no use: patient099 labelled, 038 and 050 not."""
    config = TrainConfig(size=32, iterations=2, batch_labelled=2, batch_unlabelled=2, **settings)
    return train(store.path, folder, config, progress=False)


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"rectify_from": 0, "diffusion_from": 0.0}
    return trained(store, tmp_path_factory.mktemp("runs") / "volume", options=options)


def labeller_of(run: Path, store: Store) -> PseudoLabeller:
    return PseudoLabeller(load_method(run, "best"), run, CPU, store)


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "pseudo_labels.csv").read_text("utf-8").splitlines()))


def source_of(store: Store, case: str, kind: str) -> Path:
    """The file that a case's image or label is from."""
    return Path(read_json(store.path / "cases" / case / "case.json")["files"][kind])


def voxels(file: Path) -> np.ndarray:
    return np.asanyarray(nib.load(file).dataobj)


def test_labels_are_the_model_s_and_the_entropy_is_theirs(run, store):
    found = labeller_of(run, store).label(store.image(CASES[0]), store.cases[CASES[0]].shape, None)
    model = Model.load(run, device="cpu")
    assert np.array_equal(found.labels, model.predict_slices(store.image(CASES[0])))
    shares = np.empty((*found.labels.shape, 4), np.float32)
    for part, logits in model.segmenter.logits(store.image(CASES[0])):
        grid = torch.nn.functional.interpolate(
            logits.softmax(1), found.labels.shape[1:], mode="bilinear", align_corners=True
        )
        shares[part] = grid.permute(0, 2, 3, 1)
    np.testing.assert_allclose(found.entropy, entropy(shares), atol=1e-6)


def test_labels_are_corrected_as_in_the_training(run, store, monkeypatch):
    """Both see slices of the network's size and the same noise."""
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(*shape))
    loaded = load_method(run, "best")
    method = loaded.method.eval()
    assert isinstance(method, DiffRect)
    torch.manual_seed(2)  # weights that see all classes and correct much, unlike untrained ones
    for parameter in (*method.predictor.parameters(), *method.rectifier.parameters()):
        if parameter.dim() > 1:
            torch.nn.init.xavier_normal_(parameter, gain=2)
    volumes = training_volumes(store, read_split(run), loaded.config, "linear")
    method.attach(volumes)
    method.eval()
    before, after = method.transports.relabel()
    rows = next(rows for rows in volumes.cases() if not volumes.labelled[rows[0]])
    images = volumes.images[rows].float().numpy()
    found = PseudoLabeller(loaded, run, CPU, store).label(images, (32, 32), None)
    assert len(np.unique(found.labels)) > 2
    assert (found.labels != found.rectified).mean() > 0.05
    assert (torch.from_numpy(found.labels) == before[rows]).float().mean() > 0.99
    assert (torch.from_numpy(found.rectified) == after[rows]).float().mean() > 0.99


def test_files_lie_on_the_grid_of_the_scans(run, store, tmp_path):
    facts = pseudo_labels(run, tmp_path / "out", progress=False)
    assert [one.case for one in facts] == CASES
    assert {one.part for one in facts} == {"unlabelled"}
    kinds = ("pseudo_label", "rectified", "entropy")
    names = {f"{case}_{kind}.nii.gz" for case in CASES for kind in kinds}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names | {"pseudo_labels.csv"}
    scans = [source_of(store, case, "image") for case in CASES]
    predicted = predict(run, tmp_path / "labels", scans, progress=False)
    for one, label, scan in zip(facts, predicted, scans, strict=True):
        image = nib.load(scan)
        assert np.array_equal(voxels(one.files["pseudo_label"]), voxels(label))
        for kind in kinds:
            written = nib.load(one.files[kind])
            assert written.shape == image.shape
            np.testing.assert_allclose(written.affine, image.affine)
            assert np.array_equal(written.header["pixdim"][1:4], image.header["pixdim"][1:4])
        sure = voxels(one.files["entropy"])
        assert sure.dtype == np.float32
        assert sure.mean() == pytest.approx(one.entropy)


@pytest.mark.parametrize("axis", ["0", "coronal", "auto"])
def test_slices_come_back_as_the_source_has_them(axis, acdc_folder, tmp_path):
    source = tmp_path / "ACDC"
    for patient in ("patient099", "patient038"):
        shutil.copytree(acdc_folder / patient, source / patient)
    store = prepare(source, tmp_path / "store", axis=axis, progress=False)
    for case in store.cases.values():
        image = nib.load(source_of(store, case.id, "image"))
        volume = store.grid(case.id).volume(store.label(case.id))
        assert np.array_equal(volume.array, voxels(source_of(store, case.id, "label")))
        np.testing.assert_allclose(volume.affine, image.affine)
        assert volume.spacing == pytest.approx(image.header.get_zooms())


def test_the_table_counts_what_the_labels_hold(tmp_path):
    labels = np.zeros((2, 4, 5), np.uint8)
    labels[0, 0, :4], labels[1, 0, 0] = 1, 2
    after = labels.copy()
    after[0, 0, 3], after[0, 1, 0] = 0, 3
    uncertain = np.zeros(labels.shape, np.float32)
    uncertain[0, 0, :2], uncertain[1, 3, 4] = 0.5, 1
    case = CaseRecord("=c", "p", False, 2, (4, 5), (10.0, 2.0, 5.0))
    classes = ("background", "one", "two", "three", "none")
    grid = Volume(labels, (5.0, 2.0, 10.0), np.eye(4))
    facts = facts_of(PseudoLabel(labels, after, uncertain), case, "unlabelled", classes, grid)
    assert facts.entropy == pytest.approx(2 / 40)
    assert facts.foreground_entropy == pytest.approx(1 / 6)
    assert facts.changed == pytest.approx(2 / 6)
    assert facts.classes["one"] == pytest.approx((0.4, 0.3, 6 / 7))
    assert facts.classes["two"] == pytest.approx((0.1, 0.1, 1))
    assert facts.classes["three"] == pytest.approx((0, 0.1, 0))
    assert facts.classes["none"] == (0, 0, None)
    assert facts.agreement == pytest.approx((6 / 7 + 1) / 3)
    write_table(tmp_path / "pseudo_labels.csv", [facts])
    (row,) = table(tmp_path)
    assert row["case"] == "'=c"  # no formula
    assert (row["one pseudo_label_ml"], row["three rectified_ml"]) == ("0.4", "0.1")
    assert (row["none agreement"], row["changed"]) == ("", "0.333333")


def test_what_is_not_known_stays_empty(tmp_path):
    labels = np.zeros((1, 2, 2), np.uint8)
    case = CaseRecord("c", "p", False, 1, (2, 2), None)
    grid = Volume(labels, None, np.eye(4))
    found = PseudoLabel(labels, None, np.zeros(labels.shape, np.float32))
    facts = facts_of(found, case, "", ("background", "one"), grid)
    assert facts.classes == {"one": (None, None, None)}
    assert (facts.changed, facts.foreground_entropy, facts.agreement) == (None, None, None)


def test_a_method_without_a_rectifier_says_so(tiny_run, store, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["predict", str(tiny_run), str(out), "--store", str(store.path)]
    assert main([*arguments, "--patients", "val"]) == 0
    printed = capsys.readouterr()
    name = f"{tiny_run}: method supervised has no"
    assert f"{name} teacher: pseudo-labels are the model's own\n" in printed.err
    assert f"{name} rectifier: there are no rectified labels\n" in printed.err
    assert printed.out == (
        f"{out}: 2 cases, CASE_pseudo_label.nii.gz, CASE_entropy.nii.gz and pseudo_labels.csv\n"
        f"next: diffrect view {tiny_run} {out} --store {store.path} --patients val\n"
    )
    assert not list(out.glob("*rectified*"))
    rows = table(out)
    assert [(row["patient"], row["part"], row["changed"]) for row in rows] == [
        ("patient028", "val", "")
    ] * 2
    assert rows[0]["left ventricle rectified_ml"] == rows[0]["left ventricle agreement"] == ""
    assert rows[0]["left ventricle pseudo_label_ml"] != ""
    assert main([*arguments, "--patients", "val"]) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert main([*arguments, "--patients", "patient011", "--overwrite"]) == 0
    assert [row["part"] for row in table(out)] == ["test", "test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patients", "val"], "--patients: expected --store beside it, got none"),
        (["--store", "STORE", "a.nii"], "--store: expected no INPUT beside it, got a.nii"),
        (["--store", "STORE", "--tta", "flips"], "--tta: expected no --store beside it, got STORE"),
        (["--store", "STORE", "--patients", "p1,p2"], "or a file of them, got p1, p2"),
        (["--store", "STORE", "--patients", ","], "patients or a file of them, got none"),
        (["--store", "RUN"], "RUN: expected a store made by prepare, found a run made by train"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments, message, run, store, tmp_path, capsys):
    known = {"STORE": str(store.path), "RUN": str(run)}
    given = [known.get(word, word) for word in arguments]
    assert main(["predict", str(run), str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    for word, path in known.items():
        error = error.replace(path, word)
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_task_is_refused(run, decathlon_store, tmp_path):
    with pytest.raises(InputError, match="expected the classes of"):
        pseudo_labels(run, tmp_path / "out", store=decathlon_store.path, progress=False)
    assert not (tmp_path / "out").exists()


def test_of_several_cases_the_good_ones_are_written(run, store, tmp_path):
    copy = shutil.copytree(store.path, tmp_path / "store")
    (copy / "cases" / CASES[1] / "image.b2nd").write_bytes(b"damaged")
    out = tmp_path / "out"
    with pytest.raises(PartialFailure, match=r"^1 of 4 cases failed: .*image\.b2nd") as found:
        pseudo_labels(run, out, store=copy, progress=False)
    assert len(found.value.done) == 9
    assert [row["case"] for row in table(out)] == [CASES[0], *CASES[2:]]
    assert not list(out.glob(f"{CASES[1]}*"))


def test_without_the_labels_of_the_training_parts_are_kept(run, store, tmp_path, capsys):
    moved = shutil.copytree(run, tmp_path / "run")
    (moved / "store.txt").write_text(str(tmp_path / "gone"))
    only = shutil.copytree(store.path, tmp_path / "other")
    opened = Store(only)
    opened.cases = {
        name: case for name, case in opened.cases.items() if case.patient != "patient099"
    }
    labeller = PseudoLabeller(load_method(moved, "best"), moved, CPU, opened)
    reason = "no labels of the training say which classes are one part: smaller parts are kept"
    assert labeller.remarks(moved, "diffrect") == [f"{moved}: {reason}"]
    assert labeller_of(run, store).remarks(run, "diffrect") == []


def untrained(store: Store, run: Path, **options: object) -> PseudoLabeller:
    """A training that has not begun, with the split of a run."""
    config = complete(TrainConfig(method="diffrect", size=32, options=options))
    resolved = resolve(config)
    problem = Problem(store.task, config.iterations, size=config.side)
    method = resolved.method(problem, resolved.method_options)
    loaded = LoadedMethod(method, store.task, config, config.iterations)
    return PseudoLabeller(loaded, run, CPU, store)


def seeing(codes: np.ndarray) -> Callable[..., object]:
    """Logits of a segmenter that is sure of class codes (Z, 32, 32)."""
    shares = torch.nn.functional.one_hot(torch.from_numpy(codes).long(), 4).permute(0, 3, 1, 2)

    def logits(slices: np.ndarray, zoom: object = None, batch: object = None) -> object:
        return iter([(slice(0, len(codes)), 20.0 * shares)])

    return logits


def test_components_remove_smaller_parts_only(run, store, monkeypatch):
    labeller = untrained(store, run, rectifier="components", largest_part=True)
    codes = np.zeros((3, 32, 32), np.uint8)
    codes[:, 4:20, 4:20], codes[1, 28, 28] = 1, 1
    object.__setattr__(labeller.segmenter, "logits", seeing(codes))
    found = labeller.label(np.zeros((3, 1, 32, 32), np.float32), (32, 32), None)
    assert np.array_equal(found.labels, codes)
    changed = np.argwhere(found.rectified != codes)
    assert changed.tolist() == [[1, 28, 28]]


def test_single_slices_are_corrected_at_the_teacher_s_usual_error(run, store):
    labeller = untrained(store, run, rectifier="slice")
    assert labeller.guidance.shape == (1,)
    assert 0.5 < float(labeller.guidance) < 1  # an untrained network is wrong almost everywhere
    name = CASES[0]
    first, second = (labeller.label(store.image(name), store.cases[name].shape, None) for _ in "ab")
    assert np.array_equal(first.rectified, second.rectified)
    assert not np.array_equal(first.rectified, first.labels)
    assert float(untrained(store, run, rectifier="slice", guidance="none").guidance) == 0
