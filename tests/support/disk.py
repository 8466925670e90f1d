"""Disks that are full, and what lies on them."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder with its bytes, case.json's source paths aside."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """The system refuses to let files grow beyond some bytes, in the middle of writing them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def without_lock(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Have a command take no lock, which is larger than the files that a test has no room for."""
    monkeypatch.setattr(f"diffrect.{command}.sole_command", lambda *_: nullcontext())


def check_told(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    err = capsys.readouterr().err
    assert err == f"diffrect: error: {path}: {os.strerror(errno.EFBIG)}\n"
