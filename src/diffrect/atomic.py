"""Write files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Read once, because asking means changing it for a moment, for all threads.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
SUFFIX = ".partial"
_PIECE = 2**20  # bytes


def write_atomic(
    path: Path, content: bytes | str | memoryview, *, sync: bool = True, verify: bool = False
) -> None:
    """Write a file in one step: readers see the old or the new content, also after a crash.

    The unfinished file lies beside it as `.NAME.XXXX.partial`, which nobody else can read.

    Args:
        path: the file to write or replace.
        content: bytes, or text that becomes UTF-8.
        sync: return only when the content survives a power cut.
        verify: read the content back from the disk before the file takes its name.

    Raises:
        OSError: naming `path`, which is left as it was; nothing else is left behind.
    """
    with new_file(path, sync=sync) as file:
        # Names of files that are not UTF-8 are written as the bytes that they are.
        bare = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        file.write(bare)
        if verify:
            _read_back(file, memoryview(bare))


def _read_back(file: BinaryIO, content: memoryview) -> None:
    """Compare what the disk holds of a file with what was written to it.

    Raises:
        OSError: they differ.
    """
    file.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):  # else the system may answer from its memory
        with contextlib.suppress(OSError):  # not every file system takes advice
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    for start in range(0, len(content), _PIECE):
        piece = bytes(content[start : start + _PIECE])
        if file.read(len(piece)) != piece:
            raise OSError(errno.EIO, "the disk does not hold what was written")


@contextlib.contextmanager
def new_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write piece by piece; it takes its name when the block ends.

    Args:
        path: the file to write or replace, see `write_atomic`.
        sync: leave the block only when the content survives a power cut.

    Raises:
        OSError: naming `path`, which is left as it was; nothing else is left behind.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        with naming(path):
            with private_file(partial) as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            partial.chmod(0o666 & ~_UMASK)
            partial.replace(path)
            if sync:
                sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def private_file(path: Path) -> BinaryIO:
    """Create a file that nobody else can read, open for reading and writing.

    Raises:
        FileExistsError: something of that name is there; symbolic links are not followed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "w+b")


def reserve(file: BinaryIO, size: int) -> None:
    """Reserve disk space for a file that will be written through a memory map.

    A process that writes to a memory map of a full disk is killed, so the space is needed first.

    Args:
        file: an empty file, open for writing.
        size: bytes to reserve.

    Raises:
        OSError: there is not enough space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    piece = bytes(_PIECE)
    for start in range(0, size, len(piece)):
        file.write(piece[: size - start])
    file.flush()


def sync_file(path: Path) -> None:
    """Make a file that other code wrote survive a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the system supports it."""
    with contextlib.suppress(OSError):  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make errors of the system, such as a full disk, name the file they are about."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None


def remove_unfinished(folder: Path, *names: str) -> None:
    """Remove the unfinished files that a killed writer of these names left in a folder.

    Only safe where no other process is writing the same files.
    """
    for name in names:
        for path in folder.glob(f".{glob.escape(name)}.*{SUFFIX}"):
            if path.is_dir() and not path.is_symlink():  # of a format of several files
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
