"""A lock per cell, so that no two processes train one, on one machine or on several.

A lock is a file that its owner creates, touches every 20 seconds while it works, and removes. It is
left over if its owner is dead on the same machine or, seen from another machine, has not touched
the file for `STALE_SECONDS`; then the next process takes it over.
"""

import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from diffrect.atomic import naming
from diffrect.comparison.names import LOCKS_FOLDER
from diffrect.distributed.signals import stop_self
from diffrect.json_files import parse_json

BEAT_SECONDS = 20.0
STALE_SECONDS = 900.0


class LockedError(Exception):
    """Another process holds the lock; the message says which."""


class LockText(NamedTuple):
    """The text of a lock file, and the seconds since its owner touched it."""

    text: str
    age: float


class CellLock:
    """Hold the lock of a cell while the context lasts.

    A process that finds its lock lost (it was halted for so long that another machine took over)
    asks itself to stop, as SIGTERM does.
    """

    def __init__(self, folder: Path, cell: str) -> None:
        self.path = folder / LOCKS_FOLDER / f"{cell}.json"
        self.text = json.dumps(describe_process(os.getpid()))
        self.stopped = threading.Event()

    def __enter__(self) -> "CellLock":
        """Take the lock.

        Raises:
            LockedError: another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._create():
            found = read_lock(self.path)
            if found is None:  # gone in the meantime
                continue
            if not is_stale(found.text, found.age + self._clock_difference()):
                raise LockedError(_describe_owner(found.text, self.path))
            self._put_aside(found.text)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        if self._is_mine():
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        """Make the lock file; return whether it was not there yet."""
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            with naming(self.path), os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.text)
        except OSError:  # a full disk: an empty lock would be taken for another process's
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _is_mine(self) -> bool:
        found = read_lock(self.path)
        return found is not None and found.text == self.text

    def _clock_difference(self) -> float:
        """Return how many seconds the file system's clock, which dates locks, is ahead of ours."""
        probe = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.clock")
        try:
            probe.touch()
            return probe.stat().st_mtime - time.time()
        finally:
            probe.unlink(missing_ok=True)

    def _put_aside(self, stale: str) -> None:
        """Remove a lock that is left over, unless another process was faster and locked anew."""
        aside = self.path.with_name(f".{self.path.name}.{socket.gethostname()}.{os.getpid()}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        if aside.read_text("utf-8", "replace") != stale and not self.path.exists():
            aside.rename(self.path)  # give the new lock back
        aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Touch the file again and again; stop this process if the lock is another's."""
        while not self.stopped.wait(BEAT_SECONDS):
            mine = self._is_mine()
            if self.stopped.is_set():
                return
            if not mine:
                stop_self()
                return
            os.utime(self.path)


def read_lock(path: Path) -> LockText | None:
    """Return the text and the age of a lock file, by our clock; None if there is none."""
    try:
        age = time.time() - path.stat().st_mtime
        return LockText(path.read_text("utf-8", "replace") if path.is_file() else "", age)
    except FileNotFoundError:
        return None


def is_stale(text: str, age: float) -> bool:
    """Return whether a lock of `age` seconds that says `text` is left over from a dead process."""
    try:
        owner = parse_json(text)
        here = describe_process(int(owner["pid"]))
    except (ValueError, KeyError, TypeError, OverflowError):  # being written just now, or damaged
        return age > STALE_SECONDS
    if owner.get("host") == here["host"]:
        return bool(owner.get("started") != here["started"])
    return age > STALE_SECONDS


def describe_process(pid: int) -> dict[str, object]:
    """Return machine, id and start of a process; "started" is None if it is dead.

    The start distinguishes a process from a later one with the same id. The machine's name includes
    the process namespace, because ids mean nothing between containers.
    """
    host = socket.gethostname()
    try:
        host += f" {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (not a path to anything)
    except OSError:
        return {"host": host, "pid": pid, "started": "running" if _is_running(pid) else None}
    try:
        # After the name in brackets come the state, then 18 fields, then the start in ticks since
        # boot.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return {"host": host, "pid": pid, "started": None}
    return {"host": host, "pid": pid, "started": None if fields[0] in "ZX" else fields[19]}


def _is_running(pid: int) -> bool:
    """Return whether a process runs, on systems without /proc; always True on Windows."""
    if os.name == "nt":  # os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def lock_owner(folder: Path, cell: str) -> str | None:
    """Return which process works on a cell at present, or None."""
    path = folder / LOCKS_FOLDER / f"{cell}.json"
    found = read_lock(path)
    return None if found is None or is_stale(*found) else _describe_owner(found.text, path)


def _describe_owner(text: str, path: Path) -> str:
    try:
        owner = parse_json(text)
        return f"taken by process {owner['pid']} on {str(owner['host']).split()[0]} ({path})"
    except (ValueError, KeyError, TypeError, IndexError):
        return f"taken by another process ({path})"
