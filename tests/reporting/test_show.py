"""One slice with labels side by side: the right slice, names that stay text, and refusals."""

import xml.etree.ElementTree as ET
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.volume import Volume
from diffrect.reporting.show import Picture, show
from support.tiny import write_nifti

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 99, (12, 10, 4)).astype(np.int16)


@pytest.fixture
def label(scan: np.ndarray) -> np.ndarray:
    """Class 2 in the third slice, and less of class 1 in the second."""
    codes = np.zeros(scan.shape, np.uint8)
    codes[2:9, 2:8, 2], codes[3, 3, 1], codes[:, :, 0] = 2, 1, IGNORED
    return codes


def drawn(picture: Picture) -> ET.Element:
    """The picture as elements; it names nothing outside of itself."""
    root = ET.fromstring(picture.svg)
    for one in root.iter():
        for name, value in one.attrib.items():
            assert name != "href" or value.startswith(("#", "data:image/png;base64,"))
    return root


def texts(picture: Picture) -> list[str]:
    return [one.text or "" for one in drawn(picture).iter(f"{SVG}text")]


def test_the_slice_with_the_most_labels_is_shown(scan, label):
    picture = show(scan, {"mine": label}, classes=("background", "a", "b"))
    assert repr(picture) == "<Picture: slice 3 of 4: scan, mine>"
    assert texts(picture) == ["scan", "mine", "b"]
    assert repr(show(scan, {"mine": label}, index=1)) == "<Picture: slice 2 of 4: scan, mine>"
    assert texts(show(scan, {"mine": label}, index=1)) == ["scan", "mine", "1"]
    assert repr(show(scan)) == "<Picture: slice 3 of 4: scan>"
    assert texts(show(scan[:, :, 0].T, {"x": label[:, :, 2].T})) == ["scan", "x", "2"]


def test_files_are_turned_onto_the_scan(scan, label, tmp_path):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    image = write_nifti(tmp_path / "scan.nii.gz", scan, (1, 1, 3), affine)
    same = write_nifti(tmp_path / "label.nii.gz", label, (1, 1, 3), affine)
    flipped = affine.copy()
    flipped[0, 0], flipped[0, 3] = -1, len(scan) - 1
    other = write_nifti(tmp_path / "turned.nii.gz", label[::-1], (1, 1, 3), flipped)
    one, two = (show(image, {"label": file}) for file in (same, other))
    assert one.svg == two.svg
    assert one.svg == show(str(image), {"label": label}).svg
    volume = Volume(label, (1.0, 1.0, 3.0), affine)
    assert one.svg == show(Volume(scan, (1.0, 1.0, 3.0), affine), {"label": volume}).svg
    saved = one.save(tmp_path / "a.svg")
    assert drawn(Picture(saved.read_text("utf-8"), "")).get("id") == drawn(one).get("id")
    assert one._repr_svg_() == one.svg
    assert nib.load(image).shape == scan.shape


def test_pictures_of_one_page_do_not_share_names(scan, label):
    one, two = show(scan, {"x": label}), show(scan + 1, {"x": label})
    names = [{e.get("id") for e in drawn(p).iter()} - {None} for p in (one, two)]
    assert len(names[0]) == 2
    assert not names[0] & names[1]
    rules = drawn(one).find(f"{SVG}style").text.split("}")[:-1]
    assert len(rules) > 20
    assert all(rule.startswith(f"#{drawn(one).get('id')} ") for rule in rules)


def test_hostile_names_stay_text(scan, label):
    title, name = "</text><script>alert(1)</script>", "\x1b[31m<b>\u202e"
    picture = show(scan, {title: label}, classes=("background", "a", name))
    assert title in texts(picture)
    assert not list(drawn(picture).iter(f"{SVG}script"))
    assert "\x1b" not in picture.svg
    assert "\u202e" not in picture.svg


def test_what_does_not_fit_is_refused(scan, label, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"^label: expected codes of shape \(12, 10, 4\), got uint8"
    ):
        show(scan, {"x": label[:5]})
    file = write_nifti(tmp_path / "small.nii.gz", label[:5])
    with pytest.raises(InputError, match=r"label x: expected the shape of the scan, \(12, 10, 4\)"):
        show(scan, {"x": file})
    with pytest.raises(InputError, match="index: expected a slice from 0 to 3, got 4"):
        show(scan, {"x": label}, index=4)
