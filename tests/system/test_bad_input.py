"""Bad input gives one line, exit code 2, and leaves every file as it was before."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrect.cli import main as cli
from diffrect.data.store import Store
from diffrect.errors import InputError
from support.bad_cases import DEMO, EVALUATE, FINE, PREDICT, PREPARE, TRAIN
from support.bad_scans import SCANS
from support.scans import grid, write_scan
from support.spoil import Spoil
from support.tiny import write_nifti

QUICK = {
    "prepare": "--workers 1",
    "train": "--method supervised --size 32 --iterations 2 --batch-labelled 2 --device cpu",
}
CASES = {"prepare": PREPARE, "train": TRAIN, "evaluate": EVALUATE, "predict": PREDICT, "demo": DEMO}


@pytest.fixture
def good(
    decathlon_folder: Path,
    ssl4mis_folder: Path,
    store: Store,
    decathlon_store: Store,
    tiny_run: Path,
) -> dict[str, Path]:
    """Return the good folders that the arguments of a case may name."""
    return {
        "source": decathlon_folder,
        "h5": ssl4mis_folder,
        "store": store.path,
        "other": decathlon_store.path,
        "run": tiny_run,
    }


ROOT = Path(__file__).parents[2]


def files() -> dict[Path, tuple[int, int] | None]:
    """Return everything below the working directory, with size and time of the files."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
        for path in Path().rglob("*")
    }


@pytest.mark.parametrize(
    ("command", "arguments", "message", "spoil"),
    [
        pytest.param(command, *case, id=f"{command}: {name}")
        for command, cases in CASES.items()
        for name, case in cases.items()
    ],
)
def test_bad_input_gives_one_line_and_changes_nothing(
    command: str,
    arguments: str,
    message: str,
    spoil: Spoil,
    good: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments.split()
    for name in good.keys() & set(given):
        shutil.copytree(good[name], name)
    write_nifti(Path("a.nii.gz"), FINE)
    spoil()
    before = files()
    # Options of the case come last and therefore count.
    options = QUICK.get(command, "").split()
    assert cli.main([command, *given[:2], *options, *given[2:]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"diffrect: error: {message}\n", err), err
    assert files() == before


@pytest.mark.parametrize("name", SCANS)
def test_a_bad_scan_gives_the_documented_line(
    name: str,
    good: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments, message, spoil = SCANS[name]
    monkeypatch.chdir(tmp_path)
    command, *given = arguments.split()
    for part in good.keys() & set(given):
        shutil.copytree(good[part], part)
    write_nifti(Path("a.nii.gz"), FINE)
    spoil()
    if "Permission" in message and os.access("a.nii.gz", os.R_OK):
        monkeypatch.setattr(Path, "open", forbidden)  # the administrator reads everything
    before = files()
    assert cli.main([command, *given[:2], *QUICK.get(command, "").split(), *given[2:]]) == 2
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"diffrect: error: {message}\n")
    assert files() == before


# These faults are faults of the command as a whole.
WHOLE = (
    "a file whose name is not that of an image",
    "a folder without images",
    "a file without permission",
    "label files as DICOM",
    "a DICOM segmentation of another scan",
    "a DICOM segmentation of a series without a frame of reference",
)


@pytest.mark.parametrize(
    "name",
    [name for name, case in SCANS.items() if case[0].startswith("predict") and name not in WHOLE],
)
def test_good_neighbours_of_a_bad_scan_are_kept(
    name: str,
    good: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments, message, spoil = SCANS[name]
    monkeypatch.chdir(tmp_path)
    write_nifti(Path("a.nii.gz"), FINE)
    spoil()
    write_nifti(Path("good.nii.gz"), FINE)
    _, _, _, *given = arguments.split()
    command = ["predict", str(good["run"]), "out", "good.nii.gz", *given, "--quiet"]
    assert cli.main(command) == 1
    assert capfd.readouterr() == ("", f"diffrect: error: {message}\n")
    assert [path.name for path in Path("out").iterdir()] == ["good.nii.gz"]


def test_every_bad_scan_is_documented() -> None:
    lines = (ROOT / "docs" / "reference" / "messages.md").read_text("utf-8").splitlines()
    rows = (re.fullmatch(r"\| (.+?) \| `(.+)` \|", line) for line in lines)
    documented = {row[1]: row[2] for row in rows if row}
    assert documented == {name: message for name, (_, message, _) in SCANS.items()}


def test_names_with_spaces_and_other_letters(good: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "Größe 三 ♥"
    source = shutil.copytree(good["source"], folder / "a source")
    assert (
        cli.main(["prepare", str(source), str(folder / "a store"), *QUICK["prepare"].split()]) == 0
    )
    for file in ("Ä b.nii.gz", "Ä c.nrrd", "Ä d.mha", "Ä series"):
        write_scan(folder / file, FINE, grid())
        out = folder / f"out {file}"
        assert cli.main(["predict", str(good["run"]), str(out), str(folder / file), "--quiet"]) == 0
        assert [path.name for path in out.iterdir()] == [f"{file.partition('.')[0]}.nii.gz"]


def test_a_symlink_loop(
    good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    write_nifti(folder / "a.nii.gz", FINE)
    (folder / "loop").symlink_to(folder)
    (folder / "b.nii.gz").symlink_to("b.nii.gz")
    out = tmp_path / "out"
    assert cli.main(["predict", str(good["run"]), str(out), str(folder), "--quiet"]) == 1
    assert [path.name for path in out.iterdir()] == ["a.nii.gz"]
    message = f"{folder / 'b.nii.gz'}: expected a NIfTI file: Too many levels of symbolic links"
    assert message in capsys.readouterr().err


OPEN = Path.open


def forbidden(path: Path, *given: Any, **options: Any) -> Any:
    """Open a file as a user would who has no permission for a.nii.gz."""
    if path.name == "a.nii.gz":
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return OPEN(path, *given, **options)


@contextmanager
def small_disk() -> Iterator[None]:
    """Limit the size of files, which makes writing fail as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_what_is_finished(
    good: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Path(shutil.copytree(good["source"], tmp_path / "source"))
    noise = np.random.default_rng(0).normal(size=(200, 200, 20)).astype(np.float32)
    write_nifti(source / "imagesTr" / "part_003.nii.gz", noise)
    write_nifti(source / "labelsTr" / "part_003.nii.gz", np.zeros(noise.shape, np.uint8))
    command = ["prepare", str(source), str(tmp_path / "store"), "--workers", "1", "--quiet"]
    with small_disk():
        assert cli.main(command) == 2
    case = tmp_path / "store" / "cases" / "part_003"
    assert capsys.readouterr() == ("", f"diffrect: error: {case}: File too large\n")
    with pytest.raises(InputError, match="half prepared"):
        Store(tmp_path / "store")
    finished = sorted(folder.name for folder in case.parent.iterdir())
    assert finished == ["part_000", "part_001", "part_002"]
    assert cli.main([*command, "--resume"]) == 0
    Store(tmp_path / "store").verify()
