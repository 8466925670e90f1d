"""Signals: handlers last as long as their context, and a child ends with its parent."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from diffrect.data.loader import iterate
from diffrect.distributed.signals import (
    _when_parent_ends,
    handled,
    interrupt_on_sigterm,
    is_child,
    leaving_at_once,
    stop_self,
)
from diffrect.processes import as_parent

STOP = signal.SIGTERM
# A parent that starts a child, prints the child's number and is killed.
PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""
CHILD = """
import time
from diffrect.distributed import signals
signals.{}()
print("watches", flush=True)
time.sleep(60)
"""


def test_a_handler_lasts_as_long_as_its_context() -> None:
    before, heard = signal.getsignal(STOP), []
    with handled(lambda number, frame: heard.append(number), STOP):
        stop_self()
    assert heard == [STOP]
    assert signal.getsignal(STOP) == before


def test_other_threads_set_no_handlers() -> None:
    seen = []

    def work() -> None:
        with handled(lambda number, frame: None, STOP):
            seen.append(signal.getsignal(STOP))

    before, thread = signal.getsignal(STOP), threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_sigterm_interrupts_a_command_once() -> None:
    def command() -> None:
        try:
            stop_self()
        finally:
            stop_self()  # while it tidies up

    with pytest.raises(KeyboardInterrupt), interrupt_on_sigterm():
        command()


# A command that hears a signal when it begins to import something.
# (Whoever runs the tests in the background may have it ignore SIGINT.)
IMPORTING = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))

sys.meta_path.insert(0, Finder())
from diffrect.cli.main import main
sys.exit(main(["evaluate", sys.argv[3]]))
"""


@pytest.mark.parametrize(
    ("package", "number"),
    [("rich", signal.SIGTERM), ("yaml", signal.SIGINT), ("torch", signal.SIGTERM)],
)
def test_a_command_that_is_stopped_while_it_loads_says_so(
    package: str, number: int, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoints" / "best.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()  # without one the command would end before it loads its work
    command = [sys.executable, "-c", IMPORTING, package, str(int(number)), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (130, "diffrect: interrupted\n", "")


def test_a_signal_that_a_command_was_started_to_ignore_is_ignored() -> None:
    with handled(signal.SIG_IGN, signal.SIGINT), leaving_at_once():  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert callable(signal.getsignal(STOP))


def test_a_parent_that_was_dead_before_anybody_looked() -> None:
    ended = threading.Event()
    with as_parent():  # which is this process, and not its own parent
        _when_parent_ends(ended.set)
    assert ended.wait(20)


# A parent that is killed before its child, started by multiprocessing, looks for it.
LATE = """
import multiprocessing, os, signal, sys, time
from diffrect.distributed.signals import end_with_parent, is_child

def late(path):
    assert is_child()
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while os.getppid() == int(sys.argv[2]):
        time.sleep(0.01)
    end_with_parent()
    time.sleep(60)

if __name__ == "__main__":
    path = sys.argv[1]
    sys.argv.append(str(os.getpid()))
    multiprocessing.get_context("spawn").Process(target=late, args=(path,)).start()
    while not (os.path.exists(path) and open(path).read()):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_reader_does_not_outlive_a_training_that_was_killed_while_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late.py").write_text(LATE)
    command = [sys.executable, str(tmp_path / "late.py"), str(tmp_path / "pid")]
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert not lives_on(int((tmp_path / "pid").read_text()))
    assert not is_child()

    started: list[bool] = []
    monkeypatch.setattr("diffrect.data.loader.end_with_parent", lambda: started.append(True))
    monkeypatch.setattr(
        "diffrect.data.loader.DataLoader", lambda *_, worker_init_fn, **__: [worker_init_fn(0)]
    )
    assert list(iterate(None, 0, 1, 1)) == [None]  # type: ignore[arg-type]
    assert started == [True]


@pytest.mark.parametrize("way", ["end_with_parent", "stop_with_parent"])
def test_a_child_does_not_outlive_its_parent(way: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD.format(way)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    said = sorted(parent.stdout.readline() for _ in range(2))
    assert said[1] == "watches\n"
    child = int(said[0])
    parent.stdin.close()
    assert parent.wait() == -signal.SIGKILL
    parent.stdout.close()
    assert not lives_on(child)


def lives_on(number: int) -> bool:
    """Whether a process is still alive after a while that is long enough to end."""
    deadline = time.monotonic() + 60
    while is_alive(number) and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_alive(number)


def is_alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
