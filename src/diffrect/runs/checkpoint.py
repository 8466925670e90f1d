"""Checkpoints: written atomically, read without unpickling code, and only as they were written.

A checkpoint is one dict of tensors and plain values: all of a training, see
`runs.resume.TrainingState`, or what predicts, see `runs.model_state.ModelState`. Its file is a zip
archive with a checksum of each entry; torch writes the checksums but never reads them, so they are
compared here.
"""

import contextlib
import io
import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from diffrect.atomic import naming, write_atomic
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.runs.names import CHECKPOINTS_FOLDER, checkpoint_file

FORMAT_VERSION = 2  # 1: every checkpoint was that of a training
_READABLE = (FORMAT_VERSION, 1)
# These are what torch.load raises for files that are foreign or hostile.
_FOREIGN = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)
REQUIRED = {"format", "step", "config", "task"}  # and the weights of a model or of a method


class DamagedCheckpointError(InputError):
    """Report a checkpoint that is cut short or has changed since it was written."""


def checkpoint_path(run: Path, name: str) -> Path:
    """Return the path of a checkpoint of a run, called "last", "previous" or "best"."""
    return run / CHECKPOINTS_FOLDER / checkpoint_file(name)


def save_checkpoint(state: dict[str, Any], path: Path, before: Path | None = None) -> None:
    """Write `state` so that `path` holds either the old content or all of the new content.

    The new content is read back from the disk before it takes the place of the old one, which is
    kept as `before` if that is given.
    """
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT_VERSION, **state}, buffer)
    if before is not None and path.exists():
        _keep(path, before)
    write_atomic(path, buffer.getbuffer(), verify=True)


def _keep(path: Path, before: Path) -> None:
    """Give a file a second name, under which it outlives its replacement."""
    link = before.with_name(f".{before.name}.link.partial")
    link.unlink(missing_ok=True)
    with naming(before):
        try:
            os.link(path, link)
        except OSError:  # a file system without links
            path.replace(before)
            return
        try:
            link.replace(before)
        finally:  # it is still there if both were one file already, or `before` is a folder
            link.unlink(missing_ok=True)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the dict written by `save_checkpoint`, its tensors on `device`.

    Raises:
        InputError: no such file, not a checkpoint of this package, or of another format version.
        DamagedCheckpointError: the content is not what was written.
    """
    if not path.is_file():
        raise InputError(path, "a checkpoint", found="no such file")
    try:
        content = path.read_bytes()
    except MemoryError:
        raise InputError(path, "a checkpoint", found="more bytes than there is memory") from None
    _check_archive(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anything strange is refused below, in one line
            state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except _FOREIGN as error:
        raise _foreign(path, str(error)) from None
    complete = isinstance(state, dict) and state.keys() >= REQUIRED
    if not complete or not state.keys() & {"method", "predictor"}:
        raise InputError(path, problem="expected a diffrect checkpoint, it lacks its entries")
    if state["format"] not in _READABLE:
        raise InputError(
            path,
            f"checkpoint format {' or '.join(map(str, _READABLE))}",
            got=state["format"],
            hint="read it with the version of diffrect that wrote it, or a later one",
        )
    fields = Fields(state, path)
    fields.whole("step", 0)
    for name in ("config", "task", "method", "predictor"):
        if name in state:
            fields.fields(name)
    return dict(state)


def _check_archive(path: Path, content: bytes) -> None:
    """Compare every entry of the file with its checksum."""
    # A pickle without an archive around it is not ours, and may be code.
    if content[:1] == b"\x80":
        raise _foreign(path, "a bare pickle")
    broken: str | None = "the archive"
    # Changed bytes make the reader stumble in more ways than it documents.
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(content)) as archive:
        # torch compresses nothing; a small file that would unfold to a large one is not unfolded.
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.filelist)
        honest = sum(entry.file_size for entry in archive.filelist) <= len(content)
        broken = archive.testzip() if stored and honest else "an entry"
    if broken is not None:
        raise DamagedCheckpointError(
            path,
            problem="expected a checkpoint as it was written, the file is damaged",
            reason="cut short, changed since, or something else",
        )


def _foreign(path: Path, reason: str) -> InputError:
    """Return the error for a file that holds more than tensors and plain values."""
    named = re.search(r"GLOBAL (\S+)", reason)
    what = f"the function {named[1]}" if named else "something else"
    if reason == "a bare pickle":
        what = reason
    return InputError(
        path,
        problem=f"expected a checkpoint of tensors and plain values, it holds {what}, which could "
        "run code and was not loaded",
    )
