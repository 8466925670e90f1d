"""Label maps from 3D Slicer's and DICOM's segmentations, cropped and in layers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

from diffrect.data.prepare import prepare
from diffrect.errors import InputError
from diffrect.imaging.geometry import check_geometry, turn_onto
from diffrect.imaging.read import read_image, read_label
from support.scans import LPS, as_itk, grid, write_scan

SHAPE = (12, 10, 8)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[3:7, 2:6, 1:3] = 1
LABELS[7:9, 5:8, 5] = 2  # There is nothing in slices 3 and 4.
BOX = (slice(3, 9), slice(2, 8), slice(1, 6))


@pytest.fixture
def image(tmp_path: Path):
    return read_image(write_scan(tmp_path / "a.nrrd", LABELS.astype(np.int16), grid()))


def moved(start: Sequence[int]) -> np.ndarray:
    """Return the affine of the part of the grid that begins at an index."""
    affine = grid()
    affine[:3, 3] = (affine @ (*start, 1))[:3]
    return affine


def write_slicer(path: Path, array: np.ndarray, start: Sequence[int], codes: Sequence[int]) -> Path:
    """Write an array (X, Y, Z) or (X, Y, Z, layers) as 3D Slicer does."""
    part = as_itk(array if array.ndim == 3 else array[..., 0], moved(start))
    if array.ndim == 4:
        layers = [as_itk(array[..., layer], moved(start)) for layer in range(array.shape[3])]
        part = sitk.Compose(layers)
    for number, code in enumerate(codes):
        part.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        part.SetMetaData(f"Segment{number}_Name", f"part {number}")
        part.SetMetaData(f"Segment{number}_LabelValue", str(code))
    part.SetMetaData("Segmentation_ReferenceImageExtentOffset", " ".join(map(str, start)))
    sitk.WriteImage(part, str(path))
    return path


def check(path: Path, image) -> None:
    label = turn_onto(image, read_label(path))
    np.testing.assert_array_equal(label.array, LABELS)
    check_geometry(image, label, "its image")


def test_a_cropped_segmentation_lies_where_it_was(image, tmp_path: Path) -> None:
    check(write_slicer(tmp_path / "a.seg.nrrd", LABELS[BOX], (3, 2, 1), (1, 2)), image)
    whole = write_slicer(tmp_path / "b.seg.nrrd", LABELS, (0, 0, 0), (1, 2))
    check(whole, image)
    # It may reach beyond the image if only with background.
    beyond = np.pad(LABELS, 2)
    check(write_slicer(tmp_path / "c.seg.nrrd", beyond, (-2, -2, -2), (1, 2)), image)
    label = read_label(write_slicer(tmp_path / "d.seg.nrrd", LABELS[BOX], (9, 2, 1), (1, 2)))
    assert turn_onto(image, label).array.shape == LABELS[BOX].shape


def test_other_cropped_labels_stay_as_they_are(image, tmp_path: Path) -> None:
    label = read_label(write_scan(tmp_path / "b.nrrd", LABELS[BOX], moved((3, 2, 1))))
    assert turn_onto(image, label) is label


def test_layers_are_merged(image, tmp_path: Path) -> None:
    layers = np.stack([LABELS * (code == LABELS) for code in (1, 2)], axis=-1)
    check(write_slicer(tmp_path / "a.seg.nrrd", layers[BOX], (3, 2, 1), (1, 2)), image)
    twice = write_slicer(tmp_path / "b.seg.nrrd", layers, (0, 0, 0), (1, 1))
    with pytest.raises(InputError, match="a code for each segment, found part 0 and part 1 with"):
        read_label(twice)
    layers[4, 4, 1] = 1, 2
    with pytest.raises(InputError, match="one segment per voxel, found segments that overlap; exp"):
        read_label(write_slicer(tmp_path / "c.seg.nrrd", layers, (0, 0, 0), (1, 2)))


def group(**values: object) -> list[Dataset]:
    part = Dataset()
    for name, value in values.items():
        setattr(part, name, value)
    return [part]


def write_dicom(path: Path, frames: Sequence[tuple[int, int]], kind: str = "BINARY") -> Path:
    """Write a DICOM segmentation whose frames are (segment, slice)."""
    world = LPS @ grid()
    direction = world[:3, :3] / np.linalg.norm(world[:3, :3], axis=0)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SegmentationStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SegmentationType, data.NumberOfFrames = kind, len(frames)
    data.Columns, data.Rows = SHAPE[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit = data.PixelRepresentation = 0
    data.SharedFunctionalGroupsSequence = group(
        PixelMeasuresSequence=group(PixelSpacing=[1.25, 1.5], SpacingBetweenSlices=4.0),
        PlaneOrientationSequence=group(ImageOrientationPatient=[*direction.T[:2].ravel().round(9)]),
    )
    data.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence=group(
                ImagePositionPatient=[*(world @ (0, 0, place, 1))[:3].round(6)]
            ),
            SegmentIdentificationSequence=group(ReferencedSegmentNumber=segment),
        )[0]
        for segment, place in frames
    ]
    masks = [(LABELS[:, :, place] == segment).T for segment, place in frames]
    data.PixelData = pack_bits(np.stack(masks).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def test_dicom_segmentations(image, tmp_path: Path) -> None:
    frames = [(2, 5), (1, 1), (1, 2)]
    file = write_dicom(tmp_path / "seg" / "1.dcm", frames)
    check(file, image)
    check(file.parent, image)
    turned = replace(image, array=image.array[:, :, ::-1], affine=image.affine.copy())
    turned.affine[:3, 3] = (image.affine @ (0, 0, SHAPE[2] - 1, 1))[:3]
    turned.affine[:3, 2] *= -1
    there = turn_onto(turned, read_label(file)).array
    np.testing.assert_array_equal(there, LABELS[:, :, ::-1])


def test_both_are_labels_of_an_own_folder(tmp_path: Path) -> None:
    source = tmp_path / "own"
    for name in "abc":
        write_scan(source / "images" / f"{name}.nrrd", LABELS.astype(np.int16), grid())
    (source / "labels").mkdir()
    write_slicer(source / "labels" / "a.seg.nrrd", LABELS[BOX], (3, 2, 1), (1, 2))
    write_dicom(source / "labels" / "b" / "1.dcm", [(1, 1), (2, 5), (1, 2)])
    write_dicom(source / "labels" / "c.dcm", [(1, 1), (2, 5), (1, 2)])
    store = prepare(source, tmp_path / "store", axis="2", workers=1, progress=False)
    for name in "abc":
        np.testing.assert_array_equal(store.label(name), LABELS.T)


def test_dicom_segmentations_that_are_no_label_maps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a binary DICOM segmentation, found fractional; export"):
        read_label(write_dicom(tmp_path / "a.dcm", [(1, 1)], "FRACTIONAL"))
    file = write_dicom(tmp_path / "b.dcm", [(1, 1), (1, 1)])
    data = pydicom.dcmread(file)
    part = data.PerFrameFunctionalGroupsSequence[1]
    part.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 2
    data.save_as(file)
    with pytest.raises(InputError, match="one segment per voxel, found segments that overlap"):
        read_label(file)
    del data.PerFrameFunctionalGroupsSequence
    data.save_as(file)
    with pytest.raises(InputError, match="a readable DICOM segmentation"):
        read_label(file)
