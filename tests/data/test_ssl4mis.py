"""The SSL4MIS layout: slices and volumes in HDF5, lists, and files that are refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffrect.data.case import image_slices, label_slices
from diffrect.data.sources import SOURCES
from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.errors import InputError
from support.tiny import write_h5, write_ssl4mis


def test_ssl4mis_gives_the_same_slices_as_the_raw_files(
    acdc_folder: Path, ssl4mis_folder: Path
) -> None:
    raw = {case.id: case for case in SOURCES["acdc"].list(acdc_folder).references}
    listing = SOURCES["ssl4mis"].list(ssl4mis_folder)
    assert [case.id for case in listing.references] == list(raw)
    for reference in listing.references:
        case, expected = reference.load(), raw[reference.id].load()
        assert case.image.spacing is None
        assert case.label is not None
        assert expected.label is not None
        np.testing.assert_allclose(
            image_slices(case.image, normalised=case.normalised),
            image_slices(expected.image),
            atol=1e-6,
        )
        np.testing.assert_array_equal(label_slices(case.label, 4), label_slices(expected.label, 4))


def test_ssl4mis_lists_with_windows_line_ends(ssl4mis_folder: Path) -> None:
    assert b"\r\n" in (ssl4mis_folder / "val.list").read_bytes()
    split = SOURCES["ssl4mis"].list(ssl4mis_folder).official_split
    assert split is not None
    # The folder's own order; ACDC's official lists have 038 before 050.
    assert split.train == ("patient099", "patient050", "patient038")
    assert split.val == ("patient028",)
    assert split.test == ("patient011",)


def test_ssl4mis_without_lists_takes_acdcs(ssl4mis_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ssl4mis_folder, tmp_path / "h5"))
    (folder / "train_slices.list").unlink()
    split = SOURCES["ssl4mis"].list(folder).official_split
    assert split is not None
    assert split.train == ("patient099", "patient038", "patient050")


def test_ssl4mis_slices_are_sorted_by_number(tmp_path: Path) -> None:
    slices = tmp_path / "data" / "slices"
    slices.mkdir(parents=True)
    for number in range(1, 12):
        image = np.full((4, 5), number / 20)
        write_h5(slices / f"patient001_frame01_slice_{number}.h5", image, None)
    case = SOURCES["ssl4mis"].list(tmp_path).references[0].load()
    np.testing.assert_allclose(case.image.array[0, 0], np.arange(1, 12) / 20)
    assert case.label is None
    (slices / "patient001_frame01_slice_4.h5").unlink()
    with pytest.raises(InputError, match=r"slice_4.h5: expected slices 1 to 11"):
        SOURCES["ssl4mis"].list(tmp_path)
    (slices / "stray.h5").touch()
    with pytest.raises(InputError, match=r"stray.h5: expected a name of the form"):
        SOURCES["ssl4mis"].list(tmp_path)


GOOD = np.linspace(0, 1, 12).reshape(3, 4)


def _break_h5(path: Path, how: str) -> None:
    contents: dict[str, Callable[[], None]] = {
        "empty": path.touch,
        "truncated": lambda: path.write_bytes(path.read_bytes()[:600]) and None,
        "shape": lambda: write_h5(path, GOOD, np.zeros((4, 3), np.uint8)),
        "flat": lambda: write_h5(path, GOOD[0], None),
        "infinite": lambda: write_h5(path, GOOD / 0.0, None),
        "fraction": lambda: write_h5(path, GOOD, np.full((3, 4), 0.5)),
    }
    if how == "truncated":
        write_h5(path, GOOD, None)
    with np.errstate(all="ignore"):
        contents[how]()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "expected HDF5 with image and label"),
        ("truncated", "expected HDF5 with image and label"),
        ("shape", r"expected a label of the image's shape, \(3, 4\), got \(4, 3\)"),
        ("flat", "expected a slice"),
        ("infinite", "found NaN or infinity"),
        ("fraction", "found 0.5"),
    ],
)
def test_h5_files_refused(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "bad.h5"
    _break_h5(path, how)
    with pytest.raises(InputError, match=f"bad.h5: .*{message}") as caught:
        Ssl4misCase("a", "a", (path,)).load()
    assert "\n" not in str(caught.value)


def test_h5_slices_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    write_h5(tmp_path / "1.h5", GOOD, np.zeros((3, 4), np.uint8))
    write_h5(tmp_path / "2.h5", GOOD.T, np.zeros((4, 3), np.uint8))
    write_h5(tmp_path / "3.h5", GOOD, None)
    files = [tmp_path / f"{number}.h5" for number in (1, 2, 3)]
    with pytest.raises(InputError, match=r"2.h5: expected slices of \(3, 4\) as in 1.h5"):
        Ssl4misCase("a", "a", tuple(files[:2])).load()
    with pytest.raises(InputError, match="a label in every slice or in none"):
        Ssl4misCase("a", "a", (files[0], files[2])).load()


def test_ssl4mis_accepts_train_list_in_place_of_train_slices(tmp_path: Path) -> None:
    folder = write_ssl4mis(tmp_path / "h5")
    (folder / "train_slices.list").rename(folder / "train.list")
    split = SOURCES["ssl4mis"].list(folder).official_split
    assert split is not None
    assert split.train[0] == "patient099"
