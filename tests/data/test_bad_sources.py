"""Data sets that prepare refuses: the exact lines of docs/reference/messages-data-sets.md."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from diffrect.cli import main as cli
from diffrect.data.store import Store
from support.scans import write_series
from support.spoil import Spoil, change, nothing, one_voxel, remove, write
from support.tiny import scan, write_h5, write_nifti

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "messages-data-sets.md"
TABLE = "own/cases.csv"
A, LABEL_A = "images/a.nii.gz", "labels/a.nii.gz"


def rows() -> dict[str, str]:
    """Return the rows of the page: what is wrong -> the message."""
    pattern = re.compile(r"^\| (.+?) \| `(.+)` \|$", re.MULTILINE)
    return dict(pattern.findall(PAGE.read_text("utf-8")))


def csv(*lines: str) -> Spoil:
    return write(TABLE, "".join(f"{line}\r\n" for line in lines))


def settings(folder: str, **changes: Any) -> Spoil:
    """Put other entries into dataset.json."""

    def spoil() -> None:
        file = Path(folder, "dataset.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return spoil


def copy(source: str, target: str) -> Spoil:
    return lambda: shutil.copy(source, target)


def label_of(values: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Change both labels of `own` in the same way."""

    def spoil() -> None:
        for name in "ab":
            change(Path("own/labels", f"{name}.nii.gz"), values)()

    return spoil


def moved() -> None:
    array = np.asanyarray(nib.load("own/labels/a.nii.gz").dataobj)
    affine = np.eye(4)
    affine[:3, 3] = 30, 0, 40
    write_nifti(Path("own/labels/a.nii.gz"), array, affine=affine)


def no_h5_label() -> None:
    write_h5(Path("h5/data/slices/patient099_frame01_slice_2.h5"), np.eye(22, 26), None)


def without(folder: str) -> Spoil:
    return lambda: [file.unlink() for file in Path(folder).iterdir()]


def link(path: str) -> Spoil:
    return lambda: Path(path).symlink_to(Path(path).name)


def loose_slices() -> None:
    files = write_series(Path("series"), scan((8, 7, 2), 2, seed=1)[0], np.eye(4))
    for file, name in zip(files, "xy", strict=True):
        file.rename(f"own/images/{name}.dcm")
    Path("series").rmdir()


PART = "imagesTr/part_000.nii.gz"
BY_TABLE = f"own --table {TABLE}"
# What is wrong -> arguments, and how it came about.
CASES: dict[str, tuple[str, Spoil]] = {
    "the same image listed twice in dataset.json": (
        "task",
        settings("task", training=[PART, {"image": f"./{PART}"}]),
    ),
    "an id twice in a table": (BY_TABLE, csv("id,image", f"a,{A}", "a,images/b.nii.gz")),
    "two images of one name": ("own", copy(f"own/{A}", "own/images/a.nrrd")),
    "two labels of one name": ("own", copy(f"own/{A}", "own/labels/a.png")),
    "two images for one label": (
        BY_TABLE,
        csv("image,label", f"{A},{LABEL_A}", f"images/b.nii.gz,./{LABEL_A}"),
    ),
    "slices of one series, each as if it were a scan": ("own", loose_slices),
    "a label without an image": ("own", copy(f"own/{LABEL_A}", "own/labels/z.nii.gz")),
    "a label without an image, nnU-Net": (
        "nnunet",
        copy("nnunet/labelsTr/a.nii.gz", "nnunet/labelsTr/z.nii.gz"),
    ),
    "dataset.json lists a file that is missing": (
        "task",
        settings("task", training=[PART, "imagesTr/part_009.nii.gz"]),
    ),
    "dataset.json leaves its folder": (
        "task",
        settings("task", training=[{"image": PART, "label": "../part_000.nii.gz"}]),
    ),
    "a table lists a file that is missing": (BY_TABLE, csv("image", "images/c.nii.gz")),
    "a table leaves its folder": (BY_TABLE, csv("image", "images/../../a.nii.gz")),
    "a table with an absolute path outside": (BY_TABLE, csv("image", "/a.nii.gz")),
    "a link that leads to itself": ("own", link("own/images/c.nii.gz")),
    "a folder that is a link to itself": ("loop", link("loop")),
    "no images at all": (
        "own",
        lambda: (without("own/images")(), without("own/labels")()),
    ),
    "a class that is not in dataset.json": (
        "task",
        change(Path("task/labelsTr/part_003.nii.gz"), one_voxel(7)),
    ),
    "a class that is not in the file of names": (
        "own --classes names.csv",
        write("names.csv", "code,name\r\n2,organ\r\n"),
    ),
    "255 among other codes, without a file of names": ("own", label_of(one_voxel(255))),
    "labels that are all background": ("own", label_of(lambda labels: 0 * labels)),
    "classes that overlap": (
        "nnunet",
        settings("nnunet", labels={"background": 0, "whole": [1, 2], "core": 2}),
    ),
    "codes with gaps in dataset.json": ("task", settings("task", labels={"0": "no", "2": "a"})),
    "a name without a code": ("own --classes names.csv", write("names.csv", "name\norgan\n")),
    "a code that is not a number": ("own --classes names.yaml", write("names.yaml", "one: organ")),
    "a code twice": ("own --classes names.csv", write("names.csv", "code,name\n1,a\n01,b\n")),
    "a code twice in YAML": ("own --classes names.yaml", write("names.yaml", "1: a\n1: b\n")),
    "a name that YAML reads as something else": (
        "own --classes names.yaml",
        write("names.yaml", "1: yes"),
    ),
    "a code twice in dataset.json": (
        "task",
        write("task/dataset.json", '{"labels": {"0": "no", "1": "a", "1": "b"}}'),
    ),
    "a label that lies elsewhere than its image": ("own", moved),
    "an h5 file without `label` among others that have one": ("h5", no_h5_label),
    "a slice that is missing between others": (
        "h5",
        remove("h5/data/slices/patient099_frame01_slice_2.h5"),
    ),
    "a channel that is missing": ("nnunet", remove("nnunet/imagesTr/b_0001.nii.gz")),
    "more channels than named": (
        "nnunet",
        copy("nnunet/imagesTr/b_0001.nii.gz", "nnunet/imagesTr/b_0002.nii.gz"),
    ),
    "a channel that has no such name": ("nnunet --modality T1", nothing),
    "a pattern that does not match": (r"own --patients (\d+)", nothing),
    "a pattern without a group": ("own --patients a", nothing),
    "a table without images": (BY_TABLE, csv("id,label", f"a,{LABEL_A}")),
    "a line that is too long": (BY_TABLE, csv("image", f"{A},p")),
    "a patient in two parts": (
        BY_TABLE,
        csv("image,patient,split", f"{A},p,train", "images/b.nii.gz,p,val"),
    ),
    "a part of another name": (BY_TABLE, csv("image,split", f"{A},training")),
    "a split without training": (BY_TABLE, csv("image,split", f"{A},val")),
    "no such table": (BY_TABLE, remove(TABLE)),
    "cases under another key of dataset.json": ("task", settings("task", unlabelled=[PART])),
    "a list of a case that is not there": ("h5", write("h5/val.list", "patient101_frame01\n")),
    "a list without a case": ("h5", write("h5/val.list", "")),
    "an option of another layout": ("own --modality T2", nothing),
}


