"""MS-CMRSeg 2019: its names and codes, scribbles, and labels that lie off their images."""

from pathlib import Path

import numpy as np
import pytest

from diffrect.cli import main as cli
from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import SOURCES, detect
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from support.tiny import scan, write_nifti

SPACING = (0.75, 0.75, 5.0)
SCALED = np.diag([0.75, 0.75, 5.0, 1.0])
RAW = np.array([0, 600, 200, 500, 4], np.uint16)


def write_subject(folder: Path, name: str, kind: str = "manual", raw: bool = False) -> np.ndarray:
    """Write a scan in images/ and its label in labels/; return the label in class codes."""
    image, codes = scan((20, 18, 3), classes=4, seed=len(name))
    labels = RAW[codes] if raw else codes.astype(np.uint16)
    if kind == "scribble":
        labels[:, ::2] = 4
        codes[:, ::2] = IGNORED
    write_nifti(folder / "images" / f"{name}.nii.gz", image, SPACING, SCALED)
    if kind:
        write_nifti(folder / "labels" / f"{name}_{kind}.nii.gz", labels, SPACING, SCALED)
    return codes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mscmr"


def test_published_codes_become_classes(folder: Path, tmp_path: Path) -> None:
    first = write_subject(folder, "subject2_DE", raw=True)
    second = write_subject(folder, "patient10_LGE")
    write_subject(folder, "subject7_DE", kind="")
    (folder / "images" / "subject2_C0.nii.gz").write_bytes(b"another sequence")
    assert detect(folder) == "mscmr19"
    store = prepare(folder, tmp_path / "store", progress=False)
    assert list(store.cases) == ["subject2_DE", "subject7_DE", "patient10_LGE"]
    assert store.classes[1:] == ("right ventricle", "myocardium", "left ventricle")
    np.testing.assert_array_equal(store.label("subject2_DE"), first.T)
    np.testing.assert_array_equal(store.label("patient10_LGE"), second.T)
    assert store.cases["subject2_DE"].patient == "subject2"
    assert not store.cases["subject7_DE"].labelled
    assert store.official_split is None


def test_scribbles_leave_pixels_open(folder: Path, tmp_path: Path) -> None:
    codes = write_subject(folder, "subject1_DE", kind="scribble")
    store = prepare(folder, tmp_path / "store", progress=False)
    np.testing.assert_array_equal(store.label("subject1_DE"), codes.T)
    assert (store.label("subject1_DE") == IGNORED).any()
    # where there is a full label, that is read
    whole = write_subject(folder, "subject1_DE")
    store = prepare(folder, tmp_path / "whole", progress=False)
    np.testing.assert_array_equal(store.label("subject1_DE"), whole.T)


def test_four_is_not_a_class_of_a_full_label(folder: Path, tmp_path: Path) -> None:
    write_subject(folder, "subject1_DE", kind="scribble")
    scribble = folder / "labels" / "subject1_DE_scribble.nii.gz"
    scribble.rename(scribble.with_name("subject1_DE_manual.nii.gz"))
    message = "subject1_DE_manual.nii.gz: expected label codes 0, 1, 2, 3, 200, 500, 600, found 4"
    with pytest.raises(InputError, match=message):
        prepare(folder, tmp_path / "store", progress=False)


def test_folders_named_after_parts_are_a_split(folder: Path) -> None:
    for part, number in (("train", 1), ("val", 2), ("test", 3)):
        write_subject(folder / part, f"subject{number}_DE")
    split = SOURCES["mscmr19"].list(folder).official_split
    assert split is not None
    assert (split.train, split.val, split.test) == (("subject1",), ("subject2",), ("subject3",))


def test_a_scan_twice_and_a_label_without_an_image_are_refused(folder: Path) -> None:
    write_subject(folder, "subject1_DE")
    write_subject(folder / "copy", "subject1_DE", kind="")
    with pytest.raises(InputError, match=r"expected one such file for each case, found .*DE.nii"):
        SOURCES["mscmr19"].list(folder)
    for image in folder.rglob("images/*"):
        image.unlink()
    with pytest.raises(InputError, match=r"manual.nii.gz: expected its image subject1_DE.nii.gz"):
        SOURCES["mscmr19"].list(folder)


def test_a_link_in_circles_is_walked_once(folder: Path) -> None:
    write_subject(folder, "subject1_DE")
    (folder / "labels" / "again").symlink_to(folder)
    assert len(SOURCES["mscmr19"].list(folder).references) == 1


def test_a_label_elsewhere_than_its_image_needs_a_decision(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = write_subject(folder, "subject43_DE")
    label = folder / "labels" / "subject43_DE_manual.nii.gz"
    moved = SCALED.copy()
    moved[:3, 3] = 0.05, 0, 0
    write_nifti(label, codes, SPACING, moved)  # a rounding of headers: less than a tenth of a voxel
    prepare(folder, tmp_path / "near", progress=False)
    moved[:3, 3] = 30, 0, 40
    write_nifti(label, codes, SPACING, moved)
    arguments = ["prepare", str(folder), str(tmp_path / "store"), "--workers", "1", "--quiet"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{label}: expected the geometry of its image {folder}/images/subject43_DE" in error
    assert "50 mm apart; if the image's is right, give --trust-image-geometry" in error
    assert not (tmp_path / "store").exists()
    assert cli.main([*arguments, "--trust-image-geometry"]) == 0
    store = Store(tmp_path / "store")
    np.testing.assert_array_equal(store.label("subject43_DE"), codes.T)
    assert store.options["trust_image_geometry"]


def test_real_scans(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "mscmr19"
    assert detect(folder) == "mscmr19"
    with pytest.raises(InputError, match=r"subject43_DE_manual.nii.gz: expected the geometry of "):
        prepare(folder, tmp_path / "store", progress=False)
    trusting = SourceOptions(trust_image_geometry=True)
    store = prepare(folder, tmp_path / "store", options=trusting, progress=False)
    assert [case.removesuffix("_DE") for case in store.cases] == [
        *("subject1", "subject8", "subject13", "subject29", "subject36", "subject41", "subject43")
    ]
    assert all(case.labelled for case in store.cases.values())
    assert set(np.unique(store.label("subject13_DE"))) == {0, 1, 2, 3, IGNORED}
    assert set(np.unique(store.label("subject43_DE"))) == {0, 1, 2, 3}
