"""Runs commands in a fork, with limits, and says what is wrong with how they ended.

`attack.py` has imported everything, so a fork costs milliseconds where a start costs seconds. The
fork has a session of its own, no terminal, little memory, and a folder beside it that nothing may
touch.
"""

import contextlib
import ctypes
import ctypes.util
import hashlib
import os
import re
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from diffrect.cli import main as cli
from diffrect.console import visible

PATIENCE = 20.0
"""Seconds that a command may take before it gets SIGTERM."""
GRACE = 5.0
"""Seconds in which SIGTERM must end any command, on a machine with nothing else to do."""
LAST_SECONDS = 3.0
"""Seconds in which its processes must have followed a command."""
MEMORY = 5 * 2**30
"""Bytes of address space that a command may take beside what torch has mapped already."""
STOPPED = (130, -signal.SIGTERM)
"""Exit codes after SIGTERM; the second before the command has begun."""
DIED = -1000
_TOUCHED = 0x001 | 0x002 | 0x004 | 0x020 | 0x040 | 0x080 | 0x100 | 0x200  # of inotify.h
_LARGEST = 2**28  # bytes of a file that is worth a checksum


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        code: its exit code, negative if a signal ended it.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
        signalled: whether it was sent SIGTERM.
        faults: what no command may do, whatever it was given.
    """

    code: int
    out: str
    err: str
    signalled: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """One of "right", "refused", "stopped" and "WRONG"."""
        if self.faults:
            return "WRONG"
        if self.code in STOPPED:
            return "stopped"
        return "refused" if self.code else "right"


def run_command(command: Callable[[], Any]) -> int:
    """Run a command that is parsed already as `diffrect` does, and return the exit code."""
    before = cli.parse
    cli.parse = lambda arguments: command  # type: ignore[assignment, return-value]
    try:
        return cli.main(["parsed"])
    finally:
        cli.parse = before


class Sandbox:
    """A folder to run commands in, and one beside it that they must leave alone.

    Args:
        folder: an empty folder.
        memory: bytes of address space, see `MEMORY`.
    """

    def __init__(self, folder: Path, memory: int = MEMORY) -> None:
        self.folder, self.memory = folder, memory
        self.outside = folder / "outside"
        self.outside.mkdir(parents=True)
        for name in ("secret.raw", "secret.txt", "secret.h5", "secret.dcm", "secret.nii"):
            (self.outside / name).write_bytes(b"secret" * 1000)
        self.watched = _Watch(self.outside)

    def run(
        self,
        place: Path,
        work: Callable[[], int],
        patience: float = PATIENCE,
        *,
        stop: bool = False,
    ) -> Outcome:
        """Run one command in a process of its own, see `run_each`.

        Args:
            place: folder to work in.
            work: the command.
            patience: seconds before SIGTERM.
            stop: whether SIGTERM is meant, so that it may come before the command begins.
        """
        (outcome,) = self.run_each([(place, work)], patience)
        if stop and outcome.code == -signal.SIGTERM:
            outcome.faults = []
        return outcome

    def run_each(
        self, jobs: Sequence[tuple[Path, Callable[[], int]]], patience: float = PATIENCE
    ) -> Iterator[Outcome]:
        """Run commands one after another in one process, and in a new one when it ends.

        Args:
            jobs: folder to work in, and what returns an exit code there; an exception becomes a
                traceback and code 1.
            patience: seconds that each may take before SIGTERM.
        """
        done = 0
        while done < len(jobs):
            here, there = Pipe()
            child = os.fork()
            if child == 0:
                here.close()
                self._serve(there, jobs[done:])
            there.close()
            alive = True
            while alive and done < len(jobs):
                outcome = self._ask(child, here, jobs[done][0], patience)
                done += 1
                alive = outcome.code >= 0
                if not alive or done == len(jobs):
                    here.close()
                    outcome.faults += _end_group(child, outcome.faults != [])
                    outcome.faults = outcome.faults or faults_of(outcome)
                yield outcome

    def _ask(self, child: int, pipe: Connection, place: Path, patience: float) -> Outcome:
        """Let the process run its next command, and say how that ended."""
        files = place / ".stdout", place / ".stderr"
        for file in files:
            file.touch()
        self.watched.events()
        pipe.send(True)
        code, signalled, faults = _answer(pipe, patience), False, []
        if code is None:
            signalled = True
            os.kill(child, signal.SIGTERM)
            code = _answer(pipe, GRACE * crowding())
        if code is None:
            faults.append(f"SIGTERM does not end it within {GRACE:g} s")
            os.killpg(child, signal.SIGKILL)
        if code is None or code == DIED:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or -signal.SIGKILL
        out, err = (file.read_bytes().decode("utf-8", "replace") for file in files)
        for file in files:
            file.unlink()
        outcome = Outcome(code, out, err, signalled, faults)
        outcome.faults += [f"touched outside/{name}" for name in self.watched.events()]
        outcome.faults = outcome.faults or (faults_of(outcome) if code >= 0 else [])
        return outcome

    def _serve(self, pipe: Connection, jobs: Sequence[tuple[Path, Callable[[], int]]]) -> None:
        """Be the process: run each job when asked to, answer with its exit code, never return."""
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = open(  # noqa: SIM115
                2, "w", encoding="utf-8", errors="backslashreplace", closefd=False
            )
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            space = _mapped() + self.memory
            resource.setrlimit(resource.RLIMIT_AS, (space, space))
            for place, work in jobs:
                pipe.recv()
                pipe.send(_run_in(place, work))
            pipe.recv()  # ends when the other side has looked at everything
        finally:
            os._exit(0)


def _run_in(place: Path, work: Callable[[], int]) -> int:
    """Run a command with a folder as working folder and with its two files as terminal."""
    code = 1
    try:
        os.chdir(place)
        for number, name in ((1, ".stdout"), (2, ".stderr")):
            file = os.open(name, os.O_WRONLY | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        code = work()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os.chdir("/")
    return code & 0xFF


def crowding() -> float:
    """Return how many processes share a processor; seconds are longer on a crowded machine."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _answer(pipe: Connection, seconds: float) -> int | None:
    """Return the exit code that a process answers, `DIED` if it has ended, None if it is late."""
    try:
        return int(pipe.recv()) if pipe.poll(seconds) else None
    except (EOFError, OSError):
        return DIED


