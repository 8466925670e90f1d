"""The SSL4MIS layout: slices and volumes in HDF5, lists, and files that are refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffrect.data.case import image_slices, label_slices
from diffrect.data.prepare import prepare
from diffrect.data.source_options import SourceOptions
from diffrect.data.sources import SOURCES
from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.data.split import Split
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
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
    with pytest.raises(
        InputError, match=r"slice_4.h5: expected slices 1 to 11 .*, found none of 4$"
    ):
        SOURCES["ssl4mis"].list(tmp_path)
    (slices / "stray.h5").touch()
    with pytest.raises(InputError, match=r"stray.h5: expected a name of the form"):
        SOURCES["ssl4mis"].list(tmp_path)


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["99999999999"], "found none of 1 to 99999999998"),
        (["2", "3", "6", "8", "11", "13", "15", "17"], "of 1, 4 to 5, 7, 9 to 10, 12 and 2 more"),
        (["1", "01"], "expected one file for each slice, found a_slice_0?1.h5 too"),
        (["1" * 5000], "expected a name of the form CASE_slice_N.h5"),
        (["1" * 200], "expected a name of the form CASE_slice_N.h5"),
    ],
    ids=["a huge number", "many gaps", "a number twice", "a number no disk holds", "many digits"],
)
def test_ssl4mis_slices_with_odd_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], fault: str
) -> None:
    (tmp_path / "data" / "slices").mkdir(parents=True)
    files = [tmp_path / "data" / "slices" / f"a_slice_{name}.h5" for name in names]
    monkeypatch.setattr(
        Path, "glob", lambda folder, pattern: files if "slices" in str(folder) else []
    )
    with pytest.raises(InputError, match=fault):
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


def write_plain(folder: Path, codes: tuple[int, ...] = (0, 1), names: str = "case_{}") -> Path:
    """Write five cases whose names have no `_frame`: three in slices, two as volumes, and lists."""
    (folder / "data" / "slices").mkdir(parents=True)
    table = np.array(codes, np.uint8)
    lists: dict[str, list[str]] = {"train_slices": [], "val": [], "test": []}
    for number in range(5):
        image = np.linspace(0, 1, 60).reshape(3, 4, 5)
        labels = table[np.arange(60).reshape(3, 4, 5) % len(codes)]
        name = names.format(number)
        if number > 2:
            write_h5(folder / "data" / f"{name}.h5", image, labels)
            lists["val" if number == 3 else "test"].append(name)
            continue
        for index in range(3):
            file = f"{name}_slice_{index + 1}"
            write_h5(folder / "data" / "slices" / f"{file}.h5", image[index], labels[index])
            lists["train_slices"].append(file)
    for part, lines in lists.items():
        (folder / f"{part}.list").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("ending", ["", ".h5"])
def test_lists_of_names_without_frames_are_the_split(tmp_path: Path, ending: str) -> None:
    folder = write_plain(tmp_path / "h5")
    for file in folder.glob("*.list"):
        lines = [f"data/{line}{ending}" for line in file.read_text().split()]
        file.write_text("\r\n".join(lines))
    split = SOURCES["ssl4mis"].list(folder).official_split
    assert split == Split(("case_0", "case_1", "case_2"), ("case_3",), ("case_4",))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (("val.list", "case_9\n"), "h5/val.list: expected cases of .*data, got case_9"),
        (("test.list", "a\nb\nb\n"), "h5/test.list: expected cases of .*data, got a and 1 more"),
        (("val.list", "\n"), "h5/val.list: expected at least one case, found none"),
        (("val.list", None), "h5/val.list: expected the list that belongs to train_slices.list"),
        (("train_slices.list", None), "train_slices.list: expected the list that belongs to val.l"),
    ],
)
def test_lists_that_do_not_fit_stop(
    tmp_path: Path, spoil: tuple[str, str | None], message: str
) -> None:
    folder = write_plain(tmp_path / "h5")
    name, text = spoil
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        SOURCES["ssl4mis"].list(folder)


def test_a_case_in_no_list_is_named(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "h5")
    (folder / "test.list").unlink()
    assert SOURCES["ssl4mis"].list(folder).remarks == (f"{folder}: 1 case is in no list: case_4",)


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ((0, 1), ("class 1",)),
        ((0, 255), ("class 255",)),
        ((0, 1, 255), ("class 1",)),
        ((0, 1, 2, 3, 4), ("class 1", "class 2", "class 3", "class 4")),
        ((0, 2, 5), ("class 2", "class 5")),
    ],
)
@pytest.mark.parametrize("names", ["case_{}", "patient00{}_frame01"])
def test_classes_are_the_codes_of_the_labels(
    tmp_path: Path, codes: tuple[int, ...], classes: tuple[str, ...], names: str
) -> None:
    folder = write_plain(tmp_path / "h5", codes, names)
    listing = SOURCES["ssl4mis"].list(folder)
    assert listing.classes == ("background", *classes)
    label = listing.references[0].load().label
    assert label is not None
    ignored = {IGNORED} if codes == (0, 1, 255) else set()
    assert set(np.unique(label.array)) == {*range(len(classes) + 1), *ignored}


def test_classes_and_patients_by_options(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "h5", (0, 2))
    (tmp_path / "c.yaml").write_text("2: atrium\n")
    options = SourceOptions(classes=tmp_path / "c.yaml", patients=r"_(\d)$")
    store = prepare(folder, tmp_path / "store", options=options, progress=False)
    assert store.classes == ("background", "atrium")
    assert store.patients == ("0", "1", "2", "3", "4")
    assert store.official_split == Split(("0", "1", "2"), ("3",), ("4",))


def test_two_spellings_of_a_name_are_one(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "h5", names="Jose\u0301_{}")
    (folder / "val.list").write_text("Jos\u00e9_3", encoding="utf-8")
    split = SOURCES["ssl4mis"].list(folder).official_split
    assert split is not None
    assert split.val == ("Jos\u00e9_3",)
