"""Signals: handlers last as long as their context, and a child ends with its parent."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from diffrect.distributed.signals import handled, interrupt_on_sigterm, stop_self

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
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(child)


def is_alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
