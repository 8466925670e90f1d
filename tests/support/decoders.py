"""Decoders that crash, hang or ask for much, for tests of the process in which decoders run."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np

from diffrect.imaging.decoders import limits


def end_by_signal(number: int) -> None:
    os.kill(os.getpid(), number)


def end_with_code(code: int) -> None:
    os._exit(code)


def hang_in_c(seconds: int) -> None:
    """Hold Python's lock for that long, so that nothing written in Python runs beside it."""
    ctypes.PyDLL(None).sleep(seconds)


def sleep_until(file: Path) -> None:
    """Say that the decoder has begun by making a file, and hang."""
    file.write_text(str(os.getpid()))
    hang_in_c(60)


def allocate(size: int) -> int:
    return len(bytes(size))


def announce_and_allocate(size: int) -> int:
    limits.announce(size)
    return allocate(size)


def fault_of_the_program() -> None:
    raise AttributeError("no such thing")


def echo(array: np.ndarray) -> np.ndarray:
    return array


def who() -> int:
    return os.getpid()


def environment() -> tuple[str, str]:
    return str(Path.cwd()), time.tzname[0]


def gone(pid: int, seconds: float = 5) -> bool:
    """Return whether a process ends within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
