"""DICOM series: slices and frames lie where their headers say, or are refused."""

import copy
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.uid import (
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)

from diffrect.data.case import Case, Conversion
from diffrect.data.preparation.write_case import write_case
from diffrect.errors import InputError
from diffrect.imaging.find import find_images
from diffrect.imaging.kinds import kind_of, stem_of
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.write import write_labels
from support.scans import (
    SPACING,
    as_itk,
    grid,
    write_frames,
    write_object,
    write_scan,
    write_series,
)


def voxels(shape: tuple[int, ...] = (7, 5, 6), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-500, 900, shape).astype(np.int16)


def test_a_series_is_what_itk_makes_of_it(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid(), RescaleSlope=2, RescaleIntercept=-5)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    expected = reader.Execute()
    volume = read_image(tmp_path / "s")
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(expected).T)
    np.testing.assert_array_equal(volume.array, 2 * voxels().astype(int) - 5)
    np.testing.assert_allclose(volume.affine[:3, 3] * (-1, -1, 1), expected.GetOrigin())


def test_slopes_that_differ_by_slice(tmp_path: Path) -> None:
    array = voxels((4, 4, 3))
    files = write_series(tmp_path / "s", array, grid())
    dataset = pydicom.dcmread(files[1])
    dataset.RescaleSlope = 0.25
    dataset.save_as(files[1])
    expected = array.astype(float) * (1, 0.25, 1)
    np.testing.assert_allclose(read_image(tmp_path / "s").array, expected)


def test_files_without_a_suffix_and_beside_others(tmp_path: Path) -> None:
    for index, file in enumerate(write_series(tmp_path / "s", voxels(), grid())):
        file.rename(file.with_name((f"1.2.840.{index}", f"I{index}", f"{index}.MR")[index % 3]))
    (tmp_path / "s" / "README").write_text("no scan" * 100)
    (tmp_path / "s" / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(100))
    np.testing.assert_array_equal(read_image(tmp_path / "s").array, voxels())


def test_one_dicom_file_is_a_slice(tmp_path: Path) -> None:
    (file,) = write_series(tmp_path / "s", voxels((6, 5, 1)), grid())
    for path in (file, tmp_path / "s"):
        volume = read_image(path)
        np.testing.assert_array_equal(volume.array, voxels((6, 5, 1)))
        assert volume.spacing == pytest.approx(SPACING)


OTHER_OBJECTS = {
    "RS.dcm": RTStructureSetStorage,
    "SR": EnhancedSRStorage,
    "PR.dcm": GrayscaleSoftcopyPresentationStateStorage,
    "KO.dcm": KeyObjectSelectionDocumentStorage,
    "RP.dcm": RTPlanStorage,
    "private.ima": "1.3.12.2.1107.5.9.1",
}


@pytest.mark.parametrize("name", OTHER_OBJECTS)
def test_objects_without_an_image_are_passed_over(tmp_path: Path, name: str) -> None:
    write_series(tmp_path / "s", voxels(), grid())
    write_object(tmp_path / "s" / name, OTHER_OBJECTS[name])
    volume = read_image(tmp_path / "s")
    np.testing.assert_array_equal(volume.array, voxels())
    assert volume.remarks == (f"{name} is not part of the series and is passed over",)


def test_doses_and_segmentations_beside_a_scan_are_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid())
    for name, kind in {"RD.dcm": RTDoseStorage, "SEG.dcm": SegmentationStorage}.items():
        (file,) = write_series(tmp_path / "o", voxels((3, 3, 1)), grid(), SOPClassUID=kind)
        file.rename(tmp_path / "s" / name)
    for name in OTHER_OBJECTS:
        write_object(tmp_path / "s" / name, OTHER_OBJECTS[name])
    volume = read_image(tmp_path / "s")
    np.testing.assert_array_equal(volume.array, voxels())
    (remark,) = volume.remarks
    assert remark == (
        "KO.dcm, PR.dcm, RD.dcm and 5 more are not part of the series and are passed over"
    )


def test_a_picture_beside_the_slices_is_a_preview(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid())
    for name in ("preview.jpg", "key.PNG"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "s" / name)
    write_scan(tmp_path / "s" / "other.nii.gz", voxels(), grid())
    assert find_images(tmp_path / "s") == [tmp_path / "s", tmp_path / "s" / "other.nii.gz"]
    (remark,) = read_image(tmp_path / "s").remarks
    assert remark == "key.PNG and preview.jpg are not part of the series and are passed over"


