"""The process in which decoders run: it reads a request, decodes under limits, and answers.

It ends when its parent does, even in the middle of C code: the kernel sends SIGIO when the other
end of its standard input is closed, and nobody handles that. Ctrl-C and SIGTERM are left to the
parent, which ends this process as it needs to.
"""

import fcntl
import os
import pickle
import resource
import select
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from diffrect.errors import InputError
from diffrect.imaging.decode import decoding
from diffrect.imaging.decoders.limits import (
    AMOUNT_PER_SECOND,
    bytes_for,
    on_announcement,
    seconds_for,
    size_of,
)

Request = tuple[str | None, Path, str, Callable[..., Any], tuple[Any, ...]]
"""Current folder, file, what it should be, function, arguments."""


def main(descriptor: int) -> None:
    """Answer requests until there is nobody left who asks.

    Args:
        descriptor: of the socket on which requests come.
    """
    _end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file behind
    connection = Connection(descriptor)
    connection.send(("ready", None))
    while True:
        try:
            request: Request = connection.recv()
        except EOFError:
            return
        _answer(connection, request)


def _end_with_parent() -> None:
    """Have the kernel end this process when standard input is closed by everyone else."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    with suppress(OSError):  # of systems that know this for sockets only
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it was closed before
        os._exit(1)


def _answer(connection: Connection, request: Request) -> None:
    folder, path, expected, function, arguments = request
    with suppress(OSError):
        if folder is not None:
            os.chdir(folder)
    buffers: list[pickle.PickleBuffer] = []
    try:
        with _limits(connection, path):
            result = run(path, expected, function, arguments)
        content = pickle.dumps(result, protocol=5, buffer_callback=buffers.append)
    except InputError as error:
        connection.send(("failed", error))
        return
    except Exception as error:  # a fault of the program, which the parent raises
        error.add_note(traceback.format_exc())
        connection.send(("failed", error))
        return
    parts = [buffer.raw() for buffer in buffers]
    connection.send(("done", (content, [part.nbytes for part in parts])))
    for part in parts:
        while part:
            part = part[os.write(connection.fileno(), part) :]


def run(path: Path, expected: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a decoder; whatever it raises becomes an `InputError` about the file.

    Args:
        path: the file.
        expected: what it should be.
        function: reads it.
        arguments: what the function is called with.
    """
    with decoding(path, expected):
        return function(*arguments)


@contextmanager
def _limits(connection: Connection, path: Path) -> Iterator[None]:
    """Limit memory and processor time, first by the size of the file, then by what is announced."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size, used = size_of(path), _address_space()

    def listen(values: int) -> None:
        amount = max(values, size)
        if amount > max(size, AMOUNT_PER_SECOND):  # by which the parent waits a second longer
            connection.send(("announced", amount))
        # The parent watches the clock; this is for one that was killed where no SIGIO comes.
        processor_seconds = seconds_for(amount) * (os.cpu_count() or 1) + 10
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        if used is not None:
            most = [used + bytes_for(amount), *(n for n in before if n != resource.RLIM_INFINITY)]
            resource.setrlimit(resource.RLIMIT_AS, (min(most), before[1]))

    on_announcement(listen)
    listen(size)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int | None:
    """Return the bytes of address space that this process has; None where nobody says so."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return None
    return int(pages) * resource.getpagesize()
