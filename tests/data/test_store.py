"""The store: any process reads back what was written, slice by slice."""

import json
import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import blosc2
import numpy as np
import pytest

from diffrect.data.case import Case
from diffrect.data.preparation.write_case import write_case
from diffrect.data.record import CaseRecord, read_record
from diffrect.data.store import Store
from diffrect.errors import InputError
from diffrect.imaging.volume import Volume
from diffrect.json_files import write_json
from support.tiny import ACDC_SHAPE, ACDC_SPACING, scan


def read_slice(store: Store, case_id: str, index: int) -> np.ndarray:
    return store.image(case_id, index)


@pytest.fixture
def store_copy(store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store.path, tmp_path / "store"))


def test_description(store: Store, decathlon_store: Store) -> None:
    assert (store.format, store.channels, store.intensity) == ("acdc", 1, "minmax")
    assert store.classes[0] == "background"
    assert len(store.cases) == 10
    assert len(store.missing_patients) == 95
    x, y, z = ACDC_SPACING
    width, height, slices = ACDC_SHAPE
    assert store.cases["patient028_frame01"] == CaseRecord(
        id="patient028_frame01",
        patient="patient028",
        labelled=True,
        slices=slices,
        shape=(height, width),
        spacing=(z, y, x),
        orientation="SPL",  # of affines diag(-1, -1, 1), cut as they are
    )
    assert decathlon_store.official_split is None
    assert not decathlon_store.cases["part_007"].labelled


def test_arrays(store: Store) -> None:
    raw, raw_labels = scan(ACDC_SHAPE, classes=4, seed=10)  # patient028, the second written
    image, label = store.image("patient028_frame01"), store.label("patient028_frame01")
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    scaled = (raw - raw.min()) / (raw.max() - raw.min())
    np.testing.assert_allclose(image[:, 0], scaled.T, atol=1e-6)
    np.testing.assert_array_equal(label, raw_labels.T)
    for index in (0, 2, -1, np.int64(1)):
        np.testing.assert_array_equal(store.image("patient028_frame01", int(index)), image[index])
        np.testing.assert_array_equal(store.label("patient028_frame01", int(index)), label[index])


def test_slices_and_labels_that_do_not_exist_are_refused(
    store: Store, decathlon_store: Store
) -> None:
    with pytest.raises(IndexError, match="has 3 slices, got index 3"):
        store.image("patient028_frame01", 3)
    with pytest.raises(InputError, match="expected a label of case part_007, it is unlabelled"):
        decathlon_store.label("part_007")


def test_several_channels(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 5, 3, 2))
    label = Volume(np.zeros((4, 5, 3), np.uint8), None, np.eye(4))
    case = Case("a", "a", Volume(array, None, np.eye(4)), label)
    write_case(tmp_path, case, classes=2, channels=2)
    record = read_record(tmp_path, "a")
    assert record.spacing is None
    settings = {
        "version": 1,
        "format": "own",
        "classes": ["background", "a"],
        "channels": 2,
        "intensity": "minmax",
        "missing_patients": [],
        "official_split": None,
        "cases": [vars(record)],
    }
    write_json(tmp_path / "store.json", settings)
    store = Store(tmp_path)
    assert store.image("a").shape == (3, 2, 5, 4)
    assert store.image("a", 1).shape == (2, 5, 4)
    assert store.image("a").min() == 0
    assert store.image("a").max() == 1


def test_one_slice_is_one_chunk(store: Store) -> None:
    width, height, _ = ACDC_SHAPE
    folder = store.path / "cases" / "patient028_frame01"
    assert blosc2.open(str(folder / "image.b2nd"), mode="r").chunks == (1, 1, height, width)
    assert blosc2.open(str(folder / "label.b2nd"), mode="r").chunks == (1, height, width)


def test_stores_travel_to_other_processes(store: Store) -> None:
    copy = pickle.loads(pickle.dumps(store))
    assert copy.cases == store.cases
    expected = store.image("patient099_frame02", 1)
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(2, context) as executor:
        jobs = [executor.submit(read_slice, store, "patient099_frame02", 1) for _ in range(4)]
        for job in jobs:
            np.testing.assert_array_equal(job.result(), expected)


def test_folders_that_are_not_stores(tmp_path: Path, store_copy: Path) -> None:
    with pytest.raises(InputError, match=r"expected a store made by prepare, found no store.json"):
        Store(tmp_path / "absent")
    settings = json.loads((store_copy / "store.json").read_text())
    write_json(store_copy / "store.json", {**settings, "version": 99})
    with pytest.raises(InputError, match=r"store.json: expected store version 2 or 1, got 99"):
        Store(store_copy)
    (store_copy / "store.json").write_text("{")
    with pytest.raises(InputError, match=r"store.json: expected the description of a store"):
        Store(store_copy)
    (store_copy / "store.json").unlink()
    (store_copy / "prepare.json").write_text("{}")
    with pytest.raises(InputError, match="half prepared: run prepare with --resume"):
        Store(store_copy)


def test_half_a_case_is_never_seen(tmp_path: Path) -> None:
    image = Volume(np.arange(8.0).reshape(2, 2, 2), None, np.eye(4))
    label = Volume(np.full((2, 2, 2), 7), None, np.eye(4), Path("label.nii.gz"))
    with pytest.raises(InputError, match=r"label.nii.gz: expected label codes 0 to 3"):
        write_case(tmp_path, Case("a", "a", image, label), classes=4, channels=1)
    assert not list(tmp_path.rglob("*.b2nd"))


def test_pixels_that_nobody_annotated_are_kept(tmp_path: Path) -> None:
    codes = np.zeros((4, 5, 3), np.int16)
    codes[0, 0, 0], codes[1, 2, 1] = 255, 1
    image = Volume(np.random.default_rng(0).normal(size=(4, 5, 3)), None, np.eye(4))
    case = Case("a", "a", image, Volume(codes, None, np.eye(4), Path("label.nii")))
    write_case(tmp_path, case, classes=2, channels=1)
    stored = np.asarray(blosc2.open(str(tmp_path / "cases" / "a" / "label.b2nd"))[:])
    np.testing.assert_array_equal(stored, codes.T)
    codes[0, 0, 0] = 254
    with pytest.raises(InputError, match=r"label.nii: expected label codes 0 to 1 .*, found 254"):
        write_case(tmp_path, case, classes=2, channels=1)
