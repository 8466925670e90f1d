"""Labels and probabilities of files and arrays, by one model and by several alike."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.inference.ensemble import Ensemble
from diffrect.inference.model import Model
from diffrect.inference.predict import predict
from diffrect.inference.predictor import Predictor


@pytest.fixture
def model(tiny_run: Path) -> Model:
    return Model.load(tiny_run, device="cpu")


@pytest.fixture
def scan(acdc_folder: Path) -> Path:
    return acdc_folder / "patient028" / "patient028_frame01.nii.gz"


@pytest.mark.parametrize("several", [False, True])
def test_the_most_probable_class_is_the_label(several, model, scan):
    predictor: Predictor = Ensemble([model, model]) if several else model
    shares = predictor.predict_probabilities(scan)
    assert shares.shape == (26, 22, 3, 4)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(shares.argmax(axis=-1), predictor.predict(scan))


def test_probabilities_are_those_that_files_hold(model, tiny_run, scan, tmp_path):
    predict(tiny_run, tmp_path, [scan], probabilities=True, device="cpu", progress=False)
    written = np.asanyarray(nib.load(tmp_path / "patient028_frame01_probabilities.nii.gz").dataobj)
    assert np.array_equal(model.predict_probabilities(scan), written)


def test_a_single_slice_keeps_its_layout(model, scan):
    array = np.asanyarray(nib.load(scan).dataobj)
    plane = array[:, :, 1].T  # (H, W), as pictures are
    shares = model.predict_probabilities(plane)
    assert shares.shape == (22, 26, 4)
    whole = model.predict_probabilities(array[:, :, 1:2])
    assert np.array_equal(shares, whole[:, :, 0].swapaxes(0, 1))
    assert np.array_equal(shares.argmax(-1), model.predict(plane))


def test_what_is_no_scan_is_refused(model, tmp_path):
    with pytest.raises(InputError, match=r"^array: expected numbers \(H, W\) or \(X, Y, Z\), got"):
        model.predict_probabilities(np.zeros(3))
    with pytest.raises(InputError, match=r"none\.nii\.gz: "):
        model.predict_probabilities(tmp_path / "none.nii.gz")
