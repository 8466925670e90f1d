"""Write one case into a store under construction."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from diffrect.atomic import write_atomic
from diffrect.data.case import Case, Conversion, check_case, image_slices, label_slices, turn_label
from diffrect.data.integrity import checksum, write_sealed
from diffrect.data.record import CASE_FILE, CASES_FOLDER, IMAGE_FILE, LABEL_FILE, CaseRecord
from diffrect.imaging.slicing import Slicing, choose_slicing

# One thread: a slice is too small to share out, and several processes work at a time.
_COMPRESSION = blosc2.CParams(
    codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1
)


def write_case(
    store: Path, case: Case, classes: int, channels: int, how: Conversion | None = None
) -> None:
    """Add a case to a store; its folder appears under its name only when complete.

    A folder of that name that is already there is damaged, and is replaced.

    Args:
        store: folder of the store.
        case: the case.
        classes: number of classes of the store, background included.
        channels: number of image channels of the store.
        how: how volumes become slices; None takes the defaults.

    Raises:
        InputError: image and label do not fit each other, the classes or the channels.
        OSError: the disk is full or the like; its `filename` is the case's folder.
    """
    how = how or Conversion()
    case = turn_label(case)
    check_case(case, channels)
    slicing = choose_slicing(case.image, how.axis)
    image = image_slices(
        case.image, normalised=case.normalised, slicing=slicing, intensity=how.intensity
    )
    arrays = {IMAGE_FILE: image}
    if case.label is not None:
        arrays[LABEL_FILE] = label_slices(case.label, classes, slicing)
    contents = {name: _encode(array) for name, array in arrays.items()}
    description = _describe(case, slicing, image, contents)
    _write_folder(store / CASES_FOLDER / case.id, contents, description)


def _encode(array: np.ndarray) -> bytes:
    """Return the content of an array's file.

    It is made in memory, because a full disk could cut a file that Blosc2 writes without an error.
    """
    one_slice = (1, *array.shape[1:])
    compressed = blosc2.asarray(array, chunks=one_slice, blocks=one_slice, cparams=_COMPRESSION)
    return bytes(compressed.to_cframe())


def _describe(
    case: Case, slicing: Slicing, image: np.ndarray, contents: dict[str, bytes]
) -> dict[str, Any]:
    """Return the content of a case's `case.json`, without the checksum of itself.

    Args:
        case: the case.
        slicing: how its volumes were cut.
        image: its slices, (Z, C, H, W).
        contents: contents of the files of its arrays, by name.
    """
    slices, _, height, width = image.shape
    volumes = [volume for volume in (case.image, case.label) if volume is not None]
    record = CaseRecord(
        id=case.id,
        patient=case.patient,
        labelled=case.label is not None,
        slices=slices,
        shape=(height, width),
        spacing=slicing.spacing(case.image),
        axis=slicing.axes[0],
        orientation=slicing.orientation(case.image),
        remarks=tuple(f"{volume.path}: {line}" for volume in volumes for line in volume.remarks),
    )
    label = None if case.label is None else str(case.label.path)
    return {
        **asdict(record),
        "slicing": asdict(slicing),
        "affine": case.image.affine.tolist(),
        "files": {"image": str(case.image.path), "label": label},
        "checksums": {name: checksum(content) for name, content in contents.items()},
    }


def _write_folder(final: Path, contents: dict[str, bytes], description: dict[str, Any]) -> None:
    """Write a case's files beside their place, then move the folder there in one step."""
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, content in contents.items():
            write_atomic(partial / name, content, sync=False)
        write_sealed(partial / CASE_FILE, description, sync=False)
        if final.exists():  # damaged
            shutil.rmtree(final)
        partial.replace(final)
    except OSError as error:
        error.filename = str(final)  # the partial folder goes
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
