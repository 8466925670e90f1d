"""Named pipes, devices and the like are refused in a line before they are opened."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from diffrect.checks import regular_file
from diffrect.data.sources import SOURCES
from diffrect.data.sources.class_names import read_class_names
from diffrect.data.sources.dataset_json import read_json as read_dataset
from diffrect.data.sources.ssl4mis import Ssl4misCase
from diffrect.data.sources.table import read_table
from diffrect.data.splits.split_file import read_split
from diffrect.errors import InputError
from diffrect.imaging.kinds import SUFFIXES
from diffrect.imaging.read import read_image, read_label
from diffrect.json_files import read_json

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
READERS: dict[str, Callable[[Path], object]] = {
    **{f"scan{suffix}": read_image for suffix in SUFFIXES},
    "label.nii.gz": read_label,
    "case.h5": lambda file: Ssl4misCase("a", "a", (file,)).load(),
    "cases.csv": lambda file: read_table(file, None, pytest.fail),
    "classes.yaml": read_class_names,
    "dataset.json": read_dataset,
    "case.json": read_json,
    "split.json": lambda file: read_split(file, {}),
}


@needs_pipes
@pytest.mark.parametrize("name", READERS)
def test_no_named_pipe_is_opened(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    os.mkfifo(file)
    with pytest.raises(InputError, match=f"{name}: expected .*, found a named pipe$"):
        READERS[name](file)


@needs_pipes
def test_no_named_pipe_of_a_data_set_is_opened(tmp_path: Path) -> None:
    (tmp_path / "patient001").mkdir()
    os.mkfifo(tmp_path / "patient001" / "Info.cfg")
    with pytest.raises(InputError, match=r"Info.cfg: expected .*, found a named pipe$"):
        SOURCES["acdc"].list(tmp_path)


def test_what_is_no_file_is_called_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    regular_file(tmp_path / "link", "a file")
    for name, fault in (
        ("none", ", found no such file"),
        ("file/below", ", found no such file"),
        (".", ", found a folder"),
        (os.devnull, ", found a device"),
        ("loop", ": Too many levels of symbolic links"),
        ("a\0b", ": embedded null byte"),
    ):
        with pytest.raises(InputError) as caught:
            regular_file(tmp_path / name, "a file")
        shown = str(tmp_path / name).replace("\0", r"\x00")
        assert str(caught.value) == f"{shown}: expected a file{fault}"
