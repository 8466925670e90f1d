"""A known pattern predicted and read back by nibabel and SimpleITK: voxel for voxel, mm for mm."""

import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from torch import Tensor, nn

from diffrect.cli.main import main
from diffrect.config import TrainConfig
from diffrect.data.task import Task
from diffrect.errors import InputError
from diffrect.imaging.components import keep_largest_components
from diffrect.imaging.volume import Volume
from diffrect.inference.model import Model
from diffrect.inference.predict import predict, predict_file
from diffrect.inference.segment import segment
from support.scans import LPS, OBLIQUE, SPACING, grid, write_scan, write_series
from support.tiny import scan, write_nifti

FORMATS = ("scan.nii", "scan.nii.gz", "scan.nrrd", "scan.nhdr", "scan.mha", "scan.mhd", "series")
SHAPE = (11, 8, 6)


class Threshold(nn.Module):
    """Sure of class 1 where the intensity is above one half."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(200.0))

    def forward(self, images: Tensor) -> Tensor:
        above = (images[:, :1] - 0.5) * self.weight
        return torch.cat([-above, above], dim=1)


def stub(axis: str = "auto", intensity: str = "minmax", **options) -> Model:
    """A model whose labels are known: with a crop, slices keep their pixels of 1 mm."""
    config = TrainConfig(**{"size": 16, **options})
    task = Task(1, ("background", "bright"), intensity, axis)
    return Model(Threshold(), task, config, 0, "nearest")


def pattern(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random voxels: any turn, shift or flip is seen."""
    return (np.random.default_rng(3).random(shape) < 0.4).astype(np.int16)


def crop_model(axis: str) -> Model:
    """Slices whose pixels are resampled to what they are already, within a square of 32."""
    return stub(axis, spacing=1.0, crop=32)


def turned(name: str) -> np.ndarray:
    """An affine of that kind, of pixels of 1 mm."""
    direction = {
        "straight": np.eye(3),
        "flipped": np.diag([-1.0, 1.0, -1.0]),
        "rotated": np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]]),
        "oblique": OBLIQUE,
        "sheared": OBLIQUE @ np.array([[1, 0.2, 0], [0, np.sqrt(0.96), 0], [0, 0, 1]]),
    }[name]
    return grid(direction, (1.0, 1.0, 1.0))


@pytest.mark.parametrize("axis", ["auto", "0", "1", "2", "coronal", "sagittal"])
@pytest.mark.parametrize("kind", ["straight", "flipped", "rotated", "oblique", "sheared"])
@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd"])
def test_whatever_the_affine_and_the_axis(tmp_path: Path, name: str, kind: str, axis: str) -> None:
    labels = pattern()
    file = write_scan(tmp_path / name, 100 * labels + 7, turned(kind))
    output = tmp_path / "labels.nii.gz"
    predict_file(crop_model(axis), file, output)
    image = nib.load(output)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    np.testing.assert_allclose(image.affine, turned(kind), atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms(), (1, 1, 1), rtol=1e-6)


