"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

# Read once: asking means changing it for a moment, for all threads.
_UMASK = os.umask(0o077)
os.umask(_UMASK)
SUFFIX = ".partial"


def write_atomic(path: Path, content: bytes | str | memoryview, *, sync: bool = True) -> None:
    """Writes a file in one step: readers, and whoever comes after a crash, see the old or the new.

    The unfinished file lies beside it as `.NAME.XXXX.partial`, readable by nobody else. With
    `sync` the content also survives a power cut once this returns.

    Raises:
        OSError: naming `path`, which is left as it was; nothing else is left behind.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        with naming(path):
            # Exclusive, so that no link laid in the way is followed.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
                file.write(data)
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


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system, such as a full disk, say which file it was about."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None


def remove_unfinished(folder: Path, *names: str) -> None:
    """Removes what a killed writer of these files left; for the only writer they have."""
    for name in names:
        for file in folder.glob(f".{name}.*{SUFFIX}"):
            file.unlink(missing_ok=True)
