"""Files with random bytes changed are read in the right shape, or refused in one line."""

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffrect.data.case import image_slices, label_slices
from diffrect.data.choose_split import resolve_split
from diffrect.data.sources import SOURCES
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.slicing import choose_slicing
from diffrect.imaging.volume import Volume
from support.scans import grid, write_scan
from support.tiny import write_dataset_json, write_h5, write_nifti

SHAPE = (5, 4, 3)
# Fixtures are shared, but every example writes its file anew; a hang is what takes this long.
quick = settings(
    max_examples=60,
    deadline=timedelta(seconds=30),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

edits = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.sampled_from([b"\x00", b"\xff", b"\x7f", b"\x80", b"\x01"])
        | st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)
lengths = st.none() | st.integers(0, 10_000)


def mutated(
    content: bytes, changes: list[tuple[int, bytes]], length: int | None, end: int
) -> bytes:
    """Replace bytes before `end`, and cut the file off at some length."""
    changed = bytearray(content)
    for place, new in changes:
        at = place % end
        changed[at : at + len(new)] = new
    return bytes(changed[: None if length is None else length % len(content)])


def explained(read: Callable[[], Any]) -> Any:
    """Return what is read; None if it is refused in one line."""
    try:
        return read()
    except InputError as error:
        message = str(error)
    assert len(message) > 10
    assert "\n" not in message
    return None


def used(volume: Volume) -> None:
    """Do with an accepted volume what prepare and predict do."""
    assert volume.array.ndim in (3, 4)
    assert np.isfinite(volume.array).all()
    assert volume.spacing is None or all(0 < size < np.inf for size in volume.spacing)
    for policy in ("2", "auto"):
        slicing = explained(lambda policy=policy: choose_slicing(volume, policy))
        if slicing is not None:
            slices = explained(lambda slicing=slicing: image_slices(volume, slicing=slicing))
            assert slices is None or (slices.min() >= 0 and slices.max() <= 1)


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    array = np.arange(60, dtype=np.int16).reshape(SHAPE)
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    return write_nifti(path, array, (1.5, 1.25, 8.0), grid()).read_bytes()


def shape_in_header(content: bytes) -> tuple[int, ...] | None:
    """Return the dimensions in the bytes of a NIfTI-1 header, of either byte order."""
    for order in "<>":
        size, count = (
            struct.unpack_from(f"{order}i", content, 0)[0],
            struct.unpack_from(f"{order}h", content, 40)[0],
        )
        if size == 348 and 1 <= count <= 7:
            return struct.unpack_from(f"{order}{count}h", content, 42)
    return None


@quick
@given(changes=edits, length=lengths, everywhere=st.booleans())
def test_nifti(nifti: bytes, tmp_path: Path, changes, length, everywhere: bool) -> None:
    content = mutated(nifti, changes, length, len(nifti) if everywhere else 348)
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    volume = explained(lambda: read_image(path))
    explained(lambda: label_slices(read_label(path), 4))
    if volume is not None:
        expected = shape_in_header(content)
        if expected is not None:  # else nibabel knew another header in it
            assert [n for n in volume.array.shape if n != 1] == [n for n in expected if n != 1]
        used(volume)


@quick
@given(changes=edits, length=lengths, inside=st.booleans())
def test_compressed_nifti(nifti: bytes, tmp_path: Path, changes, length, inside: bool) -> None:
    if inside:
        content = gzip.compress(mutated(nifti, changes, length, 348))
    else:
        whole = gzip.compress(nifti)
        content = mutated(whole, changes, length, len(whole))
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    volume = explained(lambda: read_image(path))
    if volume is not None:
        used(volume)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.png", "a.tif", "series"])
