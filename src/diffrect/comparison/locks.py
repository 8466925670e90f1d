"""A lock per cell, so that no two processes train one, on one machine or on several.

A lock is a file that its process creates, keeps young while it works, and removes. It is left over
where its process is dead on the same machine, or, seen from another machine, has not touched it
for `STALE_SECONDS`; then the next process takes it over.
"""

import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from diffrect.atomic import naming
from diffrect.distributed.signals import stop_self

LOCKS_FOLDER = ".locks"
BEAT_SECONDS = 20.0
STALE_SECONDS = 900.0


class LockedError(Exception):
    """The lock is another process's; the message says whose."""


class CellLock:
    """Holds the lock of a cell while the context lasts.

    A process that finds its lock lost (it was halted for so long that another machine took over)
    asks itself to stop, as SIGTERM does.
    """

    def __init__(self, folder: Path, cell: str) -> None:
        self.path = folder / LOCKS_FOLDER / f"{cell}.json"
        self.text = json.dumps(describe_process(os.getpid()))
        self.stopped = threading.Event()

    def __enter__(self) -> "CellLock":
        """Takes the lock.

        Raises:
            LockedError: another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._create():
            owner = self._owner()
            if owner is None:  # gone in the meantime
                continue
            if not is_stale(owner[0], owner[1] + self._clock_difference()):
                raise LockedError(_whose(owner[0], self.path))
            self._put_aside(owner[0])
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        owner = self._owner()
        if owner is not None and owner[0] == self.text:
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
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

    def _owner(self) -> tuple[str, float] | None:
        """What the lock file says and its age in seconds; None if there is no such file."""
        try:
            age = time.time() - self.path.stat().st_mtime
            return self.path.read_text("utf-8", "replace"), age
        except FileNotFoundError:
            return None

    def _clock_difference(self) -> float:
        """Seconds by which the file system's clock, by which locks are dated, is ahead of ours."""
        probe = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.clock")
        try:
            probe.touch()
            return probe.stat().st_mtime - time.time()
        finally:
            probe.unlink(missing_ok=True)

    def _put_aside(self, stale: str) -> None:
        """Removes a lock that is left over, unless another process was faster and locked anew."""
        aside = self.path.with_name(f".{self.path.name}.{socket.gethostname()}.{os.getpid()}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        if aside.read_text("utf-8", "replace") != stale and not self.path.exists():
            aside.rename(self.path)  # give the new lock back
        aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self.stopped.wait(BEAT_SECONDS):
            owner = self._owner()
            if self.stopped.is_set():
                return
            if owner is None or owner[0] != self.text:
                stop_self()
                return
            os.utime(self.path)


def is_stale(text: str, age: float) -> bool:
    """Whether a lock of `age` seconds that says `text` is left over from a dead process."""
    try:
        owner = json.loads(text)
        here = describe_process(owner["pid"])
    except (ValueError, KeyError, TypeError):  # being written just now, or damaged
        return age > STALE_SECONDS
    if owner.get("host") == here["host"]:
        return owner.get("started") != here["started"]
    return age > STALE_SECONDS


def describe_process(pid: int) -> dict[str, object]:
    """Machine, id and start of a process; "started" is None of a dead one.

    The start tells a process from a later one of the same id, the machine's name includes the
    process namespace: ids mean nothing between containers.
    """
    host = socket.gethostname()
    try:
        host += f" {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (not a path to anything)
    except OSError:
        return {"host": host, "pid": pid, "started": "running" if _is_running(pid) else None}
    try:
        # after the name in brackets: state, then 18 fields to the start, in ticks since boot
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return {"host": host, "pid": pid, "started": None}
    return {"host": host, "pid": pid, "started": None if fields[0] in "ZX" else fields[19]}


def _is_running(pid: int) -> bool:
    """On systems without /proc; where it cannot be asked (Windows), a process counts as running."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def lock_owner(folder: Path, cell: str) -> str | None:
    """Who works on a cell at present, None if nobody does."""
    lock = CellLock(folder, cell)
    owner = lock._owner()
    return None if owner is None or is_stale(*owner) else _whose(owner[0], lock.path)


def _whose(text: str, path: Path) -> str:
    try:
        owner = json.loads(text)
        return f"taken by process {owner['pid']} on {str(owner['host']).split()[0]} ({path})"
    except (ValueError, KeyError, TypeError, IndexError):
        return f"taken by another process ({path})"