# How inspect lists what is wrong with data, as text and with --json.
PROBLEMS = re.compile(r'^problems: [1-9]|"problems": \[\s*["{]', re.MULTILINE)


def faults_of(outcome: Outcome) -> list[str]:
    """Return what is wrong with an exit code and with what was printed."""
    found = []
    lines = outcome.err.splitlines()
    if "Traceback (most recent call last)" in outcome.err:
        last = next(line for line in reversed(lines) if line.strip())
        found.append(f"traceback: {last[:200]}")
    elif outcome.code == 1 and PROBLEMS.search(outcome.out):
        pass  # inspect lists what is wrong as its result
    elif outcome.code in (1, 2):
        found += _faults_of_lines(lines)
    elif outcome.code and not (outcome.signalled and outcome.code in STOPPED):
        found.append(f"exit code {outcome.code}")
    raw = {c for c in outcome.out + outcome.err if c != "\n" and visible(c) != c}
    return found + ([f"raw characters: {sorted(raw)!r}"] if raw else [])


def _faults_of_lines(lines: list[str]) -> list[str]:
    """Return what is wrong with the lines that a refused command has printed."""
    errors = [line for line in lines if line.startswith("diffrect: error: ")]
    if not errors:
        return ["refused without an error line"]
    found = [f"a line that is no error: {line[:200]}" for line in lines if line not in errors]
    found += [f"a line that says nothing: {line}" for line in errors if len(line) < 25]
    return found + [f"a line of {len(line)} characters" for line in errors if len(line) > 10_000]


def contents(folder: Path) -> dict[str, str]:
    """Return what lies in a folder: names with checksums, or with what else they are."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"  # noqa: PTH115
        elif path.is_file() and path.stat().st_size > _LARGEST:
            found[name] = f"{path.stat().st_size} bytes"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found


def _end_group(leader: int, killed: bool) -> list[str]:
    """End what the process has started and left; return a fault if there is anything."""
    deadline = time.monotonic() + (0 if killed else LAST_SECONDS * crowding())
    while True:
        left = _session(leader)
        if not left:
            return []
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return [] if killed else [f"left {len(left)} of its processes behind"]


def _session(leader: int) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(state[3]) == leader and state[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def _mapped() -> int:
    """Return the bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


class _Watch:
    """Notices whoever opens, reads or changes what is in a folder, C libraries too."""

    def __init__(self, folder: Path) -> None:
        library = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        self.descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        added = library.inotify_add_watch(self.descriptor, os.fsencode(folder), _TOUCHED)
        if self.descriptor < 0 or added < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(folder))

    def events(self) -> list[str]:
        """Return the names of the files that were touched since the last call."""
        names = set()
        while select.select([self.descriptor], [], [], 0)[0]:
            names |= set(_names(os.read(self.descriptor, 2**16)))
        return sorted(names)


def _names(events: bytes) -> Iterator[str]:
    """Yield the names in a buffer of inotify's events: 16 bytes each, then the name's length."""
    at = 0
    while at < len(events):
        size = int.from_bytes(events[at + 12 : at + 16], sys.byteorder)
        name = os.fsdecode(events[at + 16 : at + 16 + size].rstrip(b"\0"))
        if name:  # without one it is the folder itself, which may be listed
            yield name
        at += 16 + size
