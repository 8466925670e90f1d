"""A disk that fills up under what writes files by other means than `write_atomic`."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from diffrect.atomic import remove_unfinished
from diffrect.cli import main as cli
from diffrect.comparison.cell import clear_unusable
from diffrect.comparison.locks import CellLock
from diffrect.runs.checkpoint import checkpoint_path, save_checkpoint
from diffrect.runs.names import CONFIG_FILE, LOG_FILE, SPLIT_FILE
from support.disk import check_told, full_disk, without_lock
from support.tiny import scan, write_nifti


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "mhd"])
def test_a_library_that_says_nothing_of_a_full_disk(
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    without_lock(monkeypatch, "inference.predict")
    image = tmp_path / f"a.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(scan((20, 20, 2), 4, seed=1)[0].T), str(image))
    out = tmp_path / "out"
    command = ["predict", str(tiny_run), str(out), str(image), "--format", "same", "--quiet"]
    with full_disk(20):
        assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"diffrect: error: {out / image.name}: ")
    assert err.count("\n") == 1
    assert list(out.iterdir()) == []
    assert cli.main(command) == 0
    assert sitk.ReadImage(str(out / image.name)).GetSize() == (20, 20, 2)


def test_probabilities_on_a_full_disk(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "a.nii.gz", scan((20, 20, 2), 4, seed=1)[0])
    out = tmp_path / "out"
    command = ["predict", str(tiny_run), str(out), str(image), "--probabilities", "--quiet"]
    with full_disk(2000):  # the array on the disk takes 12800 bytes
        assert cli.main(command) == 2
    check_told(capsys, out / "a_probabilities.nii.gz")
    assert not out.exists()
    assert cli.main(command) == 0


def test_what_a_killed_predict_left_goes(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "a[1].nii.gz", scan((20, 20, 2), 4, seed=1)[0])
    out = tmp_path / "out"
    (out / ".a[1].nii.gz.7.partial").mkdir(parents=True)  # of a format of several files
    (out / ".a[1].nii.gz.7.partial" / "a.mhd").touch()
    (out / ".a[1]_probabilities.nii.gz.scratch.7.partial").touch()
    command = ["predict", str(tiny_run), str(out), str(image), "--probabilities", "--quiet"]
    assert cli.main(command) == 0
    assert [path.name for path in out.glob(".*")] == []


def test_a_lock_on_a_full_disk(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "a.nii.gz", scan((20, 20, 2), 4, seed=1)[0])
    with full_disk(20):
        assert cli.main(["predict", str(tiny_run), str(tmp_path / "out"), str(image)]) == 2
    check_told(capsys, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_lock_that_could_not_be_written_is_none(tmp_path: Path) -> None:
    with full_disk(10), pytest.raises(OSError, match="cell"):
        CellLock(tmp_path, "cell").__enter__()
    with CellLock(tmp_path, "cell"):
        pass


def test_one_file_by_two_names_leaves_no_third(tmp_path: Path) -> None:
    """As after a checkpoint that a full disk kept from being written."""
    last, previous = (checkpoint_path(tmp_path, name) for name in ("last", "previous"))
    for step in range(3):
        if step == 2:
            previous.unlink()
            os.link(last, previous)
        save_checkpoint({"step": step}, last, previous)
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.pt", "previous.pt"]


def test_a_cell_that_has_any_checkpoint_is_kept(tmp_path: Path) -> None:
    """On a file system without links, `last.pt` is `previous.pt` for a moment."""
    checkpoint_path(tmp_path, "previous").parent.mkdir()
    checkpoint_path(tmp_path, "previous").touch()
    for name in (CONFIG_FILE, SPLIT_FILE, LOG_FILE):
        (tmp_path / name).touch()
    clear_unusable(tmp_path)
    assert checkpoint_path(tmp_path, "previous").is_file()


def test_unfinished_files_are_removed_by_their_exact_name(tmp_path: Path) -> None:
    (tmp_path / ".a.nii.gz.1.partial").touch()
    (tmp_path / ".[ab].nii.gz.1.partial").touch()
    remove_unfinished(tmp_path, "[ab].nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == [".a.nii.gz.1.partial"]


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["train", "s", "r"], "repeat the command with --resume"),
        (["train", "s", "r", "--resume"], "repeat the command"),
        (
            ["prepare", "s", "t", "--overwrite"],
            "repeat the command with --resume in place of --overwrite",
        ),
        (["prepare", "s", "t", "--repair"], "repeat the command"),
        (["predict", "r", "o", "i"], "repeat the command with --overwrite"),
        (["evaluate", "r"], "repeat the command"),
    ],
)
def test_a_full_disk_comes_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    advice: str,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a file")

    monkeypatch.setattr(cli, "parse", full)
    assert cli.main(command) == 2
    said = f"diffrect: error: a file: {os.strerror(errno.ENOSPC)}; free some space, then {advice}\n"
    assert capsys.readouterr().err == said
