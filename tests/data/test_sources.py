"""Each layout lists and loads its cases, and refuses folders that are not complete."""

import pickle
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from diffrect.data.case import check_case
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import SOURCES, detect, find_source
from diffrect.errors import InputError
from support.tiny import (
    ACDC_PATIENTS,
    ACDC_SPACING,
    scan,
    write_acdc,
    write_dataset_json,
    write_nifti,
    write_ssl4mis,
)


@pytest.fixture
def acdc_copy(acdc_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(acdc_folder, tmp_path / "acdc"))


@pytest.fixture
def decathlon_copy(decathlon_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(decathlon_folder, tmp_path / "decathlon"))


def test_layouts_are_recognised(
    acdc_folder: Path, decathlon_folder: Path, ssl4mis_folder: Path
) -> None:
    assert detect(acdc_folder) == "acdc"
    assert detect(decathlon_folder) == "decathlon"
    assert detect(ssl4mis_folder) == "ssl4mis"


def test_folders_refused(tmp_path: Path, acdc_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing here")
    faults = {
        ("absent", "auto"): "absent: expected a folder with a data set, found nothing",
        ("other/notes.txt", "auto"): "notes.txt: expected a folder with a data set, found a file",
        ("empty", "auto"): "empty: expected a folder with a data set, found an empty folder",
        ("other", "auto"): "other: expected the layout of .* found none of them",
        ("other", "dicom"): "--format: expected one of auto, decathlon, .*, folder, got 'dicom'",
    }
    for (name, format), message in faults.items():
        with pytest.raises(InputError, match=message):
            find_source(tmp_path / name, format)
    for source in SOURCES.values():
        with pytest.raises(InputError, match=r"other.*: expected"):
            source.list(tmp_path / "other")
    assert find_source(acdc_folder, "ssl4mis").name == "ssl4mis"


def test_each_layout_is_the_module_of_its_name() -> None:
    options = {field.name for field in fields(SourceOptions)}
    for name, source in SOURCES.items():
        assert source.name == name
        assert type(source).__module__ == f"diffrect.data.sources.{name}"
        assert source.accepted <= options


def test_acdc_frames_come_from_the_info_file(acdc_folder: Path) -> None:
    listing = SOURCES["acdc"].list(acdc_folder)
    cases = {case.id: case for case in listing.references}
    assert list(cases) == [f"{patient}_frame0{i}" for patient in ACDC_PATIENTS for i in (1, 2)]
    assert listing.classes == ("background", "right ventricle", "myocardium", "left ventricle")
    assert listing.channels == 1
    case = pickle.loads(pickle.dumps(cases["patient038_frame02"])).load()
    assert case.image.path is not None
    assert case.image.path.name == "patient038_frame11.nii.gz"
    assert case.label is not None
    assert case.label.path == case.image.path.with_name("patient038_frame11_gt.nii.gz")
    assert case.image.spacing == ACDC_SPACING
    assert case.patient == "patient038"
    assert not case.normalised


def test_acdc_split_keeps_who_is_there(acdc_folder: Path) -> None:
    listing = SOURCES["acdc"].list(acdc_folder)
    assert listing.official_split is not None
    assert listing.official_split.train == ("patient099", "patient038", "patient050")
    assert listing.official_split.val == ("patient028",)
    assert listing.official_split.test == ("patient011",)
    assert len(listing.missing_patients) == 95
    assert "patient001" in listing.missing_patients


@pytest.mark.parametrize("root", ["", "database"])
def test_acdc_in_training_and_testing_folders(acdc_copy: Path, tmp_path: Path, root: str) -> None:
    for patient in ACDC_PATIENTS:
        part = tmp_path / "download" / root / f"{'test' if patient == 'patient011' else 'train'}ing"
        part.mkdir(parents=True, exist_ok=True)
        shutil.move(acdc_copy / patient, part / patient)
    assert detect(tmp_path / "download") == "acdc"
    assert len(SOURCES["acdc"].list(tmp_path / "download").references) == 10


def test_acdc_without_masks_is_unlabelled(acdc_copy: Path) -> None:
    (acdc_copy / "patient099" / "patient099_frame01_gt.nii.gz").unlink()
    cases = {case.id: case for case in SOURCES["acdc"].list(acdc_copy).references}
    assert cases["patient099_frame01"].load().label is None
    assert cases["patient099_frame02"].load().label is not None


def test_other_patients_in_acdcs_layout_have_no_official_split(tmp_path: Path) -> None:
    listing = SOURCES["acdc"].list(write_acdc(tmp_path / "own", ["heart_01", "heart_02"]))
    assert [case.patient for case in listing.references] == ["heart_01"] * 2 + ["heart_02"] * 2
    assert listing.official_split is None
    assert listing.missing_patients == []


def test_acdc_without_validation_patients_has_no_official_split(tmp_path: Path) -> None:
    listing = SOURCES["acdc"].list(write_acdc(tmp_path / "part", ["patient099", "patient038"]))
    assert listing.official_split is None
    assert len(listing.missing_patients) == 98


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "Info.cfg: expected the patient's Info.cfg"),
        ("Group: NOR\r\nES: 9\r\n", "Info.cfg: expected a frame number 'ED: N', found none"),
        ("ED: first\nES: 9\n", "found first"),
        ("ED: 1\nES: 1\n", "expected ED and ES in two frames"),
        ("ED: 1\nES: 7\n", "patient099_frame07.nii.gz: expected the ES frame, found no such file"),
    ],
)
def test_acdc_info_files_refused(acdc_copy: Path, info: str | None, message: str) -> None:
    file = acdc_copy / "patient099" / "Info.cfg"
    file.unlink()
    if info is not None:
        file.write_text(info)
    with pytest.raises(InputError, match=message):
        SOURCES["acdc"].list(acdc_copy)