@pytest.mark.parametrize("format", ["nifti", "same"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format(tmp_path: Path, name: str, format: str, monkeypatch) -> None:
    if (name, format) == ("series", "same"):
        pytest.skip("label maps are not written as DICOM")
    monkeypatch.setattr(Model, "load", lambda *_, **__: stub("2", spacing=1.25, crop=48))
    labels = pattern()
    file = write_scan(tmp_path / "in" / name, 100 * labels + 7, grid(spacing=(1.25, 1.25, 4.0)))
    (output,) = predict("run", tmp_path / "out", [file], format=format, progress=False)
    assert output.name == ("scan.nii.gz", name)[format == "same"].replace(
        "scan", file.stem[:4]
    ) or (output.name == "series.nii.gz")
    before, after = read_itk(file), sitk.ReadImage(str(output))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), labels.T)
    assert after.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_allclose(after.GetSpacing(), before.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(after.GetOrigin(), before.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(after.GetDirection(), before.GetDirection(), atol=1e-6)
    if format == "nifti":
        image = nib.load(output)
        np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
        np.testing.assert_allclose(image.affine, grid(spacing=(1.25, 1.25, 4.0)), atol=1e-5)
    assert not list(tmp_path.rglob(".*"))


def read_itk(path: Path) -> sitk.Image:
    if not path.is_dir():
        return sitk.ReadImage(str(path))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    return reader.Execute()


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_transforms_of_nifti_that_disagree(tmp_path: Path, codes: tuple[int, int]) -> None:
    """qform alone, a sheared sform alone, both, neither: all are kept, byte for byte."""
    labels = pattern()
    image = nib.Nifti1Image(100 * labels + 7, None)
    image.header.set_qform(turned("oblique"), code=codes[0])
    image.header.set_sform(turned("sheared"), code=codes[1])
    nib.save(image, tmp_path / "a.nii")
    predict_file(crop_model("auto"), tmp_path / "a.nii", tmp_path / "b.nii")
    for name in ("a.nii", "b.nii"):
        written = nib.load(tmp_path / name)
        assert (written.header["qform_code"], written.header["sform_code"]) == codes
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels)
    before, after = ((tmp_path / name).read_bytes() for name in ("a.nii", "b.nii"))
    assert before[252:328] == after[252:328]  # both transforms
    assert before[76:92] == after[76:92]  # pixdim
    if codes[0] or not codes[1]:  # ITK refuses to read a shear
        ours, theirs = (sitk.ReadImage(str(tmp_path / f"{name}.nii")) for name in "ba")
        assert ours.GetDirection() == theirs.GetDirection()
        assert ours.GetOrigin() == theirs.GetOrigin()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_pictures(tmp_path: Path, name: str, monkeypatch) -> None:
    monkeypatch.setattr(Model, "load", lambda *_, **__: stub(size=8))
    labels = np.kron(pattern((1, 1, 1)) * 0 + 1, np.zeros((8, 8, 1), np.uint8)).astype(np.uint8)
    labels[1:4, 2:7] = 1
    write_scan(tmp_path / name, 200 * labels, np.eye(4))
    outputs = [
        predict("run", tmp_path / f, [tmp_path / name], format=f, progress=False)[0]
        for f in ("nifti", "same")
    ]
    assert outputs[1].name == name.replace("jpg", "png")
    picture = Image.open(outputs[1])
    assert picture.mode == "L"
    np.testing.assert_array_equal(np.asarray(picture), labels[:, :, 0].T)
    np.testing.assert_array_equal(np.asarray(nib.load(outputs[0]).dataobj), labels)


def test_probabilities(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Model, "load", lambda *_, **__: crop_model("1"))
    labels = pattern()
    write_scan(tmp_path / "a.nrrd", 100 * labels, turned("oblique"))
    predict("run", tmp_path / "out", [tmp_path / "a.nrrd"], probabilities=True, progress=False)
    image = nib.load(tmp_path / "out" / "a_probabilities.nii.gz")
    shares = np.asarray(image.dataobj)
    assert (image.get_data_dtype(), shares.shape) == (np.float32, (*labels.shape, 2))
    np.testing.assert_allclose(shares.sum(axis=3), 1, atol=1e-6)
    np.testing.assert_array_equal(shares.argmax(axis=3), labels)
    np.testing.assert_allclose(image.affine, turned("oblique"), atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.nii.gz",
        "a_probabilities.nii.gz",
    ]
    with pytest.raises(InputError, match=r"a\.nii\.gz: exists already"):
        predict("run", tmp_path / "out", [tmp_path / "a.nrrd"], probabilities=True)


def test_the_largest_component_of_each_class() -> None:
    labels = np.zeros((9, 9, 4), np.uint8)
    labels[0:3, 0:3, 0:2] = 1
    labels[3, 3, 2] = 1  # touches at a corner
    labels[6:8, 6:8, 0] = 1
    labels[5, 0:3, 0] = 2
    labels[8, 8, 3] = 2
    expected = labels.copy()
    expected[6:8, 6:8, 0] = expected[8, 8, 3] = 0
    keep_largest_components(labels)
    np.testing.assert_array_equal(labels, expected)
    array = np.pad(expected == 1, 3).astype(float)
    array[0:2, 0:2, 0] = 1
    model = stub("2", spacing=1.0, crop=32)
    spacing = (1, 1, 1)
    assert model.predict(array, spacing=spacing).sum() == array.sum()
    found = model.predict(array, spacing=spacing, largest_component=True)
    np.testing.assert_array_equal(found, np.pad(expected == 1, 3))


@pytest.mark.parametrize("intensity", ["percentile:5:80", "zscore", "window:60:100"])
def test_intensities_as_in_training(intensity: str) -> None:
    """A bright voxel that makes half of the extremes meaningless to all but minmax."""
    array = 100.0 * pattern()
    array[0, 0, 0] = 1000
    found = stub("2", intensity, spacing=1.0, crop=32).predict(array, spacing=(1, 1, 1))
    np.testing.assert_array_equal(found, array > 60)
    assert stub("2", spacing=1.0, crop=32).predict(array, spacing=(1, 1, 1)).sum() == 1


def test_from_python(tmp_path: Path) -> None:
    labels = np.zeros((16, 16, 3), np.uint8)
    labels[2:7, 3:9] = 1
    model = stub("auto")
    np.testing.assert_array_equal(model.predict(labels * 9), labels)
    np.testing.assert_array_equal(model.predict(labels[:, :, 0] > 0), labels[:, :, 0])
    path = write_scan(tmp_path / "a.mha", labels.astype(np.int16), grid(np.eye(3)))
    np.testing.assert_array_equal(model.predict(path), labels)
    np.testing.assert_array_equal(model.predict(str(path)), labels)
    wide = np.zeros((8, 20), np.float32)
    wide[:, 12:] = 1
    assert model.predict(wide).shape == (8, 20)
    for bad in (np.zeros((2, 2, 2, 2)), np.zeros(3), np.zeros((0, 3)), np.array([["a"]])):
        with pytest.raises(InputError, match=r"array: expected"):
            model.predict(bad)
    with pytest.raises(InputError, match="array: expected finite"):
        model.predict(np.full((3, 3), np.nan))
    with pytest.raises(InputError, match="spacing: expected millimetres along X, Y and Z"):
        model.predict(labels, spacing=(1, 1))
    with pytest.raises(InputError, match="array: expected a spacing, because"):
        crop_model("2").predict(labels)


def test_arrays_of_several_channels() -> None:
    model = stub("2")
    model.task = Task(2, model.classes, "minmax")
    labels = np.zeros((16, 16, 3), np.uint8)
    labels[2:7, 3:9] = 1
    both = np.stack([labels, np.arange(labels.size).reshape(labels.shape)], axis=-1)
    np.testing.assert_array_equal(model.predict(both), labels)
    np.testing.assert_array_equal(model.predict(both[:, :, 0]), labels[:, :, 0])


def test_outside_the_crop_is_background() -> None:
    labels = stub("2", spacing=1.0, crop=4).predict(pattern() + 1, spacing=(1, 1, 1))
    outside = labels.copy()
    outside[3:7, 2:6] = 0
    assert (outside.max(), labels[3:7, 2:6].max()) == (0, 1)


@pytest.mark.parametrize("axis", ["0", "2"])
def test_memory_is_that_of_a_few_slices(axis: str) -> None:
    array = np.random.default_rng(0).integers(0, 200, (128, 128, 128)).astype(np.int16)
    volume = Volume(array, (1.0, 1.0, 1.0), np.eye(4), Path("a.nii"))
    one_slice = 128 * 128 * 8
    for intensity in ("minmax", "percentile:1:99", "zscore"):
        tracemalloc.start()
        model = stub(axis, intensity, size=128)
        labels = segment(model.segmenter, model.task, volume)
        peak = tracemalloc.get_traced_memory()[1] - labels.nbytes
        tracemalloc.stop()
        assert peak < 30 * one_slice, intensity  # of 128 slices; torch's own memory is not seen


@pytest.fixture
def scans_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my scans ä"
    image = scan((20, 20, 2), 4, seed=1)[0]
    write_nifti(folder / "a.nii.gz", image)
    write_scan(folder / "b.nrrd", image, np.eye(4))
    write_series(folder / "c", image, grid(np.eye(3), SPACING))
    (folder / "d.nii.gz").write_bytes(b"broken")
    (folder / "notes.txt").write_text("x")
    return folder


def test_the_command(tiny_run: Path, scans_folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["predict", str(tiny_run), str(out)]
    options = ["--format", "nifti", "--probabilities", "--largest-component", "--quiet"]
    assert main([*arguments, str(scans_folder), *options]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"diffrect: error: {scans_folder}/d.nii.gz: expected a readable NIfTI")
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(f"{n}{p}.nii.gz" for n in "abc" for p in ("", "_probabilities"))
    np.testing.assert_allclose(nib.load(out / "c.nii.gz").affine, LPS @ LPS @ grid(np.eye(3)))


def test_patterns(tiny_run: Path, scans_folder: Path, tmp_path: Path, capsys) -> None:
    arguments = ["predict", str(tiny_run), str(tmp_path / "out"), "--quiet"]
    assert main([*arguments, f"{scans_folder}/[abc]*"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{n}.nii.gz" for n in "abc"}
    assert main([*arguments, f"{scans_folder}/*.tif"]) == 2
    assert "*.tif: expected images (NIfTI, FreeSurfer, NRRD," in capsys.readouterr().err
    literal = scans_folder / "a[1].nii.gz"
    (scans_folder / "a.nii.gz").rename(literal)
    assert main([*arguments, str(literal)]) == 0
    assert main([*arguments, str(scans_folder / "c"), "--format", "same", "--overwrite"]) == 2
    assert "c: expected another format than DICOM for --format same" in capsys.readouterr().err


def test_unusual_axes_are_told(tiny_run: Path, tmp_path: Path, capsys) -> None:
    path = write_scan(tmp_path / "a.nrrd", scan((20, 20, 2), 4, 1)[0], turned("sheared"))
    assert main(["predict", str(tiny_run), str(tmp_path / "out"), str(path)]) == 0
    assert f"{path}: its axes are not at right angles (78.5 degrees" in capsys.readouterr().err
