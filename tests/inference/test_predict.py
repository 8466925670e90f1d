"""Prediction: labels on the input's own grid, from only a RUN folder."""

import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.kinds import EXPECTED
from diffrect.inference.model import Model
from diffrect.inference.predict import predict
from support.tiny import scan, write_nifti

GEOMETRY = (
    *("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x"),
    *("qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two images of different shapes, and things that are not images."""
    folder = tmp_path / "images"
    write_nifti(folder / "first scan.nii.gz", scan((26, 22, 3), 4, seed=1)[0], (1.5, 1.25, 10))
    write_nifti(folder / "zweiter Größe.nii", scan((17, 31, 2), 4, seed=2)[0], (2, 1, 8))
    write_nifti(folder / "below" / "deeper.nii.gz", scan((9, 9, 2), 4, seed=3)[0])
    (folder / "._first scan.nii.gz").write_bytes(b"left by a Mac")
    (folder / "notes.txt").write_text("not an image")
    return folder


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_images_of_a_folder(tiny_run, images, tmp_path):
    out = tmp_path / "new" / "labels"
    written = predict(tiny_run, out, [images], progress=False)
    assert written == [out / "first scan.nii.gz", out / "zweiter Größe.nii.gz"]
    assert names(out) == ["first scan.nii.gz", "zweiter Größe.nii.gz"]
    assert [labels_of(path).shape for path in written] == [(26, 22, 3), (17, 31, 2)]
    assert {labels_of(path).dtype for path in written} == {np.dtype(np.uint8)}


def test_labels_are_what_the_model_predicts_on_the_store(tiny_run, store, acdc_folder, tmp_path):
    model = Model.load(tiny_run, checkpoint="last", device="cpu")
    file = acdc_folder / "patient028" / "patient028_frame01.nii.gz"
    (output,) = predict(tiny_run, tmp_path, [file], checkpoint="last", progress=False)
    expected = model.predict_slices(store.image("patient028_frame01"))  # (Z, H, W)
    assert np.array_equal(labels_of(output), expected.T)
    assert len(np.unique(expected)) > 1


def test_geometry_is_copied(tiny_run, acdc_folder, tmp_path):
    # Its affine is unscaled and disagrees with its pixdim: both have to survive.
    file = acdc_folder / "patient011" / "patient011_frame01.nii.gz"
    (output,) = predict(tiny_run, tmp_path, [file], progress=False)
    before, after = nibabel.load(file), nibabel.load(output)
    assert np.array_equal(before.affine, after.affine)
    for name in GEOMETRY:
        assert before.header[name].tobytes() == after.header[name].tobytes(), name


def test_a_run_copied_elsewhere_needs_no_store(tiny_run, images, tmp_path):
    copy = tmp_path / "copy"
    (copy / "checkpoints").mkdir(parents=True)
    shutil.copy(tiny_run / "checkpoints" / "best.pt", copy / "checkpoints")
    here = predict(tiny_run, tmp_path / "here", [images], progress=False)
    there = predict(copy, tmp_path / "there", [str(images)], progress=False)
    for one, other in zip(here, there, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_an_image_named_twice_is_predicted_once(tiny_run, images, tmp_path):
    inputs = [images / "first scan.nii.gz", images]
    assert len(predict(tiny_run, tmp_path / "out", inputs, progress=False)) == 2


def test_existing_labels_are_kept_without_overwrite(tiny_run, images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    existing = out / "zweiter Größe.nii.gz"
    existing.write_text("precious")
    with pytest.raises(InputError, match=r"zweiter Größe\.nii\.gz: exists already; --overwrite"):
        predict(tiny_run, out, [images], progress=False)
    assert names(out) == [existing.name]
    predict(tiny_run, out, [images], overwrite=True, progress=False)
    assert labels_of(existing).shape == (17, 31, 2)


def test_an_input_is_never_replaced(tiny_run, images):
    before = (images / "first scan.nii.gz").read_bytes()
    with pytest.raises(InputError, match="expected another folder than that of the inputs"):
        predict(tiny_run, images, [images], overwrite=True, progress=False)
    assert (images / "first scan.nii.gz").read_bytes() == before


def test_inputs_of_the_same_name(tiny_run, images, tmp_path):
    twin = shutil.copy(images / "first scan.nii.gz", images / "below")
    with pytest.raises(InputError, match="expected inputs of different names") as caught:
        predict(tiny_run, tmp_path / "out", [images, twin], progress=False)
    assert str(images / "first scan.nii.gz") in str(caught.value)
    assert str(twin) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "INPUT: expected at least one image file or folder, got none"),
        (["nowhere"], "nowhere: expected an image file or a folder of them, found neither"),
        (
            ["empty"],
            f"empty: expected images ({EXPECTED}) in it, ",
        ),
        (["images/notes.txt"], "notes.txt: expected an image by its name (NIfTI"),
    ],
)
def test_inputs_that_do_not_exist_or_are_not_images(tiny_run, images, tmp_path, inputs, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=re.escape(message)):
        predict(tiny_run, tmp_path / "out", [tmp_path / name for name in inputs], progress=False)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder(tiny_run, images, tmp_path):
    with pytest.raises(InputError, match=r"notes\.txt: expected a folder for the label files"):
        predict(tiny_run, images / "notes.txt", [images], progress=False)


def test_no_such_run(images, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*best\.pt: expected a checkpoint"):
        predict(tmp_path / "nowhere", tmp_path / "out", [images], progress=False)


def bad_image(kind: str, path: Path) -> Path:
    image = scan((20, 20, 2), 4, seed=5)[0].astype(np.float32)
    if kind == "constant":
        image[:] = 7
    elif kind == "channels":
        image = np.stack([image, image + 1], axis=3)
    elif kind == "infinite":
        image[3, 3, 1] = np.inf
    write_nifti(path, image)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "text":
        path.write_text("this is no scan")
    return path


BAD = {
    "constant": "expected varying intensities: every voxel is 7",
    "channels": "expected 1 channel, got 2",
    "infinite": "expected finite intensities",
    "truncated": "expected a readable NIfTI file",
    "text": "expected a readable NIfTI file",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_single_bad_image(tiny_run, tmp_path, kind):
    file = bad_image(kind, tmp_path / "bad.nii.gz")
    with pytest.raises(InputError, match=re.escape(f"{file}: {BAD[kind]}")) as caught:
        predict(tiny_run, tmp_path / "out", [file], progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_one_bad_image_does_not_stop_the_rest(tiny_run, images, tmp_path):
    out = tmp_path / "out"
    bad = bad_image("constant", images / "g bad.nii.gz")
    with pytest.raises(PartialFailure, match=r"^1 of 3 inputs failed: .*g bad\.nii\.gz") as caught:
        predict(tiny_run, out, [images], progress=False)
    assert list(caught.value.failures) == [bad]
    assert [path.name for path in caught.value.done] == names(out)
    assert names(out) == ["first scan.nii.gz", "zweiter Größe.nii.gz"]


def test_truth_files_of_a_folder_are_not_inputs(
    tiny_run: Path, acdc_folder: Path, tmp_path: Path
) -> None:
    written = predict(tiny_run, tmp_path / "labels", [acdc_folder / "patient099"], progress=False)
    assert sorted(path.name for path in written) == [
        "patient099_frame01.nii.gz",
        "patient099_frame09.nii.gz",
    ]
