"""One writer at a time: a lock file for each folder, or file, that a command writes.

A lock is a file that its owner creates, touches every 10 seconds while it works, and removes. It
names the process. It is left over

- if the process is dead, seen from the same machine;
- if an earlier start of the same SLURM job made it, which has been requeued;
- if it was not touched for `owners.STALE_SECONDS`, seen from anywhere else, a container included.

Then the next process takes it over. File systems that create a file for exactly one of several
processes, as local ones and NFS from version 3 on do, give a lock to exactly one.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from diffrect.atomic import SUFFIX, naming, remove_unfinished
from diffrect.checks import folder_to_make
from diffrect.console import one_line, tell
from diffrect.distributed.owners import (
    describe_owner,
    describe_process,
    describe_work,
    is_here,
    is_stale,
)
from diffrect.distributed.ranks import is_first
from diffrect.distributed.signals import stop_self
from diffrect.errors import InputError

LOCK_FILE = ".diffrect.lock"
BEAT_SECONDS = 10.0
LOOK_SECONDS = 0.5
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class LockedError(InputError):
    """Report that another process writes the folder.

    Args:
        subject: the folder or file.
        owner: the process, in words.
    """

    def __init__(self, subject: object, owner: str) -> None:
        super().__init__(subject, problem=f"is being written by {owner}")
        self.owner = owner


class LostLockError(InputError):
    """Report that this process is no longer the one that may write the folder."""


class LockText(NamedTuple):
    """The text of a lock file, and when its owner touched it, in seconds since 1970."""

    text: str
    touched: float


class Lock:
    """Hold a lock file while the context lasts.

    A process that finds its lock lost (its folder was removed, or the process was halted for so
    long that another machine took over) asks itself to stop, as SIGTERM does, and ends with
    `LostLockError`.

    Args:
        path: the lock file.
        subject: the folder or file that it guards.
        patience: whether to wait for a sign of life of an owner on another machine.
    """

    removes_folders = True
    """Whether folders that were made for the lock go again if nothing else came into them."""

    def __init__(self, path: Path, subject: Path, *, patience: bool = False) -> None:
        self.path, self.subject, self.patience = path, subject, patience
        self.text = json.dumps({**describe_process(os.getpid()), **describe_work()})
        self.made: list[Path] = []
        self.lost = False
        self.stopped = threading.Event()
        self.moving = threading.Lock()

    def __enter__(self) -> "Lock":
        """Take the lock; a folder that does not exist yet is made.

        Raises:
            LockedError: another process holds it.
        """
        self._make_folder()
        try:
            while not self._create():
                stale = refuse_taken(self.path, self.subject, patience=self.patience)
                if stale is not None:
                    self._put_aside(stale)
        except BaseException:
            self._remove_folders()
            raise
        remove_unfinished(self.path.parent, self.path.name.removeprefix("."))
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        # A stop that this process asked of itself, and files that went with their folder.
        stopped = self.lost and isinstance(error, KeyboardInterrupt)
        if stopped or isinstance(error, FileNotFoundError):
            self.check()
        if self.is_mine():
            self.path.unlink(missing_ok=True)
        self._remove_folders()

    def move_folder(self, target: Path) -> None:
        """Move the folder of the lock away, and lock a new one in its place.

        Raises:
            LockedError: another process was faster.
        """
        with self.moving:
            folder = self.path.parent
            folder.replace(target)
            self._make_folder()
            if not self._create():
                found = read_lock(self.path)
                raise LockedError(self.subject, describe_owner(found.text if found else ""))
            (target / self.path.name).unlink(missing_ok=True)

    def is_mine(self) -> bool:
        """Return whether this process still holds the lock."""
        found = read_lock(self.path)
        return found is not None and found.text == self.text

    def check(self) -> None:
        """Refuse to continue without the lock.

        Raises:
            LostLockError: this process does not hold it any more.
        """
        found = read_lock(self.path)
        if found is not None and found.text == self.text:
            return
        subject, while_at_work = self.subject, "was removed while the command was at work"
        if found is not None:
            problem = f"was taken over by {describe_owner(found.text)}"
        elif self.path.parent.is_dir():
            problem = f"its lock {self.path.name} {while_at_work}"
        else:
            subject, problem = self.path.parent, while_at_work
        raise LostLockError(subject, problem=problem) from None

    def _make_folder(self) -> None:
        folder = self.path.parent
        folder_to_make(folder)
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if self.removes_folders:
            self.made = missing or self.made

    def _remove_folders(self) -> None:
        """Remove the folders that were made for the lock, if nothing came into them."""
        with contextlib.suppress(OSError):
            for folder in self.made:
                folder.rmdir()

    def _create(self) -> bool:
        """Make the lock file; return whether it was not there yet."""
        try:
            with naming(self.subject):
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except FileNotFoundError:  # another process has just removed the folder
            self._make_folder()
            return False
        try:
            with naming(self.subject), os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.text)
        except OSError:  # a full disk: an empty lock would be taken for another process's
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _put_aside(self, stale: str) -> None:
        """Remove a lock that is left over, unless another process was faster and locked anew.

        Who removes a lock file holds the file's own advisory lock, so the new one of a faster
        process is never removed, not even for a moment in which a third could take it.
        """
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            with contextlib.suppress(OSError):  # a file system that knows no such locks
                fcntl.flock(file, fcntl.LOCK_EX)
            same = os.path.samestat(os.fstat(file.fileno()), self.path.stat())
            if same and file.read().decode("utf-8", "replace") == stale:
                self.path.unlink()

    def _beat(self) -> None:
        """Touch the file again and again; stop this process if the lock is lost."""
        while not self.stopped.wait(BEAT_SECONDS):
            with self.moving, contextlib.suppress(OSError):  # a disk may fail for a while
                mine = self.is_mine()
                if self.stopped.is_set():
                    return
                if not mine:
                    self.lost = True
                    if callable(signal.getsignal(signal.SIGTERM)):  # else it would kill
                        stop_self()
                    return
                os.utime(self.path)


@contextmanager
def sole_writer(folder: Path, check: Callable[[], object] | None = None) -> Iterator[Lock]:
    """Be the only process that writes a folder while the context lasts.

    Args:
        folder: the folder; it is made if it does not exist, and removed again if it stays empty.
        check: raises InputError if the folder is not one to write to. It is called before anything
            is touched; the caller looks again once it holds the lock.

    Raises:
        LockedError: another command writes it.
        LostLockError: the folder was removed, or taken over by another machine, meanwhile.
    """
    lock = Lock(folder / LOCK_FILE, folder, patience=True)
    refuse_taken(lock.path, folder, patience=True)
    if check is not None:
        check()
    with lock:
        yield lock


@contextmanager
def sole_command(folder: Path, check: Callable[[], object] | None = None) -> Iterator[Lock | None]:
    """Be the only command that writes a folder, as `sole_writer` for several processes.

    The first process of the command holds the lock for all; the others get None.
    """
    if is_first():
        with sole_writer(folder, check) as lock:
            yield lock
        return
    if check is not None:
        check()
    yield None


def sole_writer_of_file(file: Path) -> Lock:
    """Return the lock of one file; the other files of its folder are free."""
    return Lock(file.with_name(f".{file.name}.lock"), file, patience=True)


def refuse_taken(path: Path, subject: Path, *, patience: bool = False) -> str | None:
    """Return the text of a lock file that is left over, None if there is no lock file.

    Args:
        path: the lock file.
        subject: the folder or file that it guards.
        patience: whether to wait for a sign of life of an owner on another machine, which may be
            dead. Without it, such an owner is alive until `owners.STALE_SECONDS` are over.

    Raises:
        LockedError: another process holds it.
    """
    first = None
    while (found := read_lock(path)) is not None:
        here, owner = is_here(found.text), describe_owner(found.text)
        if is_stale(found.text, 0 if here else _file_system_time(path) - found.touched):
            return found.text
        if here or not patience or found != (first or found):
            raise LockedError(subject, owner)
        if first is None:
            tell(f"{one_line(str(subject))}: waits for a sign of life of {owner}")
        first = found
        time.sleep(LOOK_SECONDS)
    return None


def read_lock(path: Path) -> LockText | None:
    """Return what a lock file says; None if there is none. One that cannot be read says nothing."""
    try:
        if not path.is_file() and path.exists():  # a pipe may never end
            return LockText("", path.stat().st_mtime)
        with path.open("rb") as file:  # opening it makes NFS ask the server anew
            touched = os.fstat(file.fileno()).st_mtime
            return LockText(file.read().decode("utf-8", "replace"), touched)
    except PermissionError:
        return LockText("", path.stat().st_mtime) if os.path.lexists(path) else None
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return None


def _beside(path: Path) -> Path:
    """Return a new name beside a lock, which the next owner removes if a kill leaves it."""
    return path.with_name(f".{path.name.removeprefix('.')}.{secrets.token_hex(4)}{SUFFIX}")


def _file_system_time(path: Path) -> float:
    """Return the time of the clock that dates locks, which another machine may keep."""
    probe = _beside(path)
    try:
        with probe.open("xb") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # nothing can be written; taking the lock will say so
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
