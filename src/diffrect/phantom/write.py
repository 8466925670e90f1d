"""Write synthetic patients to disk in the layout in which ACDC is published."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from diffrect.errors import InputError
from diffrect.phantom.patient import PhantomPatient, phantom_patient


def write_phantom(folder: Path | str, patients: int = 24, seed: int = 0) -> list[Path]:
    """Write synthetic patients in the layout in which ACDC is published.

    Each patient gets a folder `phantomXXX/` with `Info.cfg` and, for end-diastole and end-systole,
    `phantomXXX_frameYY.nii.gz` (int16) and `phantomXXX_frameYY_gt.nii.gz` (uint8; 1 RV cavity,
    2 myocardium, 3 LV cavity). The same arguments give the same bytes on the same machine.

    Args:
        folder: folder to write into; it is made if need be.
        patients: number of patients, 1 to 999.
        seed: seed of the data set; with the index of a patient it determines the patient.

    Returns:
        The folders of the patients.

    Raises:
        InputError: `patients` is out of range, or a patient's folder exists already.
    """
    if not 1 <= patients <= 999:
        raise InputError("patients", "1 to 999", got=patients, setting="patients")
    folders = [Path(folder) / f"phantom{index + 1:03d}" for index in range(patients)]
    for place in folders:
        if place.exists():
            raise InputError(place, "a new folder", found="one that exists already")
    for index, place in enumerate(folders):
        place.mkdir(parents=True)
        _write_patient(place, phantom_patient(seed, index))
    return folders


def _write_patient(folder: Path, patient: PhantomPatient) -> None:
    for frame in (patient.diastole, patient.systole):
        stem = f"{folder.name}_frame{frame.number:02d}"
        _write_nifti(folder / f"{stem}.nii.gz", frame.image, patient.spacing)
        _write_nifti(folder / f"{stem}_gt.nii.gz", frame.label, patient.spacing)
    information = {
        "ED": patient.diastole.number,
        "ES": patient.systole.number,
        "Group": patient.group,
        "Height": patient.height_cm,
        "NbFrame": patient.frames,
        "Weight": patient.weight_kg,
    }
    text = "".join(f"{key}: {value}\n" for key, value in information.items())
    (folder / "Info.cfg").write_text(text, encoding="utf-8", newline="\n")


def _write_nifti(
    path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float]
) -> None:
    # Columns run to the patient's left and rows to the back, so both are flipped against NIfTI's
    # right-anterior-superior axes; the origin is the middle of the volume.
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(array.shape) - 1) / 2)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    # The gzip header holds no time and no name, so that the same arrays give the same bytes.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