def write_own(folder: Path) -> None:
    for name in "ab":
        image, labels = scan((8, 7, 2), 2, seed=1)
        write_nifti(folder / "images" / f"{name}.nii.gz", image)
        write_nifti(folder / "labels" / f"{name}.nii.gz", labels)
    (folder / "cases.csv").write_text(f"image\n{A}\n")


def write_nnunet(folder: Path) -> None:
    for name in "ab":
        image, labels = scan((8, 7, 2), 3, seed=1)
        for channel in range(2):
            write_nifti(folder / "imagesTr" / f"{name}_000{channel}.nii.gz", image)
        write_nifti(folder / "labelsTr" / f"{name}.nii.gz", labels)
    channels, labels_ = {"0": "T2", "1": "ADC"}, {"background": 0, "PZ": 1, "TZ": 2}
    content = {"channel_names": channels, "labels": labels_, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def here(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decathlon_folder: Path,
    ssl4mis_folder: Path,
) -> Path:
    """Return a working directory with a good data set of each kind."""
    monkeypatch.chdir(tmp_path)
    write_own(Path("own"))
    write_nnunet(Path("nnunet"))
    shutil.copytree(decathlon_folder, "task")
    shutil.copytree(ssl4mis_folder, "h5")
    return tmp_path


def test_the_page_lists_what_is_tested() -> None:
    assert rows().keys() == CASES.keys()


@pytest.mark.parametrize("fault", CASES)
def test_bad_sources_are_refused_as_the_page_says(
    fault: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, spoil = CASES[fault]
    source, *options = arguments.split()
    spoil()
    before = sorted(here.rglob("*"))
    assert cli.main(["prepare", source, "new", "--workers", "1", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"diffrect: error: {rows()[fault]}\n"
    assert sorted(here.rglob("*")) == before


def test_inspect_reports_the_same_and_continues(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = rows()
    reported = 0
    for fault in ("a label without an image", "a link that leads to itself", "no such table"):
        arguments, spoil = CASES[fault]
        spoil()
        assert cli.main(["inspect", *arguments.split(), "--json", "--quiet"]) == 1
        problems = json.loads(capsys.readouterr().out)["problems"]
        reported += page[fault] in problems
    assert reported == 3
    assert len(problems) == 1  # without its table, no other fault of the folder is seen


def test_lists_with_windows_line_ends_work(here: Path) -> None:
    csv("image,label,split", f"{A},{LABEL_A},train", "images\\b.nii.gz,labels\\b.nii.gz,val")()
    write("names.csv", "code,name\r\n1,organ\r\n")()
    options = ["--table", TABLE, "--classes", "names.csv", "--workers", "1", "--quiet"]
    assert cli.main(["prepare", "own", "new", *options]) == 0
    store = Store("new")
    assert store.classes == ("background", "organ")
    assert store.official_split is not None
    assert store.official_split.val == ("b",)
    assert cli.main(["prepare", "h5", "h5_store", "--workers", "1", "--quiet"]) == 0
    assert Store("h5_store").official_split is not None


def test_tables_with_tabs_and_absolute_paths_work(here: Path) -> None:
    write(TABLE, f"image\tlabel\n{here}/own/{A}\t{here}/own/{LABEL_A}\n")()
    assert cli.main(["prepare", "own", "new", "--table", TABLE, "--workers", "1", "--quiet"]) == 0
    assert list(Store("new").cases) == ["a"]


def test_paths_beyond_ascii_work(here: Path) -> None:
    folder = Path("Ärzte ‘Herz’ 心")
    shutil.move("own", folder)
    shutil.move(folder / "images" / "a.nii.gz", folder / "images" / "ä 心.nii.gz")
    shutil.move(folder / "labels" / "a.nii.gz", folder / "labels" / "ä 心.nii.gz")
    assert cli.main(["prepare", str(folder), "störe 心", "--workers", "1", "--quiet"]) == 0
    assert list(Store("störe 心").cases) == ["b", "ä 心"]
    assert cli.main(["inspect", "störe 心", "--quiet"]) == 0
