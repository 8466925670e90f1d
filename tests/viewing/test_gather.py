"""What is shown: scans, stores and runs, and which label belongs to which of them."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.data.prepare import prepare
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.viewing.gallery import Gallery
from diffrect.viewing.gather import gather
from support.tiny import scan, write_nifti
from support.viewers import SHAPE, write_scans


def named(gallery: Gallery) -> dict[str, list[str]]:
    """The layers of each case by name."""
    return {case.name: [layer.name for layer in case.layers] for case in gallery.cases}


def read(gallery: Gallery, case: int, layer: int) -> np.ndarray:
    shown = gallery.cases[case]
    return shown.layers[layer].read(shown.scan())


def test_a_scan_and_its_label_need_no_common_name(tmp_path):
    write_scans(tmp_path)
    label = tmp_path / "labels" / "two.nii.gz"
    gallery = gather(tmp_path / "images" / "one.nii.gz", [label])
    assert named(gallery) == {"one": ["two"]}
    assert np.array_equal(read(gallery, 0, 0), nib.load(label).get_fdata())
    assert gallery.classes == ()


def test_files_of_folders_belong_together_by_name(tmp_path):
    write_scans(tmp_path)
    own = tmp_path / "predicted"
    for name in ("one", "one_entropy", "one_changes", "two_probabilities", "other"):
        shutil.copy(tmp_path / "labels" / "one.nii.gz", write_parent(own) / f"{name}.nii.gz")
    shutil.copy(tmp_path / "labels" / "two.nii.gz", write_parent(own / "teacher") / "two.nii.gz")
    gallery = gather(tmp_path / "images", [own, tmp_path / "labels"])
    assert named(gallery) == {
        "one": ["labels", "predicted", "changes", "entropy"],
        "two": ["labels", "teacher"],
    }
    kinds = [layer.kind for layer in gallery.cases[0].layers]
    assert kinds == ["label", "label", "changes", "map"]
    assert [line for line in gallery.remarks if "1 file of no case" in line]


def write_parent(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_longest_name_that_fits_owns_a_file(tmp_path):
    write_scans(tmp_path, ("p", "p_1"))
    label = tmp_path / "labels" / "p.nii.gz"
    for name in ("p_1_entropy", "p_entropy", "p_1"):
        shutil.copy(label, write_parent(tmp_path / "out") / f"{name}.nii.gz")
    gallery = gather(tmp_path / "images", [tmp_path / "out"])
    assert named(gallery) == {"p": ["entropy"], "p_1": ["out", "entropy"]}


def test_nnu_net_names_a_channel_and_no_label_so(tmp_path):
    write_scans(tmp_path)
    (tmp_path / "images" / "one.nii.gz").rename(tmp_path / "images" / "one_0000.nii.gz")
    gallery = gather(tmp_path / "images", [tmp_path / "labels"])
    assert named(gallery) == {"one_0000": ["labels"], "two": ["labels"]}


def test_layers_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        write_scans(tmp_path / folder)
    gallery = gather(tmp_path / "a" / "images", [tmp_path / x / "labels" for x in "ab"])
    names = named(gallery)["one"]
    assert len(set(names)) == 2


def test_a_label_is_turned_onto_its_scan(tmp_path):
    image, label = scan(SHAPE, classes=3, seed=0)
    write_nifti(tmp_path / "scan.nii.gz", image)
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = SHAPE[0] - 1
    write_nifti(tmp_path / "label.nii.gz", label[::-1], affine=flipped)
    gallery = gather(tmp_path / "scan.nii.gz", [tmp_path / "label.nii.gz"])
    assert np.array_equal(read(gallery, 0, 0), label)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda label: label[:-1], r"label\.nii\.gz: expected the shape of its scan .*scan.*got"),
        (lambda label: label.astype(np.uint16) + 300, "expected label codes up to 255 to show"),
        (lambda label: label + 0.5, "expected whole label codes, found 0.5"),
    ],
)
def test_a_label_that_does_not_fit_is_named(change, wanted, tmp_path):
    image, label = scan(SHAPE, classes=3, seed=0)
    write_nifti(tmp_path / "scan.nii.gz", image)
    write_nifti(tmp_path / "label.nii.gz", change(label))
    gallery = gather(tmp_path / "scan.nii.gz", [tmp_path / "label.nii.gz"])
    with pytest.raises(InputError, match=wanted):
        read(gallery, 0, 0)


def test_a_label_that_lies_elsewhere_is_named(tmp_path):
    image, label = scan(SHAPE, classes=3, seed=0)
    write_nifti(tmp_path / "scan.nii.gz", image)
    affine = np.eye(4)
    affine[0, 3] = 7
    write_nifti(tmp_path / "label.nii.gz", label, affine=affine)
    gallery = gather(tmp_path / "scan.nii.gz", [tmp_path / "label.nii.gz"])
    with pytest.raises(InputError, match=r"label.*expected the geometry of its scan") as caught:
        read(gallery, 0, 0)
    assert "--trust" not in str(caught.value)


@pytest.mark.parametrize("what", ["file", "folder", "scan"])
def test_links_out_of_a_folder_are_not_followed(what, tmp_path):
    write_scans(tmp_path)
    (tmp_path / "secret").mkdir()
    secret = shutil.copy(tmp_path / "labels" / "one.nii.gz", tmp_path / "secret" / "one.nii.gz")
    if what == "file":
        (tmp_path / "labels" / "one_private.nii.gz").symlink_to(secret)
    elif what == "folder":
        (tmp_path / "labels" / "teacher").symlink_to(tmp_path / "secret")
    else:
        (tmp_path / "images" / "three.nii.gz").symlink_to(secret)
    gallery = gather(tmp_path / "images", [tmp_path / "labels"])
    assert named(gallery) == {"one": ["labels"], "two": ["labels"]}
    (line,) = gallery.remarks
    assert "leads out of" in line


def test_a_link_that_the_user_names_is_followed(tmp_path):
    write_scans(tmp_path / "far")
    (tmp_path / "images").symlink_to(tmp_path / "far" / "images")
    (tmp_path / "one.nii.gz").symlink_to(tmp_path / "far" / "labels" / "one.nii.gz")
    gallery = gather(tmp_path / "images", [tmp_path / "one.nii.gz"])
    assert named(gallery) == {"one": ["label"], "two": []}
    assert gallery.cases[0].scan().array.shape == SHAPE


def test_a_link_made_meanwhile_is_refused(tmp_path):
    write_scans(tmp_path)
    secret = shutil.copy(tmp_path / "labels" / "one.nii.gz", tmp_path / "secret.nii.gz")
    gallery = gather(tmp_path / "images", [tmp_path / "labels"])
    for folder in ("images", "labels"):
        file = tmp_path / folder / "one.nii.gz"
        file.unlink()
        file.symlink_to(secret)
    with pytest.raises(InputError, match="found a link that leads out of it"):
        gallery.cases[0].scan()
    with pytest.raises(InputError, match="found a link that leads out of it"):
        gallery.cases[0].layers[0].read(None)


@pytest.mark.parametrize(
    ("source", "labels", "wanted"),
    [
        ("nowhere", [], "nowhere: expected an image file or a folder of them, found neither"),
        ("empty", [], "empty: expected a run, a store or images .* in it, found none"),
        ("notes.txt", [], r"notes.txt: expected an image by its name"),
        (
            "images",
            ["nowhere"],
            "nowhere: expected a label file or a folder of them, found nothing",
        ),
        ("images", ["notes.txt"], "notes.txt: expected a label by its name"),
        (
            "images",
            ["other.nii.gz"],
            "other.nii.gz: expected the name of one of the 2 cases, such as",
        ),
        ("images", ["others"], r"others: expected labels named like .* one\.nii\.gz, found none"),
        ("run.onnx", [], r"run\.onnx: expected a run made by train, found a model made by export"),
    ],
)
def test_what_is_not_there_is_named(source, labels, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(write_scans(tmp_path))
    Path("empty").mkdir()
    Path("notes.txt").write_text("a")
    Path("run.onnx").write_text("a")
    image = Path("images") / "one.nii.gz"
    shutil.copy(image, "other.nii.gz")
    shutil.copy(image, write_parent(Path("others")) / "other.nii.gz")
    with pytest.raises(InputError, match=wanted):
        gather(Path(source), [Path(name) for name in labels])


def test_the_entropy_of_a_table_is_the_mean_of_the_voxels(tmp_path):
    write_scans(tmp_path)
    rows = "one,background,30,,0.9,0.1\none,a,10,,0.8,0.5\ntwo,background,40,,1,\n"
    heading = "scan,class,voxels,volume_ml,confidence,entropy\n"
    (tmp_path / "labels" / "statistics.csv").write_text(heading + rows)
    gallery = gather(tmp_path / "images", [tmp_path / "labels"])
    assert [case.entropy for case in gallery.cases] == [pytest.approx(0.2), None]


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "scan,entropy,voxels\none,x,3\n", "scan,entropy,voxels\none,inf,3\n"]
)
def test_another_table_is_named(text, tmp_path):
    write_scans(tmp_path)
    (tmp_path / "labels" / "statistics.csv").write_text(text)
    with pytest.raises(InputError, match=r"statistics\.csv: expected a table that predict writes"):
        gather(tmp_path / "images", [tmp_path / "labels"])


def test_a_store_shows_scan_and_truth_as_the_source_stored_them(store, acdc_folder):
    gallery = gather(store.path, patients="patient011,patient099")
    assert named(gallery)["patient011_frame01"] == ["truth"]
    assert [case.part for case in gallery.cases] == ["test", "test", "train", "train"]
    assert gallery.classes == store.classes[1:]
    source = acdc_folder / "patient011" / "patient011_frame01"
    image = nib.load(f"{source}.nii.gz").get_fdata()
    shown = gallery.cases[0].scan()
    assert shown.spacing == pytest.approx((1.5, 1.25, 10.0))
    assert np.corrcoef(shown.array.ravel(), image.ravel())[0, 1] == pytest.approx(1)
    assert np.array_equal(read(gallery, 0, 0), nib.load(f"{source}_gt.nii.gz").get_fdata())


def test_label_files_lie_over_the_cases_of_a_store(store, acdc_folder):
    label = acdc_folder / "patient011" / "patient011_frame01_gt.nii.gz"
    gallery = gather(store.path, [label], patients="patient011")
    assert named(gallery) == {
        "patient011_frame01": ["truth", "gt"],
        "patient011_frame02": ["truth"],
    }
    assert np.array_equal(read(gallery, 0, 1), read(gallery, 0, 0))


def test_a_case_without_truth_has_none(decathlon_store):
    layers = named(gather(decathlon_store.path))
    unlabelled = [case.id for case in decathlon_store.cases.values() if not case.labelled]
    assert unlabelled
    assert [name for name, found in layers.items() if not found] == unlabelled


def test_a_store_whose_files_lie_elsewhere_is_refused(store, tmp_path):
    copy = shutil.copytree(store.path, tmp_path / "store")
    case = copy / "cases" / "patient011_frame01"
    shutil.move(case / "image.b2nd", tmp_path / "image.b2nd")
    (case / "image.b2nd").symlink_to(tmp_path / "image.b2nd")
    gallery = gather(copy, patients="patient011")
    with pytest.raises(InputError, match="a link that leads out of it"):
        gallery.cases[0].scan()
    assert gallery.cases[1].scan() is not None


def test_scans_cut_along_another_axis_come_back(tmp_path):
    source = tmp_path / "source"
    for seed, name in enumerate(("a", "b")):
        image, label = scan(SHAPE, classes=3, seed=seed)
        affine = np.diag([1.0, -1.0, -1.0, 1.0])[[2, 0, 1, 3]]
        write_nifti(source / "images" / f"{name}.nii.gz", image, (2.0, 1.0, 1.0), affine)
        write_nifti(source / "labels" / f"{name}.nii.gz", label, (2.0, 1.0, 1.0), affine)
    prepare(source, tmp_path / "store", axis="auto", progress=False)
    gallery = gather(tmp_path / "store", [source / "labels"])
    assert named(gallery)["a"] == ["truth", "labels"]
    for number in range(2):
        assert np.array_equal(read(gallery, number, 0), read(gallery, number, 1))
        assert gallery.cases[number].scan().spacing == (2.0, 1.0, 1.0)


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_a_run_shows_truth_and_what_evaluate_scores(run, store):
    result = evaluate(run, progress=False, keep_predictions=True)
    gallery = gather(run)
    assert named(gallery) == {case.id: ["truth", "prediction"] for case in result.cases}
    for number, case in enumerate(result.cases):
        wanted = store.grid(case.id).volume(result.predictions[case.id].unpack()).array
        assert np.array_equal(read(gallery, number, 1), wanted)
        dice = np.mean([scores["dice"] for scores in case.classes.values()])
        assert gallery.cases[number].dice == pytest.approx(100 * dice)
        assert gallery.cases[number].part == "val"


def test_patients_of_a_run_are_chosen_by_their_part(run):
    assert {case.part for case in gather(run, patients="train").cases} == {"labelled", "unlabelled"}
    assert {case.name[:10] for case in gather(run, patients="patient011").cases} == {"patient011"}
    assert gather(run).cases[0].dice is None


def test_a_run_without_its_store_names_the_option(run, store):
    (run / "store.txt").write_text("/nowhere/store")
    wanted = "run: expected the store it was trained on, .*nowhere.* not there; give --store"
    with pytest.raises(InputError, match=wanted):
        gather(run)
    assert gather(run, store=store.path).cases


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"store": Path("x")}, "--store: expected a run to show, got .*images"),
        ({"patients": "val"}, "--patients: expected a run or a store to show, got .*images"),
    ],
)
def test_options_of_a_run_are_refused_for_scans(options, wanted, tmp_path):
    write_scans(tmp_path)
    with pytest.raises(InputError, match=wanted):
        gather(tmp_path / "images", **options)


def test_pictures_are_scans_of_one_slice(tmp_path):
    from PIL import Image

    rows, columns = np.mgrid[:12, :16]
    Image.fromarray((rows * 10).astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray((columns > 8).astype(np.uint8)).save(tmp_path / "b.png")
    gallery = gather(tmp_path / "a.png", [tmp_path / "b.png"])
    assert gallery.cases[0].scan().array.shape == (16, 12, 1)
    assert np.array_equal(read(gallery, 0, 0)[..., 0], (columns > 8).T)
