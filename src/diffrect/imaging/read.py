"""Read an image or a label map of any supported format as a `Volume`."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.kinds import kind_of
from diffrect.imaging.label_codes import whole_numbers
from diffrect.imaging.volume import Volume

# Wider than any scan; places and distances computed from them neither overflow nor vanish.
_LEAST_SPACING, _MOST_SPACING = 1e-9, 1e9
_MOST_AWAY = 1e12


def read_image(path: Path) -> Volume:
    """Read an image in its own number type, (X, Y, Z) or (X, Y, Z, C).

    The formats are NIfTI, FreeSurfer's, NRRD, MHA and MHD, a DICOM series (its folder or one file),
    and PNG, TIFF and JPEG as volumes of one slice.

    Raises:
        InputError: the file is unreadable or truncated, is neither 3-D nor 4-D, has a value that is
            not finite or a spacing that is not positive.
    """
    volume = _read(path)
    if not all(np.isfinite(plane).all() for plane in np.moveaxis(volume.array, 2, 0)):
        raise InputError(path, "finite intensities", found="NaN or infinity")
    return volume


def read_label(path: Path) -> Volume:
    """Read a label map as integers (X, Y, Z); whole numbers stored as floats are accepted.

    They may be off by a hundredth, or by half of what the slope in the file's header rounds.
    The codes of a picture with a palette are the palette's indices.

    Raises:
        InputError: as for images; or the file has fractions, negative codes, colours or several
            channels.
    """
    volume = _read(path, label=True)
    if volume.array.ndim != 3:
        raise InputError(path, "a 3-D label map", got=f"shape {volume.array.shape}")
    return replace(volume, array=whole_numbers(volume.array, path, volume.step))


def _read(path: Path, label: bool = False) -> Volume:
    """Read a volume of any format. The library of a format is imported when it is first needed."""
    match kind_of(path):
        case "picture":
            from diffrect.imaging.picture import read_picture

            volume = read_picture(path, label=label)
        case "dicom":
            from diffrect.imaging.dicom import read_dicom
            from diffrect.imaging.segmentations import read_segmentation, segmentation_file

            segmentation = segmentation_file(path) if label else None
            volume = read_segmentation(segmentation) if segmentation else read_dicom(path)
        case "freesurfer":
            from diffrect.imaging.nifti import read_freesurfer

            volume = read_freesurfer(path)
        case "itk":
            from diffrect.imaging.itk import read_itk

            volume = read_itk(path)
            if label and path.suffix.lower() == ".nrrd":
                from diffrect.imaging.segmentations import merge_layers

                volume = merge_layers(volume, path)
        case "nifti" | None:  # a file of another name is tried as NIfTI
            from diffrect.imaging.nifti import read_nifti

            volume = read_nifti(path)
    return _checked(volume)


def _checked(volume: Volume) -> Volume:
    """Return the volume with a number type, shape and geometry that all other code can rely on."""
    array, path = volume.array, volume.path
    if array.dtype.kind not in "biuf":
        raise InputError(path, "one real number per voxel", got=array.dtype)
    array = array.squeeze(tuple(n for n in range(3, array.ndim) if array.shape[n] == 1))
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(path, "a 3-D volume", got=f"shape {array.shape}")
    if volume.spacing is not None and not all(
        np.isfinite(size) and size > 0 for size in volume.spacing
    ):
        raise InputError(path, "a spacing above 0 mm", got=volume.spacing)
    if volume.spacing is not None and not all(
        _LEAST_SPACING <= size <= _MOST_SPACING for size in volume.spacing
    ):
        expected = f"a spacing from {_LEAST_SPACING:g} to {_MOST_SPACING:g} mm"
        raise InputError(path, expected, got=volume.spacing)
    if not np.isfinite(volume.affine).all():
        raise InputError(path, "a finite affine", found="NaN or infinity")
    if np.abs(volume.affine).max() > _MOST_AWAY:
        found = f"{np.abs(volume.affine).max():g}"
        raise InputError(path, f"an affine of numbers up to {_MOST_AWAY:g}", found=found)
    # Intensities are subtracted from each other, which numpy refuses for bool.
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    return replace(volume, array=array, remarks=volume.remarks + _remarks(volume.affine))


def _remarks(affine: np.ndarray) -> tuple[str, ...]:
    """Describe axes that point nowhere or are not at right angles."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not lengths.all():
        return ("its affine does not say where every axis points",)
    axes = affine[:3, :3] / lengths
    cosine = np.abs(axes.T @ axes - np.eye(3)).max()
    if cosine > 1e-3:  # 0.06 degrees; single precision leaves 1e-6
        degrees = np.degrees(np.arccos(min(1.0, float(cosine))))
        return (f"its axes are not at right angles ({degrees:.1f} degrees between two of them)",)
    return ()