def test_decathlon_entries(decathlon_folder: Path) -> None:
    listing = SOURCES["decathlon"].list(decathlon_folder)
    assert listing.classes == ("background", "Anterior", "Posterior")
    assert listing.channels == 1
    assert [case.id for case in listing.references] == [f"part_{i:03d}" for i in range(8)]
    first, last = listing.references[0].load(), listing.references[-1].load()
    assert first.label is not None
    assert first.image.spacing == (1.0, 1.0, 2.0)
    assert first.patient == first.id
    assert last.label is None
    assert listing.official_split is None


def test_decathlon_paths_that_start_with_a_slash_are_inside(decathlon_copy: Path) -> None:
    write_dataset_json(decathlon_copy, ["/imagesTr/part_001.nii.gz"])
    cases = SOURCES["decathlon"].list(decathlon_copy).references
    assert cases[0].load().label is None


IMAGE = "imagesTr/part_000.nii.gz"


@pytest.mark.parametrize(
    ("training", "changes", "message"),
    [
        ([], {}, "expected a list of images under 'training'"),
        ([{"label": "x"}], {}, "expected an 'image' in each entry"),
        (["imagesTr/absent.nii.gz"], {}, "absent.nii.gz: expected the file named in dataset.json"),
        ([{"image": IMAGE, "label": "labelsTr/none.nii"}], {}, "none.nii: expected the file"),
        (["../part.nii.gz"], {}, "expected paths inside its folder, got '../part.nii.gz'"),
        (["imagesTr/../../part.nii.gz"], {}, "expected paths inside its folder"),
        ([IMAGE], {"modality": {"0": "T2", "2": "ADC"}}, "channels 0, 1, ... .*, found 0, 2"),
        ([IMAGE], {"modality": None}, "expected one entry under 'modality'"),
        ([IMAGE], {"labels": {"0": "background"}}, "expected codes 0, 1, ... under 'labels'"),
        ([IMAGE], {"labels": {"0": "background", "2": "a"}}, "under 'labels', found 0, 2"),
        ([IMAGE], {"labels": None}, "under 'labels', found none"),
    ],
)
def test_decathlon_descriptions_refused(
    decathlon_copy: Path, training: list[object], changes: dict[str, object], message: str
) -> None:
    write_dataset_json(decathlon_copy, training, **changes)
    with pytest.raises(InputError, match=message):
        SOURCES["decathlon"].list(decathlon_copy)


@pytest.mark.parametrize("text", ["{", "[]", b"\xff\xfe\x00"])
def test_decathlon_json_refused(tmp_path: Path, text: str | bytes) -> None:
    content = text.encode() if isinstance(text, str) else text
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(InputError, match=r"dataset.json: expected"):
        SOURCES["decathlon"].list(tmp_path)


def test_multi_channel_images_are_refused_by_single_channel_sources(decathlon_copy: Path) -> None:
    write_nifti(decathlon_copy / IMAGE, np.ones((20, 18, 4, 2), np.float32))
    listing = SOURCES["decathlon"].list(decathlon_copy)
    with pytest.raises(InputError, match=r"part_000.nii.gz: expected 1 channel, got 2"):
        check_case(listing.references[0].load(), listing.channels)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("acdc", ["patient011/patient011_frame01_gt.mat"]),
        ("ssl4mis", ["data/a.hdf5", "data/slices/b.npz"]),
        ("mscmr19", ["subject1_DE_manual.mat"]),
    ],
)
def test_files_that_are_passed_over_are_named(
    layout: str, names: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / layout
    if layout == "mscmr19":
        write_nifti(folder / "subject1_DE.nii.gz", scan((8, 7, 2), 2, seed=1)[0])
    else:
        {"acdc": write_acdc, "ssl4mis": write_ssl4mis}[layout](folder)
    assert SOURCES[layout].list(folder).remarks == ()
    for name in names:
        (folder / name).touch()
    remarks = SOURCES[layout].list(folder).remarks
    assert [line.rpartition(": ")[2] for line in remarks] == [Path(name).name for name in names]
