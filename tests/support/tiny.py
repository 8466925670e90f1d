"""Tiny data sets in the layouts that users have, for fixtures and tests to build on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np

# Two frames each; 099, 038 and 050 train, 028 validates, 011 tests in ACDC's official lists.
ACDC_PATIENTS = ("patient011", "patient028", "patient038", "patient050", "patient099")
ACDC_SHAPE = (26, 22, 3)
ACDC_SPACING = (1.5, 1.25, 10.0)


def scan(shape: tuple[int, int, int], classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (X, Y, Z) int16 of nested ellipses, one a class, and its labels uint8."""
    generator = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    centre = generator.uniform(-0.15, 0.15, 2)
    radius = np.hypot(x - centre[0], y - centre[1])
    labels = np.zeros(shape, dtype=np.uint8)
    for code in range(1, classes):
        labels[radius < 0.8 * (classes - code) / (classes - 1)] = code
    image = 100 * labels + generator.integers(0, 40, shape) + 7
    return image.astype(np.int16), labels


def write_nifti(
    path: Path,
    array: np.ndarray,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    affine: np.ndarray | None = None,
) -> Path:
    """A NIfTI file whose pixdim is ``spacing``, whatever the affine says."""
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    image.header["pixdim"][1 : 1 + len(spacing)] = spacing
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_acdc(folder: Path, patients: Sequence[str] = ACDC_PATIENTS) -> Path:
    """ACDC as published: unscaled affines, and patient038's ED and ES in frames 04 and 11."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for number, patient in enumerate(patients):
        frames = (4, 11) if patient == "patient038" else (1, 9)
        info = f"ED: {frames[0]}\nES: {frames[1]}\nGroup: NOR\nHeight: 170.0\nNbFrame: 12\n"
        for phase, frame in enumerate(frames):
            stem = folder / patient / f"{patient}_frame{frame:02d}"
            image, labels = scan(ACDC_SHAPE, classes=4, seed=10 * number + phase)
            write_nifti(Path(f"{stem}.nii.gz"), image, ACDC_SPACING, affine)
            write_nifti(Path(f"{stem}_gt.nii.gz"), labels, ACDC_SPACING, affine)
        (folder / patient / "Info.cfg").write_text(info)
    return folder


def write_decathlon(folder: Path, labelled: int = 7, unlabelled: int = 1) -> Path:
    """A Decathlon folder with one modality and 3 classes; the last cases have no label."""
    entries: list[dict[str, str]] = []
    for number in range(labelled + unlabelled):
        image, labels = scan((20 + number % 3, 18, 4), classes=3, seed=number)
        name = f"part_{number:03d}.nii.gz"
        write_nifti(folder / "imagesTr" / name, image.astype(np.float32), (1.0, 1.0, 2.0))
        entries.append({"image": f"./imagesTr/{name}"})
        if number < labelled:
            write_nifti(folder / "labelsTr" / name, labels, (1.0, 1.0, 2.0))
            entries[-1]["label"] = f"./labelsTr/{name}"
    write_dataset_json(folder, entries)
    return folder


def write_dataset_json(folder: Path, training: list[Any], **changes: Any) -> None:
    """dataset.json of `write_decathlon`, with other entries where ``changes`` names them."""
    settings = {
        "name": "Tiny",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": training,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({**settings, **changes}))


def write_ssl4mis(folder: Path, patients: Sequence[str] = ACDC_PATIENTS) -> Path:
    """The same scans as `write_acdc` in the SSL4MIS layout, with lists of Windows line ends."""
    lists: dict[str, list[str]] = {"train_slices.list": [], "val.list": [], "test.list": []}
    held_out = {"patient028": "val.list", "patient011": "test.list"}
    (folder / "data" / "slices").mkdir(parents=True)
    # 099 first, so that it is the first of the labelled patients.
    for number, patient in reversed(list(enumerate(patients))):
        for phase in range(2):
            raw, raw_labels = scan(ACDC_SHAPE, classes=4, seed=10 * number + phase)
            image, labels = raw.T.astype(np.float32), raw_labels.T
            image = (image - image.min()) / (image.max() - image.min())
            case = f"{patient}_frame{phase + 1:02d}"
            if patient in held_out:
                write_h5(folder / "data" / f"{case}.h5", image, labels)
                lists[held_out[patient]].append(case)
                continue
            for index in range(len(image)):
                name = f"{case}_slice_{index + 1}"
                write_h5(folder / "data" / "slices" / f"{name}.h5", image[index], labels[index])
                lists["train_slices.list"].append(name)
    for name, lines in lists.items():
        (folder / name).write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return folder


def write_h5(path: Path, image: np.ndarray, label: np.ndarray | None) -> None:
    """One HDF5 file with the keys image and label."""
    with h5py.File(path, "w") as file:
        file["image"] = image
        if label is not None:
            file["label"] = label
