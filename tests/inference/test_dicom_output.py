"""Labels of DICOM series as DICOM segmentations: what NIfTI files say, or one line."""

from pathlib import Path

import numpy as np
import pytest

from diffrect.cli.main import main
from diffrect.errors import InputError, PartialFailure
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.read import read_image, read_label
from diffrect.inference import outputs
from diffrect.inference.predict import predict
from support.scans import grid, write_scan, write_series
from support.tiny import scan

IMAGE, _ = scan((26, 22, 5), 4, seed=1)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "scan", IMAGE, grid())
    return tmp_path / "scan"


def same(series: Path, one: Path, other: Path) -> None:
    """Check that two label files of a series say the same of each voxel."""
    image = read_image(series)
    labels = [turn_onto(image, read_label(file)) for file in (one, other)]
    np.testing.assert_array_equal(labels[0].array, labels[1].array)
    for label in labels:
        check_geometry(image, label, "its image")


def test_a_segmentation_says_what_nifti_says(tiny_run, series, tmp_path, capsys):
    out, arguments = tmp_path / "seg", ["--format", "dicom-seg", "--checkpoint", "last"]
    assert main(["predict", str(tiny_run), str(out), str(series), *arguments]) == 0
    assert [file.name for file in out.iterdir()] == ["scan.dcm"]
    (nifti,) = predict(tiny_run, tmp_path / "nii", [series], checkpoint="last", progress=False)
    assert read_label(nifti).array.any()
    same(series, out / "scan.dcm", nifti)


def test_other_scans_are_refused_at_once(tiny_run, series, tmp_path):
    other = write_scan(tmp_path / "other.nrrd", IMAGE, grid())
    expected = r"other\.nrrd: expected a DICOM series for --format dicom-seg; give --format nifti"
    with pytest.raises(InputError, match=expected):
        predict(tiny_run, tmp_path / "out", [series, other], format="dicom-seg", progress=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="same; give --format nifti or dicom-seg"):
        predict(tiny_run, tmp_path / "out", [series], format="same", progress=False)


def test_a_series_that_cannot_be_referred_to_leaves_nothing(tiny_run, tmp_path):
    out, everything = tmp_path / "out", {"probabilities": True, "uncertainty": True}
    for number, changes in enumerate(({"FrameOfReferenceUID": ""}, {"PatientSex": "NEITHER"})):
        write_series(tmp_path / f"{number}", IMAGE, grid(), **changes)
        with pytest.raises(InputError, match="a DICOM series that a segmentation can refer to"):
            predict(
                tiny_run,
                out,
                [tmp_path / f"{number}"],
                format="dicom-seg",
                progress=False,
                **everything,
            )
        assert not out.exists() or not list(out.iterdir())


def test_the_other_series_are_written(tiny_run, series, tmp_path):
    write_series(tmp_path / "bad", IMAGE, grid(), FrameOfReferenceUID="")
    inputs = [tmp_path / "bad", series]
    with pytest.raises(PartialFailure, match="1 of 2 inputs failed"):
        predict(tiny_run, tmp_path / "out", inputs, format="dicom-seg", progress=False)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["scan.dcm"]


def test_what_else_is_wanted_is_nifti(tiny_run, series, tmp_path):
    out = tmp_path / "out"
    predict(tiny_run, out, [series], format="dicom-seg", uncertainty=True, progress=False)
    assert sorted(file.name for file in out.iterdir()) == ["scan.dcm", "scan_entropy.nii.gz"]


def test_without_highdicom_a_line_says_what_to_install(tiny_run, series, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "find_spec", {"highdicom": None}.get)
    with pytest.raises(InputError) as caught:
        predict(tiny_run, tmp_path / "out", [series], format="dicom-seg", progress=False)
    assert str(caught.value) == (
        "--format dicom-seg: expected the package highdicom, found that it is not installed; "
        "pip install highdicom"
    )
