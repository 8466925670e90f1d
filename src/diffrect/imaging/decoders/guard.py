"""Run a decoder in another process, which lasts for many files; a crash costs one file only.

Each process that reads files has one such process for each of its threads that read at a time,
started when the first file of a foreign format comes.
"""

import atexit
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from diffrect.errors import InputError
from diffrect.imaging.decode import decoding
from diffrect.imaging.decoders.limits import seconds_for, size_of

Result = TypeVar("Result")

_SEPARATE = os.name == "posix"
_START_SECONDS = 300.0
_TICK = 1.0
_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from diffrect.imaging.decoders.worker import main; main(int(sys.argv[1]))"
)
# A decoder is one of several processes already, and each thread takes address space.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


def guarded(path: Path, expected: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return what a decoder reads from a file, without being hurt by what the file does to it.

    The decoder runs in another process with limits on time and memory, see `limits`. Where there
    are no POSIX processes, it runs in this one.

    Args:
        path: the file.
        expected: what it should be, such as "a readable picture".
        function: a function of a module that is quick to import.
        arguments: what it is called with.

    Raises:
        InputError: the decoder fails, crashes or does not finish.
    """
    if not _SEPARATE:
        with decoding(path, expected):
            return function(*arguments)
    while True:
        worker = _take(path, expected)
        fresh = not worker.used
        try:
            result: Result = worker.ask(path, expected, function, arguments)
        except _EndedError as end:
            worker.end()
            if fresh:  # else another file may have been the cause
                raise InputError(path, expected, reason=end) from None
            continue
        except _OverdueError as overdue:
            worker.end()
            raise InputError(path, expected, reason=overdue) from None
        except _FailedError as failed:
            _idle[os.getpid()].append(worker)
            raise failed.error from None
        except BaseException:  # Ctrl-C, or SIGTERM
            worker.end()
            raise
        _idle[os.getpid()].append(worker)
        return result


class _EndedError(Exception):
    """Report that the process has ended."""


class _OverdueError(Exception):
    """Report that the decoder takes too long."""


class _FailedError(Exception):
    """Carry what the function raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Worker:
    """A process that decodes one file after another."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.ready = self.used = False
        number = theirs.fileno()
        where = json.dumps([place for place in sys.path if place])
        try:
            self.process = subprocess.Popen(
                [os.fsdecode(get_executable()), "-P", "-c", _MAIN, str(number), where],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[number],
                env={**os.environ, **_ENVIRONMENT},
            )
        finally:
            theirs.close()

    def ask(
        self,
        path: Path,
        expected: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> Any:
        """Return what the function returns in the process; see `guarded` for the arguments."""
        try:
            folder = str(Path.cwd())
        except OSError:  # it has been removed
            folder = None
        try:
            if not self.ready:
                self._receive(_START_SECONDS)
                self.ready = True
            self.connection.send((folder, path, expected, function, arguments))
            seconds = seconds_for(size_of(path))
            while True:
                kind, content = self._receive(seconds)
                self.used = True
                if kind == "announced":
                    seconds = seconds_for(content)
                elif kind == "failed":
                    raise _FailedError(content)
                else:
                    return self._result(*content)
        except (EOFError, ConnectionError):
            raise _EndedError(self._how_it_ended()) from None

    def _receive(self, seconds: float) -> Any:
        """Return the next message; time in which this process is stopped does not count."""
        waited = 0.0
        while not self.connection.poll(_TICK):
            waited += _TICK
            if waited >= seconds:
                raise _OverdueError(f"its decoder has not finished after {seconds:.0f} s")
        return self.connection.recv()

    def _result(self, content: bytes, sizes: list[int]) -> Any:
        """Return the result, whose arrays follow the message byte for byte."""
        arrays = [np.empty(size, np.uint8) for size in sizes]
        for array in arrays:
            view = array.data
            while view:
                read = os.readv(self.connection.fileno(), [view])
                if not read:
                    raise EOFError
                view = view[read:]
        return pickle.loads(content, buffers=arrays)

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_START_SECONDS / 100)
        self.process.kill()  # which nothing is told that has ended already
        code = self.process.wait()
        if not self.ready:
            return f"the process for its decoder does not start (exit code {code})"
        if code == -signal.SIGKILL:
            return "its decoder was killed, perhaps for lack of memory"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"its pixel data end the decoder ({how})"

    def end(self) -> None:
        """End the process at once, whatever it does."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.connection.close()


def _take(path: Path, expected: str) -> _Worker:
    """Return a process that has nothing to do."""
    try:
        return _idle[os.getpid()].pop()
    except IndexError:
        pass
    try:
        return _Worker()
    except OSError as error:
        why = f"no process for its decoder: {error.strerror}"
        raise InputError(path, expected, reason=why) from None


# By the process that started them: a fork of it must not ask them too.
_idle: defaultdict[int, list[_Worker]] = defaultdict(list)


@atexit.register
def _end_all() -> None:
    while _idle[os.getpid()]:
        _idle[os.getpid()].pop().end()
