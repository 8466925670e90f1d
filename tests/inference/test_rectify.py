"""Labels that are given, corrected: on their own grid, only where it is sure, or not at all."""

import csv
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from diffrect.cli.main import main
from diffrect.config import TrainConfig
from diffrect.data.store import Store
from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.read import read_image, read_label
from diffrect.inference.load import LoadedMethod
from diffrect.inference.model import Model
from diffrect.inference.rectifying.label_context import difference
from diffrect.inference.rectifying.label_rectifier import LabelRectifier
from diffrect.inference.rectifying.pairs import list_pairs
from diffrect.inference.rectifying.rectify import rectify
from diffrect.methods.base import Problem
from diffrect.methods.registry import complete, resolve
from support.pages import check_is_alone
from support.runs import train_rectifier
from support.scans import grid, write_scan, write_series
from support.tiny import scan, write_nifti


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_rectifier(store, tmp_path_factory.mktemp("runs") / "volume")


@pytest.fixture
def rectifier(run: Path) -> LabelRectifier:
    return LabelRectifier.load(run, "best", torch.device("cpu"))


@pytest.fixture
def pair(acdc_folder: Path) -> tuple[Path, Path]:
    """A scan and its label."""
    stem = acdc_folder / "patient028" / "patient028_frame01"
    return Path(f"{stem}.nii.gz"), Path(f"{stem}_gt.nii.gz")


class Sees:
    """A network that is sure of what it is told, (Z, s, s) class codes in the order of calls."""

    def __init__(self, codes: torch.Tensor, classes: int = 4) -> None:
        self.shares = torch.stack([codes == code for code in range(classes)], 1).float()
        self.place = 0

    def parameters(self):
        return iter([torch.zeros(1)])

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(self.place, self.place + len(images)) % len(self.shares)
        self.place += len(images)
        return 20 * self.shares[rows]


def with_teacher(rectifier: LabelRectifier, codes: np.ndarray, monkeypatch) -> np.ndarray:
    """Let the teacher see class codes (Z, 32, 32), and the rectifier agree; return images."""
    teacher = Sees(torch.from_numpy(codes))
    object.__setattr__(rectifier.segmenter, "network", teacher)
    monkeypatch.setattr(rectifier, "_moved", lambda context, part, shares, before, strength: shares)
    return np.zeros((len(codes), 1, 32, 32), np.float32)


def boxes(low: int, high: int) -> np.ndarray:
    codes = np.zeros((4, 32, 32), np.uint8)
    codes[:, low:high, low:high] = 1
    return codes


def test_a_label_changes_where_both_are_sure(rectifier, monkeypatch):
    right = boxes(8, 20)
    images = with_teacher(rectifier, right, monkeypatch)
    wrong = right.copy()
    wrong[1] = 0
    wrong[2, 8:12, 8:12] = 3
    found = rectifier.rectify(images, wrong, None, 0.0)
    assert np.array_equal(found.labels, right)
    assert ((found.confidence > 0.9) == (wrong != right)).all()
    same = rectifier.rectify(images, right, None, 0.0)
    assert np.array_equal(same.labels, right)
    assert not same.confidence.any()
    assert same.difference == 0


def test_who_is_not_sure_changes_nothing_unless_told_so(rectifier, monkeypatch):
    right = boxes(8, 20)
    images = with_teacher(rectifier, right, monkeypatch)
    rectifier.segmenter.network.shares /= 20  # the teacher's highest share is e / (e + 3)
    wrong = boxes(8, 22)
    careful = rectifier.rectify(images, wrong, None, 0.0)
    assert np.array_equal(careful.labels, wrong)
    assert careful.confidence[wrong != right].max() == pytest.approx(np.e / (np.e + 3), abs=1e-3)
    bold = rectifier.rectify(images, wrong, None, 1.0)
    assert np.array_equal(bold.labels, right)