def test_a_folder_of_objects_without_an_image(tmp_path: Path) -> None:
    write_object(tmp_path / "s" / "RS.dcm", RTStructureSetStorage)
    message = r"s: expected a DICOM series, found no image in RS\.dcm"
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "s")
    with pytest.raises(InputError, match=r"a DICOM file with an image, found none in it"):
        read_image(tmp_path / "s" / "RS.dcm")


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113.7", "slice.MR"])
def test_a_dicom_file_of_any_name(tmp_path: Path, name: str) -> None:
    (file,) = write_series(tmp_path, voxels((6, 5, 1)), grid())
    path = file.rename(tmp_path / name)
    assert (kind_of(path), stem_of(path)) == ("dicom", name)
    np.testing.assert_array_equal(read_image(path).array, voxels((6, 5, 1)))
    write_labels(tmp_path / "out.nii.gz", np.ones((6, 5, 1), np.uint8), read_image(path))
    assert read_label(tmp_path / "out.nii.gz").spacing == pytest.approx(SPACING)


def test_nobody_s_name_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), grid())
    case = Case("a", "a", read_image(tmp_path / "s"), None)
    write_case(tmp_path / "store", case, 2, 1, Conversion("auto"))
    content = b"".join(f.read_bytes() for f in (tmp_path / "store").rglob("*") if f.is_file())
    for secret in (b"Secret", b"4711", b"19010203"):
        assert secret not in content
    assert json.loads((tmp_path / "store/cases/a/case.json").read_text())["orientation"] == "SAR"


def test_a_tilted_series_is_sheared(tmp_path: Path) -> None:
    affine = grid(np.eye(3))
    affine[1, 2] = 1.0
    write_series(tmp_path / "s", voxels(), affine, SliceThickness=4.0)
    volume = read_image(tmp_path / "s")
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    assert volume.spacing == pytest.approx((1.5, 1.25, 4.0))
    assert len(volume.remarks) == 1


def series_fault(folder: Path, fault: str) -> None:
    files = write_series(folder, voxels(), grid())
    if fault == "missing":
        files[2].unlink()
    elif fault == "twice":
        (folder / "again.dcm").write_bytes(files[2].read_bytes())
    elif fault == "mixed":
        write_series(folder / "other", voxels((7, 5, 2)), grid(origin=(0, 0, 99)))
        for file in (folder / "other").iterdir():
            file.rename(folder / f"other {file.name}")
    elif fault == "text":
        (folder / "a.dcm").write_text("hello" * 100)
    else:
        name, value = FIELDS[fault]
        for file in files if fault.startswith("no ") else files[3:4]:
            dataset = pydicom.dcmread(file)
            setattr(dataset, name, value)
            dataset.save_as(file)


CUT = voxels()[:, :4, 0].tobytes()
# What is wrong -> the field that says so and its value; "no ...": of all slices.
FIELDS: dict[str, tuple[str, object]] = {
    "another spacing": ("PixelSpacing", [2.0, 2.0]),
    "another orientation": ("ImageOrientationPatient", [1.0, 0, 0, 0, 1.0, 0]),
    "spacing 0": ("PixelSpacing", [0, 1.0]),
    "spacing of three": ("PixelSpacing", [1.0, 1.0, 1.0]),
    "parallel": ("ImageOrientationPatient", [1.0, 0, 0, 1.0, 0, 0]),
    "too long": ("ImageOrientationPatient", [2.0, 0, 0, 0, 2.0, 0]),
    "cut short": ("PixelData", CUT),
    "no spacing": ("PixelSpacing", None),
    "no orientation": ("ImageOrientationPatient", None),
    "no position": ("ImagePositionPatient", None),
}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "s: expected a slice every 4 mm, found a gap of 8 mm between .*missing"),
        ("twice", r"s: expected one file for each slice, found .* at one place"),
        ("mixed", r"s: expected one DICOM series in a folder, found 2 of \d and \d files"),
        ("text", r"a\.dcm: expected a DICOM file with an image, found none in it"),
        ("another spacing", r"IM\d+\.dcm: expected the pixel spacing of IM\d+\.dcm"),
        ("another orientation", r"IM\d+\.dcm: expected the orientation of IM\d+\.dcm"),
        ("spacing 0", r"IM\d+\.dcm: expected a pixel spacing above 0 mm, got \(0.0, 1.0\)"),
        ("spacing of three", "readable DICOM file: PixelSpacing has 3 values, not 2"),
        ("parallel", "expected unit vectors at right angles in ImageOrientationPatient, got"),
        ("too long", "expected unit vectors at right angles in ImageOrientationPatient, got"),
        ("cut short", "truncated: its header says 70 bytes of pixels, the file has 56"),
        ("no spacing", "expected a header that says where the slice lies, found no PixelSpacing"),
        ("no orientation", "slice lies, found no ImageOrientationPatient"),
        (
            "no position",
            "expected a header that says where the slice lies, found no ImagePositionPatient",
        ),
    ],
)
def test_series_refused(tmp_path: Path, fault: str, message: str, capfd) -> None:
    series_fault(tmp_path / "s", fault)
    with pytest.raises(InputError, match=message) as caught:
        read_image(tmp_path / "s")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_slice_that_is_moved_aside_is_refused(tmp_path: Path) -> None:
    """The height of the slice is right; only its place in the plane gives it away."""
    files = write_series(tmp_path / "s", voxels(), grid(np.eye(3)))
    dataset = pydicom.dcmread(files[3])
    dataset.ImagePositionPatient[0] += 7
    dataset.save_as(files[3])
    with pytest.raises(InputError, match=rf"straight row, found {files[3].name} 7 mm beside it"):
        read_image(tmp_path / "s")


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 1, 5, 4, 3]])
@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_frames_lie_where_their_own_headers_say(
    tmp_path: Path, order: list[int], tilt: float
) -> None:
    affine = grid()
    affine[:3, 2] += tilt * affine[:3, 1]
    volume = read_image(write_frames(tmp_path / "a.dcm", voxels(), affine, order))
    np.testing.assert_array_equal(volume.array, 2.0 * voxels() - 5)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    np.testing.assert_allclose(volume.spacing, SPACING)
    assert len(volume.remarks) == (tilt > 0)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [2, 0, 1, 5, 4, 3]])
