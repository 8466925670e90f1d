"""Inspecting data sets, stores and files, and continuing past what is broken."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import diffrect
from diffrect.cli import main as cli
from diffrect.cli.inspecting.found import print_inspection
from diffrect.data.findings import Inspection
from diffrect.data.inspection import inspect
from diffrect.data.store import Store
from diffrect.errors import InputError
from support.tiny import ACDC_SHAPE, ACDC_SPACING, scan, write_dataset_json, write_nifti


@pytest.fixture
def broken(decathlon_folder: Path, tmp_path: Path) -> Path:
    """Five faults in one folder."""
    folder = Path(shutil.copytree(decathlon_folder, tmp_path / "broken"))
    images, labels = folder / "imagesTr", folder / "labelsTr"
    (images / "part_000.nii.gz").write_bytes(b"")
    (labels / "part_000.nii.gz").write_bytes(b"text")
    write_nifti(labels / "part_001.nii.gz", np.full((21, 18, 4), 9, np.uint8))
    write_nifti(labels / "part_002.nii.gz", np.zeros((2, 2, 2), np.uint8))
    (images / "part_003.nii.gz").unlink()
    write_nifti(images / "part_004.nii.gz", np.full((21, 18, 4), 5, np.int16), (1.0, 1.0, 2.0))
    return folder


def shown(result: Inspection) -> str:
    console = Console(file=io.StringIO(), width=60)
    print_inspection(result, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_data_set(acdc_folder: Path) -> None:
    result = inspect(acdc_folder, progress=False)
    assert (result.kind, result.format, result.channels) == ("source", "acdc", 1)
    assert (result.cases, result.patients) == (10, 5)
    assert (result.labelled, result.unlabelled) == (10, 0)
    assert result.shapes == {" x ".join(map(str, ACDC_SHAPE)): 10}
    assert result.spacings == {" x ".join(map(str, ACDC_SPACING)): 10}
    assert result.orientations == {"LPS": 10}
    assert result.intensity[0] >= 7
    assert sum(found.share for found in result.classes) == pytest.approx(1)
    assert [found.cases for found in result.classes] == [10] * 4
    assert result.split == {"train": 3, "val": 1, "test": 1, "labelled": 0}
    assert result.problems == ()
    assert result.remarks[0].startswith("95 patients of the official lists are missing: ")
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_shares_are_of_annotated_pixels(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 2), np.uint8)
    labels[0], labels[1] = 1, 255
    write_nifti(tmp_path / "own" / "images" / "a.nii", scan((4, 5, 2), 2, 0)[0])
    write_nifti(tmp_path / "own" / "labels" / "a.nii", labels)
    (tmp_path / "c.yaml").write_text("{1: organ, 3: absent, 255: ignored}")
    options = diffrect.SourceOptions(classes=tmp_path / "c.yaml")
    result = diffrect.inspect(tmp_path / "own", options=options, progress=False)
    shares = {found.name: found.share for found in result.classes}
    assert shares == pytest.approx({"background": 2 / 3, "organ": 1 / 3, "absent": 0})
    assert result.ignored == 0.25
    assert result.problems == ("class absent: expected pixels, no case has any",)
    assert "25.0 % of the pixels" in shown(result)


def test_a_store_says_the_same(store: Store, acdc_folder: Path, tmp_path: Path) -> None:
    source, found = inspect(acdc_folder, progress=False), inspect(store.path, progress=False)
    for key in ("format", "cases", "patients", "shapes", "spacings", "orientations", "classes"):
        assert getattr(found, key) == getattr(source, key), key
    assert found.split == source.split
    assert (found.kind, found.intensity, found.problems) == ("store", (0, 1), ())
    copy = Path(shutil.copytree(store.path, tmp_path / "store"))
    (copy / "cases" / "patient011_frame01" / "label.b2nd").write_bytes(b"damaged")
    problem = "patient011_frame01/label.b2nd: expected the contents written by prepare"
    assert problem in inspect(copy, progress=False).problems[0]


def test_one_file(acdc_folder: Path, ssl4mis_folder: Path, tmp_path: Path) -> None:
    folder = acdc_folder / "patient099"
    image = inspect(folder / "patient099_frame01.nii.gz", progress=False)
    assert (image.kind, image.classes, image.each[0].type) == ("file", (), "int16")
    label = inspect(folder / "patient099_frame01_gt.nii.gz", progress=False)
    assert [found.name for found in label.classes] == [f"code {i}" for i in range(4)]
    assert "code 3" in shown(label)
    assert "uint8" in shown(label)
    assert "patients" not in shown(label)
    raw = write_nifti(tmp_path / "raw.nii", np.array([[[0, 600, 200, 600]]], np.int16))
    classes = inspect(raw, progress=False).classes
    shares = {found.name: found.share for found in classes}
    assert shares == {"code 0": 0.25, "code 200": 0.25, "code 600": 0.5}
    case = inspect(ssl4mis_folder / "data" / "patient028_frame01.h5", progress=False)
    assert (case.labelled, case.orientations) == (1, {"unknown": 1})
    broken = inspect(folder / "Info.cfg", progress=False)
    assert len(broken.problems) == 1
    assert "Info.cfg" in broken.problems[0]


def test_what_is_unusual_is_reported(tmp_path: Path) -> None:
    sheared = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    path = write_nifti(tmp_path / "a.nii", scan((4, 5, 2), 2, 0)[0], affine=sheared)
    result = inspect(path, progress=False)
    expected = f"{path}: its axes are not at right angles (63.4 degrees between two of them)"
    assert (result.problems, result.remarks) == ((), (expected,))
    assert expected in shown(result)


def test_every_problem_is_listed(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(broken), "--json", "--quiet"]) == 1
    result = json.loads(capsys.readouterr().out)
    problems = [problem.removeprefix(f"{broken}/") for problem in result["problems"]]
    starts = (
        "imagesTr/part_003.nii.gz: expected the file named in dataset.json, found no such file",
        "imagesTr/part_000.nii.gz: expected a NIfTI file, found an empty file",
        "labelsTr/part_000.nii.gz: ",
        "labelsTr/part_001.nii.gz: expected label codes 0 to 2 (3 classes), found 9",
        "labelsTr/part_002.nii.gz: expected the shape of its image",
        "imagesTr/part_004.nii.gz: expected varying intensities: every voxel is 5",
    )
    assert len(problems) == len(starts)
    assert all(map(str.startswith, problems, starts))
    assert (result["cases"], result["labelled"], result["unlabelled"]) == (7, 4, 1)
    text = shown(inspect(broken, progress=False))
    assert "7: 4 labelled, 1 unlabelled, 2 not read" in text
    assert f"\n  {broken}/{problems[0]}\n" in text  # no line is broken
    assert (
        f"\nnext: mend or leave out what is wrong, then: diffrect prepare {broken} STORE\n" in text
    )


def test_problems_that_are_alike_are_counted(decathlon_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(decathlon_folder, tmp_path / "data set"))
    for number in range(4):
        (folder / "imagesTr" / f"part_00{number}.nii.gz").unlink()
    write_nifti(folder / "labelsTr" / "part_005.nii.gz", np.full((22, 18, 4), 9, np.uint8))
    result = inspect(folder, progress=False)
    text = shown(result)
    assert "problems: 5\n" in text
    assert f"  4 like this, the first: {folder}/imagesTr/part_000.nii.gz: expected the file" in text
    assert "part_001" not in text
    assert f"  {folder}/labelsTr/part_005.nii.gz: expected label codes" in text
    assert (
        "--all lists them\nnext: mend or leave out what is wrong, then: diffrect prepare '" in text
    )
    console = Console(file=io.StringIO(), width=60)
    print_inspection(result, console, every=True)
    listed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(f"  {problem}\n" in listed for problem in result.problems)
    assert "--all" not in listed


def test_notes_are_no_problems(
    acdc_folder: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(acdc_folder), "--format", "acdc"]) == 0
    out = capsys.readouterr().out
    assert "problems: none\nnotes: 1\n  95 patients of the official lists are missing: " in out
    assert out.endswith(f"next: diffrect prepare {acdc_folder} STORE and the same options\n")
    assert cli.main(["inspect", str(store.path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{store.path}: a store, acdc\n")
    assert out.endswith(f"next: diffrect train {store.path} RUN\n")


def test_a_list_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    write_dataset_json(tmp_path, [], labels=None)
    result = inspect(tmp_path, progress=False)
    assert result.cases == 0
    assert len(result.problems) == 1
    assert "problems: 1" in shown(result)


def test_other_paths_are_refused(tmp_path: Path, decathlon_folder: Path) -> None:
    (tmp_path / "odd.txt").touch()
    with pytest.raises(InputError, match="expected the layout of"):
        inspect(tmp_path)
    with pytest.raises(InputError, match="found nothing"):
        inspect(tmp_path / "nowhere")
    assert cli.main(["inspect", str(decathlon_folder), "--table", "t.csv"]) == 1
    assert cli.main(["inspect", str(decathlon_folder), "--format", "acdc", "--modality", "T"]) == 2


def test_many_shapes_are_summarised_by_their_extent(tmp_path: Path) -> None:
    for size in range(4, 14):
        image, labels = scan((size, 5, 2), 2, 0)
        write_nifti(tmp_path / "images" / f"{size}.nii", image)
        write_nifti(tmp_path / "labels" / f"{size}.nii", labels)
    assert "4 to 13 x 5 to 5 x 2 to 2" in shown(inspect(tmp_path, progress=False))
