"""What is written beside the labels: entropy maps and the table of volumes and confidence."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.cli import main as cli
from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.volume import Volume
from diffrect.inference.measures import (
    ClassStatistics,
    entropy,
    measure,
    voxel_ml,
    write_statistics,
)
from diffrect.inference.model import Model
from diffrect.inference.predict import predict
from support.tiny import scan, write_nifti


def test_entropy_is_0_where_one_class_is_sure_and_1_where_all_are_equal() -> None:
    shares = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], np.float32)
    found = entropy(shares)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 1, 0.5], atol=1e-6)


def volume(spacing: tuple[float, float, float] | None, affine: np.ndarray) -> Volume:
    return Volume(np.zeros((2, 1, 2), np.float32), spacing, affine, Path("a.nii"))


def test_rows_of_a_scan() -> None:
    labels = np.array([[[0, 1]], [[0, 1]]], np.uint8)
    first = np.array([[[0.75, 0.5]], [[1.0, 0.0]]])  # of class 0, where it is labelled 0 and 1
    shares = np.stack([first, 1 - first, 0 * first], axis=-1).astype(np.float32)
    entropies = np.empty(labels.shape, np.float32)
    image = volume((2.0, 2.0, 250.0), np.diag([2.0, 2.0, 250.0, 1]))
    rows = measure(labels, shares, ("none", "a", "b"), image, "s", entropies)
    assert [row.voxels for row in rows] == [2, 2, 0]
    assert [row.volume_ml for row in rows] == [2.0, 2.0, 0.0]  # a voxel is 1000 cubic millimetres
    assert [row.confidence for row in rows] == [0.875, 0.75, None]
    np.testing.assert_allclose(entropies, entropy(shares))
    assert rows[1].entropy == pytest.approx(np.log(2) / np.log(3) / 2)
    assert rows[2].entropy is None
    plain = measure(labels, shares, ("none", "a", "b"), image, "s")
    assert [row.entropy for row in plain] == [None] * 3


def test_the_volume_of_a_voxel() -> None:
    straight = np.diag([-1.0, 1, 1, 1])  # as ACDC's, whose affine has no spacing
    assert voxel_ml(volume((1.5, 1.25, 10.0), straight)) == pytest.approx(0.01875)
    leaning = np.diag([1.0, 1, 2, 1])
    leaning[1, 2] = 2.0  # the slices' axis leans by 45 degrees: they are 2 mm apart
    assert voxel_ml(volume((1.0, 1.0, 8**0.5), leaning)) == pytest.approx(0.002)
    assert voxel_ml(volume(None, np.eye(4))) is None


def test_names_are_no_formulas(tmp_path: Path) -> None:
    file = tmp_path / "statistics.csv"
    (tmp_path / ".statistics.csv.00ff.partial").touch()
    write_statistics(file, [ClassStatistics("=1+1", "a,b", 3, None, 0.123456789, None)])
    assert file.read_text("utf-8").splitlines() == [
        "scan,class,voxels,volume_ml,confidence,entropy",
        '\'=1+1,"a,b",3,,0.123457,',
    ]
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    write_nifti(folder / "one.nii.gz", scan((26, 22, 3), 4, seed=1)[0], (1.5, 1.25, 10))
    write_nifti(folder / "two.nii.gz", scan((17, 31, 2), 4, seed=2)[0], (2, 1, 8))
    return folder


def array_of(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


def test_all_that_predict_writes(
    tiny_run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["predict", str(tiny_run), str(out), str(images), "--also", str(tiny_run)]
    command += ["--tta", "auto", "--uncertainty", "--statistics", "--probabilities"]
    assert cli.main(command) == 0
    assert f"{out}: 2 label files and statistics.csv" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    kinds = ("", "_entropy", "_probabilities")
    assert names == {f"{n}{k}.nii.gz" for n in ("one", "two") for k in kinds} | {"statistics.csv"}
    with (out / "statistics.csv").open(encoding="utf-8") as file:
        rows = {(row["scan"], row["class"]): row for row in csv.DictReader(file)}
    assert len(rows) == 8
    classes = Model.load(tiny_run, device="cpu").classes
    for name, size in (("one", 0.01875), ("two", 0.016)):
        labels, shares = (
            array_of(out / f"{name}.nii.gz"),
            array_of(out / f"{name}_probabilities.nii.gz"),
        )
        uncertain = array_of(out / f"{name}_entropy.nii.gz")
        assert (uncertain.dtype, uncertain.shape) == (np.dtype("<f4"), labels.shape)
        np.testing.assert_allclose(uncertain, entropy(shares), atol=1e-6)
        code = int(np.bincount(labels.ravel()).argmax())
        inside = labels == code
        row = rows[name, classes[code]]
        assert int(row["voxels"]) == inside.sum()
        assert float(row["volume_ml"]) == pytest.approx(inside.sum() * size, rel=1e-5)
        assert float(row["confidence"]) == pytest.approx(shares[inside][:, code].mean(), rel=1e-4)
        assert float(row["entropy"]) == pytest.approx(uncertain[inside].mean(), rel=1e-4)
    assert cli.main([*command, "--quiet"]) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err


def test_the_table_is_not_replaced_unasked_and_names_only_what_was_written(
    tiny_run: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "statistics.csv").write_text("precious")
    with pytest.raises(InputError, match=r"statistics\.csv: exists already; --overwrite"):
        predict(tiny_run, out, [images], statistics=True, progress=False)
    assert [path.name for path in out.iterdir()] == ["statistics.csv"]
    write_nifti(images / "bad.nii.gz", np.full((5, 5, 2), 7, np.int16))
    with pytest.raises(PartialFailure):
        predict(tiny_run, out, [images], statistics=True, overwrite=True, progress=False)
    text = (out / "statistics.csv").read_text("utf-8")
    assert {line.split(",")[0] for line in text.splitlines()} == {"scan", "one", "two"}
    assert not list(out.glob("*_*"))


def test_labels_that_were_removed_count_as_background(
    tiny_run: Path, images: Path, tmp_path: Path
) -> None:
    options = {"statistics": True, "largest_component": True, "progress": False}
    predict(tiny_run, tmp_path / "out", [images / "one.nii.gz"], **options)
    labels = array_of(tmp_path / "out" / "one.nii.gz")
    with (tmp_path / "out" / "statistics.csv").open(encoding="utf-8") as file:
        voxels = [int(row["voxels"]) for row in csv.DictReader(file)]
    assert voxels == np.bincount(labels.ravel(), minlength=4).tolist()
