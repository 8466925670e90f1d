"""DICOM segmentations: they lie where the labels are, refer to the scan, and say what is what."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from diffrect.errors import InputError
from diffrect.imaging.dicom_seg.encode import encode_segmentation
from diffrect.imaging.dicom_seg.names import PRIVATE_SCHEME, meaning_of, segment_label
from diffrect.imaging.dicom_seg.sources import read_sources
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.volume import Volume
from support.scans import grid, write_frames, write_scan, write_series

SHAPE = (12, 10, 8)
CLASSES = ("background", "left ventricle", "scar")
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[3:7, 2:6, 1:3] = 1
LABELS[7:9, 5:8, 5] = 2  # There is nothing in slices 3 and 4.
IDENTITY = {
    "StudyInstanceUID": "1.2.3",
    "FrameOfReferenceUID": "1.2.4",
    "PatientName": "Secret^Name",
    "PatientID": "4711",
}


def voxels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 900, SHAPE).astype(np.int16)


def encode(
    scan: Path, labels: np.ndarray = LABELS, classes: Sequence[str] = CLASSES
) -> tuple[Volume, bytes]:
    image = read_image(scan)
    return image, encode_segmentation(labels, read_sources(image), classes)


def parsed(content: bytes) -> Any:
    return highdicom.seg.segread(BytesIO(content))


def check(scan: Path, folder: Path, labels: np.ndarray = LABELS) -> Any:
    """Return the segmentation of a scan, whose labels come back as they were."""
    image, content = encode(scan, labels)
    (folder / "seg.dcm").write_bytes(content)
    label = turn_onto(image, read_label(folder / "seg.dcm"))
    np.testing.assert_array_equal(label.array, labels)
    check_geometry(image, label, "its image")
    return parsed(content)


def test_it_comes_back_and_refers_to_the_scan(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(), grid())
    segmentation = check(tmp_path / "s", tmp_path)
    first = pydicom.dcmread(files[0])
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert segmentation[name].value == first[name].value
    assert segmentation.SeriesInstanceUID != first.SeriesInstanceUID
    assert (segmentation.Modality, segmentation.SegmentationType) == ("SEG", "BINARY")
    (algorithm,) = segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (
        "diffrect",
        segmentation.SoftwareVersions,
    )
    # highdicom itself finds the labels by the instances that they refer to.
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    assert {uid for _, _, uid in segmentation.get_source_image_uids()} == set(uids)
    planes = segmentation.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(planes.T, LABELS)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_orientation_and_direction(tmp_path: Path, axis: int) -> None:
    turned = grid()[:, [*np.roll(range(3), axis), 3]]
    write_series(tmp_path / "s", voxels(), turned)
    check(tmp_path / "s", tmp_path)
    backwards = turned.copy()
    backwards[:3, 2] *= -1
    write_series(tmp_path / "t", voxels(), backwards)
    check(tmp_path / "t", tmp_path)


def test_distances_of_slices_are_measured(tmp_path: Path) -> None:
    wrong = {"SpacingBetweenSlices": 1.0, "SliceThickness": 9.0}
    write_series(tmp_path / "s", voxels(), grid(), **wrong)
    only = np.where(np.arange(SHAPE[2]) == 2, LABELS, 0).astype(np.uint8)
    segmentation = check(tmp_path / "s", tmp_path, only)
    (measures,) = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (4, 9)


def test_a_tilted_gantry(tmp_path: Path) -> None:
    tilted = grid(np.eye(3))
    tilted[1, 2] = 1.2
    write_series(tmp_path / "s", voxels(), tilted)
    check(tmp_path / "s", tmp_path)


def test_no_foreground_and_nothing_but_foreground(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid())
    check(tmp_path / "s", tmp_path, np.zeros(SHAPE, np.uint8))
    check(tmp_path / "s", tmp_path, np.full(SHAPE, 2, np.uint8))


def test_a_single_slice(tmp_path: Path) -> None:
    (file,) = write_series(tmp_path / "s", voxels()[..., :1], grid())
    check(file, tmp_path, LABELS[..., 1:2])


def test_slices_that_differ_by_rounding(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(), grid())
    header = pydicom.dcmread(files[3])
    header.ImageOrientationPatient = [float(x) + 1e-6 for x in header.ImageOrientationPatient]
    header.save_as(files[3])
    check(tmp_path / "s", tmp_path)


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_of_one_file(tmp_path: Path, per_frame: bool) -> None:
    order = [5, 0, 7, 2, 1, 3, 6, 4]
    file = write_frames(tmp_path / "a.dcm", voxels(), grid(), order)
    header = pydicom.dcmread(file)
    header.update(IDENTITY)
    if per_frame:  # as some scanners write them
        (shared,) = header.SharedFunctionalGroupsSequence
        for group in header.PerFrameFunctionalGroupsSequence:
            group.PlaneOrientationSequence = shared.PlaneOrientationSequence
            group.PixelMeasuresSequence = shared.PixelMeasuresSequence
        del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence
    header.save_as(file)
    segmentation = check(file, tmp_path)
    planes = segmentation.get_pixels_by_source_frame(
        header.SOPInstanceUID,
        list(range(1, 9)),
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(planes.T, LABELS[:, :, order])


def test_headers_without_names(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(), grid())
    for file in files:
        header = pydicom.dcmread(file)
        for name in ("PatientName", "PatientID", "PatientBirthDate", "SliceThickness"):
            del header[name]
        header.save_as(file)
    segmentation = check(tmp_path / "s", tmp_path)
    assert not segmentation.PatientID
    assert not segmentation.PatientName


def test_names_in_another_character_set(tmp_path: Path) -> None:
    name = "Müller^Jürgen"
    values = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": name}
    code = {"CodeValue": "1", "CodingSchemeDesignator": "99X", "CodeMeaning": "Prüfung"}
    item = pydicom.Dataset()
    item.update(code)
    write_series(tmp_path / "s", voxels(), grid(), **values, ProcedureCodeSequence=[item])
    _, content = encode(tmp_path / "s", classes=("background", "Größe", "心"))
    segmentation = pydicom.dcmread(BytesIO(content))
    assert segmentation.SpecificCharacterSet == "ISO_IR 192"
    assert str(segmentation.PatientName) == name
    assert segmentation.ProcedureCodeSequence[0].CodeMeaning == "Prüfung"
    assert [one.SegmentLabel for one in segmentation.SegmentSequence] == ["Größe", "心"]


def test_names_of_classes_are_valid_labels(tmp_path: Path) -> None:
    long, wide = "x" * 70, "心" * 30
    names = ("background", "a\\b", long, wide, "  ", "<b>\"&'", long + "y")
    write_series(tmp_path / "s", voxels(), grid())
    _, content = encode(tmp_path / "s", classes=names)
    segments = pydicom.dcmread(BytesIO(content)).SegmentSequence
    labels = [segment.SegmentLabel for segment in segments]
    cut = ["x" * 61 + "…", "心" * 20 + "…"]
    assert labels == ["a/b", *cut, "segment 4", "<b>\"&'", cut[0]]
    described = [segment.get("SegmentDescription") for segment in segments]
    assert described == ["a\\b", long, wide, None, None, long + "y"]
    types = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    assert len({one.CodeValue for one in types}) == 6
    assert {one.CodingSchemeDesignator for one in types} == {PRIVATE_SCHEME}
    assert max(len(one.CodeValue) for one in types) <= 16


def test_half_a_surrogate_pair_is_no_utf8() -> None:
    assert segment_label("a\ud800b", 1) == "a?b"
    assert meaning_of("a\ud800b", 1).kind.scheme_designator == PRIVATE_SCHEME


@pytest.mark.parametrize(
    ("name", "kind", "side"),
    [
        ("left ventricle", "87878005", None),
        ("Right_Ventricle", "53085002", None),
        ("MYOCARDIUM", "74281007", None),
        ("liver", "10200004", None),
        ("kidney_left", "64033007", "7771000"),
        ("right kidney", "64033007", "24028007"),
        ("tumour", "108369006", None),
    ],
)
def test_structures_that_dicom_knows(name: str, kind: str, side: str | None) -> None:
    meaning = meaning_of(name, 1)
    assert (meaning.kind.value, meaning.kind.scheme_designator) == (kind, "SCT")
    assert (meaning.side.value if meaning.side else None) == side


def test_the_code_of_an_unknown_name_is_its_own() -> None:
    one, same, other = (meaning_of(name, k).kind for k, name in enumerate("aab", 1))
    assert one.value == same.value != other.value
    assert meaning_of("left", 1).kind.scheme_designator == PRIVATE_SCHEME
    assert meaning_of("normal", 1).kind.scheme_designator == PRIVATE_SCHEME


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"FrameOfReferenceUID": None}, "a header without FrameOfReferenceUID"),
        ({"StudyInstanceUID": ""}, "a header without StudyInstanceUID"),
    ],
)
def test_a_series_that_is_nowhere(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    write_series(tmp_path / "s", voxels(), grid(), **changes)
    image = read_image(tmp_path / "s")
    with pytest.raises(InputError) as caught:
        read_sources(image)
    assert f"expected a DICOM series that a segmentation can refer to, found {found}" in str(
        caught.value
    )


def test_a_picture_is_refused(tmp_path: Path) -> None:
    (file,) = write_series(tmp_path / "s", voxels()[..., :1], grid())
    header = pydicom.dcmread(file)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        del header[name]
    header.save_as(file)
    with pytest.raises(InputError, match="found a header without PixelSpacing"):
        read_sources(read_image(file))


def test_what_the_standard_does_not_allow_is_one_line(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid(), PatientSex="SECRET")
    with pytest.raises(InputError, match="a DICOM series that a segmentation can refer to: "):
        encode(tmp_path / "s")
    write_series(tmp_path / "t", voxels(), grid())
    sources = read_sources(read_image(tmp_path / "t"))
    sources.headers[0].SOPClassUID = "1.2.3.4.5"
    with pytest.raises(InputError, match="a DICOM series that a segmentation can refer to: "):
        encode_segmentation(LABELS, sources, CLASSES)
    files = write_series(tmp_path / "u", voxels(), grid(), SOPClassUID=EnhancedMRImageStorage)
    assert len(files) > 1
    with pytest.raises(InputError, match="a DICOM series that a segmentation can refer to: "):
        encode(tmp_path / "u")


def test_a_code_without_a_class(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid(), SOPClassUID=CTImageStorage)
    with pytest.raises(InputError, match="label codes 0 to 1 for a DICOM segmentation, got 2"):
        encode(tmp_path / "s", classes=CLASSES[:2])


def test_nothing_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "s", voxels(), grid(), PatientName="No Caret Secret")
    encode(tmp_path / "s")
    assert "Secret" not in caplog.text


def test_each_segmentation_is_one_of_its_own(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid(), SeriesNumber=7, StudyID=generate_uid()[:16])
    image, content = encode(tmp_path / "s")
    again = encode_segmentation(LABELS, read_sources(image), CLASSES)
    one, other = parsed(content), parsed(again)
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesNumber == 701


def test_only_a_series_is_taken(tmp_path: Path) -> None:
    scan = read_image(write_scan(tmp_path / "a.nii.gz", voxels(), grid()))
    with pytest.raises(InputError):
        read_sources(scan)
