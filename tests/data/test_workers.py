"""Processes that share the cases of prepare: interrupted, they end soon and leave nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.decoders import gone
from support.processes import environment

# Each call sits in a decoder that would take a minute; what it wrote before it is taken back.
COMMAND = """
import sys
from pathlib import Path
from diffrect.data.workers import in_parallel
from diffrect.distributed.signals import interrupt_on_sigterm
from diffrect.imaging.decoders.guard import guarded
from support import decoders

def call(begun):
    half = begun.with_suffix(".half")
    half.touch()
    try:
        guarded(begun, "a scan", decoders.sleep_until, begun)
    finally:
        half.unlink()

if __name__ == "__main__":
    files = [(Path(sys.argv[1]) / str(number),) for number in range(6)]
    try:
        with interrupt_on_sigterm():
            list(in_parallel(call, files, 2))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("to_all", [False, True])
def test_sigterm_ends_workers_that_sit_in_a_decoder(tmp_path: Path, to_all: bool) -> None:
    script, calls = tmp_path / "command.py", tmp_path / "calls"
    script.write_text(COMMAND)
    calls.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(calls)],
        start_new_session=True,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        while len([file for file in calls.glob("?") if file.read_text()]) < 2:
            assert command.poll() is None
            time.sleep(0.02)
        if to_all:
            os.killpg(command.pid, signal.SIGTERM)
        else:
            command.terminate()
        _, said = command.communicate(timeout=5)
    assert (command.returncode, said) == (130, "")
    begun = list(calls.iterdir())
    assert len(begun) == 2  # no other call began, and nothing half-written is left
    assert all(gone(int(file.read_text())) for file in begun)