@settings(parent=quick, max_examples=25)
@given(changes=edits, length=lengths)
def test_other_formats(
    name: str, tmp_path_factory: pytest.TempPathFactory, changes, length
) -> None:
    folder = tmp_path_factory.mktemp("other")
    array = np.arange(60).reshape(SHAPE)
    path = write_scan(
        folder / name,
        array.astype(np.int16 if "g" not in name[-2:] and name != "a.tif" else np.uint8),
        grid(),
    )
    file = sorted(path.iterdir())[1] if path.is_dir() else path
    content = file.read_bytes()
    file.write_bytes(mutated(content, changes, length, len(content)))
    volume = explained(lambda: read_image(path))
    if volume is not None:
        used(volume)
    shutil.rmtree(folder)


@quick
@given(changes=edits, length=lengths)
def test_hdf5(tmp_path: Path, changes, length) -> None:
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    file = folder / "patient001_frame01.h5"
    image = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    write_h5(file, image, np.ones((3, 4, 5), np.uint8))
    content = file.read_bytes()
    file.write_bytes(mutated(content, changes, length, len(content)))
    case = explained(lambda: SOURCES["ssl4mis"].list(tmp_path).references[0].load())
    if case is not None:
        assert case.label is None or case.label.array.shape == case.image.array.shape
        explained(lambda: image_slices(case.image, normalised=True))


@quick
@given(
    shape=st.lists(st.integers(0, 4), max_size=5),
    label=st.lists(st.integers(0, 4), max_size=5),
    kind=st.sampled_from(["f4", "i2", "S3", "?", "c8", "f8"]),
)
def test_hdf5_of_other_contents(tmp_path: Path, shape, label, kind: str) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    file = tmp_path / "data" / "patient001_frame01.h5"
    with h5py.File(file, "w") as content:
        content["image"] = np.zeros(shape, kind)
        content["label"] = np.ones(label, np.uint8)
    case = explained(lambda: SOURCES["ssl4mis"].list(tmp_path).references[0].load())
    if case is not None:
        assert shape == label
        assert kind in ("f4", "i2", "f8")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@quick
@given(
    name=st.sampled_from(["training", "labels", "modality", "name"]),
    value=anything
    | st.lists(st.fixed_dictionaries({"image": anything, "label": anything}), max_size=2),
)
def test_dataset_json_with_other_values(tmp_path: Path, name: str, value: Any) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.ones((2, 2, 2), np.uint8))
    write_dataset_json(tmp_path, **{"training": ["a.nii.gz"], name: value})
    listing = explained(lambda: SOURCES["decathlon"].list(tmp_path))
    for reference in listing.references if listing is not None else ():
        explained(reference.load)


@quick
@given(changes=edits, length=lengths)
def test_dataset_json_with_other_bytes(tmp_path: Path, changes, length) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.ones((2, 2, 2), np.uint8))
    write_dataset_json(tmp_path, ["a.nii.gz"])
    content = (tmp_path / "dataset.json").read_bytes()
    (tmp_path / "dataset.json").write_bytes(mutated(content, changes, length, len(content)))
    explained(lambda: SOURCES["decathlon"].list(tmp_path))


@quick
@given(changes=edits, length=lengths)
def test_store_json_with_other_bytes(store: Store, tmp_path: Path, changes, length) -> None:
    content = (store.path / "store.json").read_bytes()
    (tmp_path / "store.json").write_bytes(mutated(content, changes, length, len(content)))
    explained(lambda: Store(tmp_path))


@quick
@given(
    name=st.sampled_from(
        [
            "version",
            "classes",
            "channels",
            "cases",
            "official_split",
            "axis",
            "intensity",
            "missing_patients",
        ]
    ),
    value=anything,
)
def test_store_json_with_other_values(store: Store, tmp_path: Path, name: str, value: Any) -> None:
    content = json.loads((store.path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({**content, name: value}))
    explained(lambda: Store(tmp_path))


@quick
@given(value=anything | st.dictionaries(st.sampled_from(["train", "val", "test"]), anything))
def test_split_files_with_other_values(store: Store, tmp_path: Path, value: Any) -> None:
    file = tmp_path / "split.json"
    file.write_text(json.dumps(value))
    explained(lambda: resolve_split(store, split_file=file, labelled=None, seed=1))
