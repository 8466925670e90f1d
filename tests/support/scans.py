"""Write scans in every format that is read, with other libraries where there are any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from scipy.spatial.transform import Rotation

SPACING = (1.5, 1.25, 4.0)
ORIGIN = (10.0, -20.0, 30.0)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE = Rotation.from_euler("xyz", [20, 30, -10], degrees=True).as_matrix()


def grid(
    direction: np.ndarray = OBLIQUE,
    spacing: Sequence[float] = SPACING,
    origin: Sequence[float] = ORIGIN,
) -> np.ndarray:
    """Return the RAS+ affine of a grid."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * np.asarray(spacing), origin
    return affine


def write_scan(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write an array (X, Y, Z) with a RAS+ affine in the format of the name; a folder is DICOM.

    A picture has no affine and one slice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        image = nib.Nifti1Image(array, affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
    elif path.suffix in (".png", ".tif", ".jpg"):
        Image.fromarray(np.ascontiguousarray(array[:, :, 0].T)).save(path)
    elif path.suffix:
        sitk.WriteImage(as_itk(array, affine), str(path))
    else:
        write_series(path, array, affine)
    return path


def as_itk(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """Return an ITK image of an array (X, Y, Z) and a RAS+ affine."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    world = LPS @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(world[:3, 3].tolist())
    image.SetDirection((world[:3, :3] / spacing).ravel().tolist())
    return image


def write_series(folder: Path, array: np.ndarray, affine: np.ndarray, **changes: Any) -> list[Path]:
    """Write a DICOM series as scanners do, its files named in another order than its slices."""
    world = LPS @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    direction = world[:3, :3] / spacing
    shared: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "PatientName": "Secret^Name",
        "PatientID": "HOSPITAL-4711",
        "PatientBirthDate": "19010203",
        "Modality": "MR",
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "Rows": array.shape[1],
        "Columns": array.shape[0],
        "PixelSpacing": [float(spacing[1]), float(spacing[0])],
        "SliceThickness": float(spacing[2]),
        "ImageOrientationPatient": direction[:, :2].T.round(9).ravel().tolist(),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    names = np.random.default_rng(0).permutation(array.shape[2])
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(array.shape[2]):
        dataset = Dataset()
        dataset.update({**shared, **changes})
        dataset.SOPInstanceUID = generate_uid()
        dataset.InstanceNumber = int(names[index])
        position = world[:3, 3] + index * world[:3, 2]
        dataset.ImagePositionPatient = position.round(9).tolist()
        dataset.PixelData = array[:, :, index].T.astype("<i2").tobytes()
        files.append(_save(folder / f"IM{names[index]:04d}.dcm", dataset))
    return files


def write_frames(
    path: Path, array: np.ndarray, affine: np.ndarray, order: Sequence[int] | None = None
) -> Path:
    """Write an enhanced MR file: all slices as frames in this order, rescaled to 2 v - 5."""
    world = LPS @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    order = range(array.shape[2]) if order is None else order
    dataset = Dataset()
    dataset.update(
        {
            "SOPClassUID": EnhancedMRImageStorage,
            "SOPInstanceUID": generate_uid(),
            "SeriesInstanceUID": generate_uid(),
            "Rows": array.shape[1],
            "Columns": array.shape[0],
            "NumberOfFrames": len(order),
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "PixelData": b"".join(array[:, :, k].T.astype("<i2").tobytes() for k in order),
        }
    )
    direction = (world[:3, :2] / spacing[:2]).T.round(9).ravel().tolist()
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[
                _item(
                    PixelSpacing=[spacing[1], spacing[0]],
                    SliceThickness=spacing[2],
                    SpacingBetweenSlices=spacing[2],
                )
            ],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=direction)],
            PixelValueTransformationSequence=[
                _item(RescaleSlope=2, RescaleIntercept=-5, RescaleType="US")
            ],
        )
    ]
    positions = [(world[:3, 3] + k * world[:3, 2]).round(9).tolist() for k in order]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=one)]) for one in positions
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    return _save(path, dataset)


def write_object(path: Path, kind: str) -> Path:
    """Write a DICOM object without an image.

    Args:
        path: the file.
        kind: its SOP class, for example that of structure sets.
    """
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    path.parent.mkdir(parents=True, exist_ok=True)
    return _save(path, dataset)


def _item(**values: Any) -> Dataset:
    dataset = Dataset()
    dataset.update(values)
    return dataset


def _save(path: Path, dataset: Dataset) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