def test_what_the_teacher_does_not_see_is_not_believed(rectifier, monkeypatch):
    images = with_teacher(rectifier, boxes(8, 20), monkeypatch)
    other = torch.nn.functional.one_hot(torch.full((4, 32, 32), 2), 4).permute(0, 3, 1, 2).float()
    monkeypatch.setattr(rectifier, "_moved", lambda context, part, *_: other[part])
    wrong = boxes(8, 22)
    found = rectifier.rectify(images, wrong, None, 1.0)
    assert np.array_equal(found.labels, wrong)


def test_what_nobody_annotated_stays(rectifier, monkeypatch):
    right = boxes(8, 20)
    images = with_teacher(rectifier, right, monkeypatch)
    given = right.copy()
    given[0], given[1, :16] = IGNORED, IGNORED
    found = rectifier.rectify(images, given, None, 1.0)
    assert np.array_equal(found.labels, given)


def test_guidance_is_what_exceeds_the_teacher_s_own_error(rectifier):
    rectifier.usual = 0.1
    assert [rectifier.guidance_of(x) for x in (0.0, 0.45, 0.55, 0.9)] == pytest.approx(
        [0, 0, 0.5, 1]
    )
    rectifier.usual = float("nan")
    assert rectifier.guidance_of(0.9) == 0


def test_difference_counts_classes_that_either_has():
    one = torch.tensor([[[1, 1, 0, 2]]], dtype=torch.uint8)
    other = torch.tensor([[[1, 0, 0, 0]]], dtype=torch.uint8)
    assert difference(one, other, 4) == pytest.approx(1 - (2 / 3 + 0) / 2)
    assert difference(one * 0, other * 0, 4) == 0


def test_files_come_back_on_their_own_grid(run, pair, tmp_path):
    scan, label = pair
    (case,) = rectify(run, tmp_path / "out", [scan, label], guidance=1.0, progress=False)
    names = [f"patient028_frame01_gt{end}.nii.gz" for end in ("", "_changes", "_confidence")]
    assert [file.name for file in case.files] == names
    before, after = nib.load(label), nib.load(case.files[0])
    assert np.array_equal(before.affine, after.affine)
    assert np.array_equal(before.header["pixdim"], after.header["pixdim"])
    changes, sure = (np.asanyarray(nib.load(file).dataobj) for file in case.files[1:])
    differ = np.asanyarray(before.dataobj) != np.asanyarray(after.dataobj)
    assert np.array_equal(changes == 1, differ)
    assert np.count_nonzero(differ) == case.changed
    assert ((sure > 0) == (changes > 0)).all()


def test_a_label_stored_another_way_round_comes_back_so(run, acdc_folder, tmp_path, pair):
    scan, label = pair
    affine = np.diag([1.5, 1.25, 10.0, 1.0])
    image, codes = (np.asanyarray(nib.load(file).dataobj) for file in (scan, label))
    here = write_nifti(tmp_path / "scan.nii.gz", image, (1.5, 1.25, 10.0), affine)
    straight = write_nifti(tmp_path / "one" / "a.nii.gz", codes, (1.5, 1.25, 10.0), affine)
    flipped = affine.copy()
    flipped[0, 0], flipped[0, 3] = -1.5, 1.5 * (len(codes) - 1)
    turned = write_nifti(tmp_path / "two" / "b.nii.gz", codes[::-1], (1.5, 1.25, 10.0), flipped)
    inputs = [here, straight, here, turned]
    one, two = rectify(run, tmp_path / "out", inputs, guidance=1.0, progress=False)
    first, second = (np.asanyarray(nib.load(case.files[0]).dataobj) for case in (one, two))
    assert np.array_equal(first, second[::-1])
    assert np.array_equal(nib.load(two.files[0]).affine, flipped)