@pytest.mark.parametrize("shared", [False, True])
def test_each_frame_is_rescaled_by_its_own_slope(
    tmp_path: Path, order: list[int], shared: bool
) -> None:
    path = write_frames(tmp_path / "a.dcm", voxels(), grid(), order)
    dataset = pydicom.dcmread(path)
    (common,) = dataset.SharedFunctionalGroupsSequence
    for place, group in zip(order, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        group.PixelValueTransformationSequence = [
            copy.deepcopy(common.PixelValueTransformationSequence[0])
        ]
        (part,) = group.PixelValueTransformationSequence
        part.RescaleSlope, part.RescaleIntercept = 0.5 + 0.25 * place, -3 * place
    if not shared:
        del common.PixelValueTransformationSequence
    dataset.save_as(path)
    places = np.arange(6)
    expected = voxels() * (0.5 + 0.25 * places) - 3 * places
    np.testing.assert_allclose(read_image(path).array, expected)


def test_frames_refused(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", voxels(), grid(), [0, 1, 3, 4, 5])
    with pytest.raises(InputError, match="gap of 8 mm between frame 2 and frame 3: slices are"):
        read_image(path)
    write_frames(path, voxels(), grid(), [0, 1, 2, 3, 4, 5] * 2)
    with pytest.raises(InputError, match="frame 1 and frame 7 at one place"):
        read_image(path)
    write_frames(path, voxels(), grid())
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[:-100]
    dataset.save_as(path)
    with pytest.raises(
        InputError, match="truncated: its header says 420 bytes of pixels, the file has"
    ):
        read_image(path)
    write_frames(path, voxels(), grid())
    write_frames(tmp_path / "b.dcm", voxels(), grid())
    with pytest.raises(InputError, match="expected one DICOM series in a folder, found 2"):
        read_image(tmp_path)


def test_a_film_without_positions_is_a_volume_of_no_known_geometry(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", voxels(), grid())
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    volume = read_image(path)
    np.testing.assert_array_equal(volume.array, voxels())
    assert volume.spacing is None
    np.testing.assert_array_equal(volume.affine, np.eye(4))
    dataset.ImagePositionPatient, dataset.PixelSpacing = [1.0, 2.0, 3.0], [2.0, 2.0]
    dataset.save_as(path)
    with pytest.raises(
        InputError, match="expected a header with the distance of its frames, found none"
    ):
        read_image(path)
    dataset.SpacingBetweenSlices = 4
    dataset.save_as(path)
    assert read_image(path).spacing == (2.0, 2.0, 4.0)


@pytest.mark.parametrize("compressor", ["", "JPEG"])
def test_series_and_volumes_of_another_library(tmp_path: Path, compressor: str) -> None:
    array = voxels() + np.int16(500)  # GDCM writes no negative numbers as JPEG
    image = as_itk(array, grid())
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(bool(compressor))
    writer.SetCompressor(compressor)
    (tmp_path / "s").mkdir()
    for index in range(array.shape[2]):
        one = image[:, :, index : index + 1]
        one.SetMetaData("0008|0060", "MR")
        one.SetMetaData("0020|000d", "1.2")
        one.SetMetaData("0020|000e", "1.2.3")
        one.SetMetaData("0008|0018", f"1.2.3.{index}")
        writer.SetFileName(str(tmp_path / "s" / f"{99 - index}.dcm"))
        writer.Execute(one)
    sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt16), str(tmp_path / "a.dcm"))
    for name in ("s", "a.dcm"):
        volume = read_image(tmp_path / name)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.affine, grid(), atol=1e-5)
        np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-5)