def test_the_command_writes_a_page_and_a_table(run, acdc_folder, tmp_path, capsys):
    scans, labels = tmp_path / "scans", tmp_path / "labels"
    for patient in ("patient028", "patient011"):
        stem = f"{patient}_frame01"
        for folder, end in ((scans, ""), (labels, "_gt")):
            folder.mkdir(exist_ok=True)
            content = (acdc_folder / patient / f"{stem}{end}.nii.gz").read_bytes()
            (folder / f"{stem}.nii.gz").write_bytes(content)
    out = tmp_path / "out"
    assert main(["rectify", str(run), str(out), str(scans), str(labels)]) == 0
    assert f"{out}: 2 label files, " in capsys.readouterr().out
    page = check_is_alone((out / "index.html").read_text("utf-8"))
    assert "patient011_frame01" in page.words
    assert [svg["aria-label"] for svg in page.of("svg") if svg.get("class") == "slice"][1:3] == [
        f"{name}: {when}"
        for name in [re.findall(r"<h3>(.*?)</h3>", (out / "index.html").read_text("utf-8"))[0]]
        for when in ("before", "after")
    ]
    rows = list(csv.DictReader((out / "rectified.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["patient011_frame01", "patient028_frame01"]
    assert float(rows[0]["left ventricle before"]) > 0
    assert main(["rectify", str(run), str(out), str(scans), str(labels)]) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err


def test_arrays_are_rectified_as_files_are(run, pair):
    model = Model.load(run, device="cpu")
    of_files = model.rectify(*pair, guidance=1.0)
    image, label = (np.asanyarray(nib.load(file).dataobj) for file in pair)
    of_arrays = model.rectify(image, label, guidance=1.0, spacing=(1.5, 1.25, 10.0))
    assert np.array_equal(of_files.labels, of_arrays.labels)
    assert np.array_equal(of_files.given, label)
    assert of_files.guidance == 1.0
    plane = model.rectify(image[:, :, 0].T, label[:, :, 0].T, guidance=0.0)
    assert plane.labels.shape == image[:, :, 0].T.shape
    with pytest.raises(InputError, match=r"label: expected codes of shape \(26, 22, 3\), got"):
        model.rectify(image, label[:5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SCAN"], "INPUT: expected SCAN LABEL in pairs, got 1"),
        (["SCAN", "LABEL", "--guidance", "2"], "--guidance: expected auto or a number from 0 to 1"),
        (["SCAN", "missing.nii.gz"], "missing.nii.gz: expected an image file or a folder of them"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments, message, run, pair, tmp_path, capsys):
    known = {"SCAN": str(pair[0]), "LABEL": str(pair[1])}
    given = [known.get(word, word) for word in arguments]
    assert main(["rectify", str(run), str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_methods_without_a_rectifier_are_told_so(tiny_run, pair, tmp_path, capsys):
    assert main(["rectify", str(tiny_run), str(tmp_path / "out"), *map(str, pair)]) == 2
    line = f"{tiny_run}: expected a training with a rectifier, as diffrect has one, found method "
    assert line + "supervised" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_of_several_labels_the_good_ones_are_written(run, pair, tmp_path):
    scan, label = pair
    codes = np.asanyarray(nib.load(label).dataobj).copy()
    codes[0, 0, 0] = 9
    bad = tmp_path / "bad.nii.gz"
    nib.save(nib.Nifti1Image(codes, nib.load(label).affine, nib.load(label).header), bad)
    with pytest.raises(
        PartialFailure, match=r"1 of 2 inputs failed: .*label codes 0 to 3"
    ) as found:
        rectify(run, tmp_path / "out", [scan, label, scan, bad], progress=False)
    assert [file.name for file in found.value.done] == ["patient028_frame01_gt.nii.gz"]
    assert not (tmp_path / "out" / "bad.nii.gz").exists()


def test_pairs_of_folders_and_of_nnunet_names(tmp_path, pair):
    scans, labels = tmp_path / "scans", tmp_path / "labels"
    for file in (
        scans / "a_0000.nii.gz",
        scans / "b.nii.gz",
        labels / "a.nii.gz",
        labels / "b.nii.gz",
    ):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    pairs = list_pairs([scans, labels], 1)
    assert [(p.name, p.scan[0].name, p.label.name) for p in pairs] == [
        ("a", "a_0000.nii.gz", "a.nii.gz"),
        ("b", "b.nii.gz", "b.nii.gz"),
    ]
    (labels / "c.nii.gz").touch()
    with pytest.raises(InputError, match=r"c\.nii\.gz: expected one scan of this name in .*none"):
        list_pairs([scans, labels], 1)
    with pytest.raises(InputError, match=r"expected labels of different names, .* has the same"):
        list_pairs([pair[0], labels / "b.nii.gz", pair[0], labels / "b.nii.gz"], 1)


def untrained(store: Store, folder: Path, **options: object) -> LabelRectifier:
    """The rectifier of a training that has not begun, with a folder that holds nothing."""
    config = complete(TrainConfig(method="diffrect", size=32, options=options))
    resolved = resolve(config)
    problem = Problem(store.task, config.iterations, size=config.side)
    method = resolved.method(problem, resolved.method_options)
    loaded = LoadedMethod(method, store.task, config, config.iterations)
    return LabelRectifier(loaded, folder, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["slice", "volume", "components"])
def test_every_kind_of_rectifier_gives_the_same_twice(kind, store, tmp_path):
    rectifier = untrained(store, tmp_path, rectifier=kind)
    assert (rectifier.network is None) == (kind == "components")
    name = next(iter(store.cases))
    first, second = (
        rectifier.rectify(store.image(name), store.label(name), None, 1.0) for _ in range(2)
    )
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.confidence, second.confidence)
    assert first.labels.shape == store.label(name).shape
    assert rectifier.guidance_of(1.0) == 0  # nobody has validated


def test_smaller_parts_are_removed_where_the_teacher_sees_none(store, tmp_path, monkeypatch):
    rectifier = untrained(store, tmp_path, rectifier="components", largest_part=True)
    right = boxes(8, 20)
    images = np.zeros((4, 1, 32, 32), np.float32)
    object.__setattr__(rectifier.segmenter, "network", Sees(torch.from_numpy(right)))
    speck = right.copy()
    speck[:, 26:29, 26:29] = 1
    found = rectifier.rectify(images, speck, None, 0.0)
    assert np.array_equal(found.labels, right)
    object.__setattr__(rectifier.segmenter, "network", Sees(torch.from_numpy(speck)))
    assert np.array_equal(rectifier.rectify(images, speck, None, 0.0).labels, speck)


def test_a_control_that_corrects_nothing_is_no_rectifier(store, tmp_path):
    with pytest.raises(InputError, match=r"found method diffrect with rectifier identity$"):
        untrained(store, tmp_path, rectifier="identity")


def test_a_dicom_segmentation_says_what_nifti_says(run: Path, tmp_path: Path) -> None:
    image, truth = scan((26, 22, 3), 4, seed=1)
    write_series(tmp_path / "s", image, grid())
    label = write_scan(tmp_path / "label.nii.gz", truth[::-1, :, :], flipped(grid(), len(truth)))
    inputs = [tmp_path / "s", label]
    [seg] = rectify(run, tmp_path / "seg", inputs, format="dicom-seg", progress=False)
    [nifti] = rectify(run, tmp_path / "nifti", inputs, progress=False)
    assert [file.name for file in seg.files] == [
        "label.dcm",
        "label_changes.nii.gz",
        "label_confidence.nii.gz",
    ]
    volume = read_image(tmp_path / "s")
    for one, other in zip(seg.files[:2], nifti.files[:2], strict=True):
        found, expected = (turn_onto(volume, read_label(file)) for file in (one, other))
        np.testing.assert_array_equal(found.array, expected.array)
        check_geometry(volume, found, "its image")


def flipped(affine: np.ndarray, size: int) -> np.ndarray:
    """Return the affine of a grid whose first axis is stored the other way round."""
    turned = affine.copy()
    turned[:3, 3] += (size - 1) * affine[:3, 0]
    turned[:3, 0] *= -1
    return turned


def test_voxels_to_ignore_are_no_segment(run: Path, tmp_path: Path) -> None:
    image, truth = scan((26, 22, 3), 4, seed=1)
    write_series(tmp_path / "s", image, grid())
    label = write_scan(tmp_path / "label.nii.gz", np.full_like(truth, IGNORED), grid())
    inputs = [tmp_path / "s", label]
    with pytest.raises(InputError, match="label codes 0 to 3 for a DICOM segmentation, got 255"):
        rectify(run, tmp_path / "out", inputs, format="dicom-seg", progress=False)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
