"""Locks of cells: one holder at a time, over processes that work, die or are on other machines."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffrect.comparison import locks
from diffrect.comparison.locks import CellLock, LockedError, describe_process, is_stale, lock_owner

HOLD = """
import sys, time
from pathlib import Path
from diffrect.comparison.locks import CellLock
with CellLock(Path(sys.argv[1]), "cell"):
    print("held", flush=True)
    time.sleep(60)
"""
RACE = """
import os, sys, time
from pathlib import Path
from diffrect.comparison.locks import CellLock, LockedError
folder = Path(sys.argv[1])
while not (folder / "go").exists():
    time.sleep(0.001)
for cell in range(40):
    try:
        with CellLock(folder, str(cell)):
            with (folder / f"{cell}.took").open("a") as file:
                file.write(f"{os.getpid()} ")
            time.sleep(0.002)
            if (folder / f"{cell}.took").read_text().split()[-1] != str(os.getpid()):
                print("two at a time")
    except LockedError:
        pass
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of "cell"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write_lock(folder: Path, **owner: object) -> Path:
    file = folder / ".locks" / "cell.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**describe_process(os.getpid()), **owner}))
    return file


def age(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_a_lock_is_one_process_s_and_goes_with_it(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(LockedError, match=f"taken by process {holder.pid} on "):
        CellLock(tmp_path, "cell").__enter__()
    assert lock_owner(tmp_path, "cell") is not None
    with CellLock(tmp_path, "another"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".locks" / "cell.json").exists()  # left over
    assert lock_owner(tmp_path, "cell") is None
    with CellLock(tmp_path, "cell") as mine:
        assert json.loads(mine.path.read_text())["pid"] == os.getpid()
    assert not list((tmp_path / ".locks").iterdir())


def test_several_processes_never_hold_one_lock_together(tmp_path: Path) -> None:
    for cell in range(0, 40, 2):  # half of the locks are left over from a dead process
        write_lock(tmp_path, started="long ago").rename(tmp_path / ".locks" / f"{cell}.json")
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    (tmp_path / "go").touch()
    assert [racer.communicate(timeout=300)[0] for racer in racers] == ["", "", ""]
    assert len(list(tmp_path.glob("*.took"))) == 40


def test_the_id_of_a_dead_process_may_be_another_s_now(tmp_path: Path) -> None:
    file = write_lock(tmp_path)
    assert not is_stale(file.read_text(), age=1e9)  # this very process
    write_lock(tmp_path, started="long ago")
    with CellLock(tmp_path, "cell"):
        pass


def test_other_machines_count_as_dead_after_a_while_of_silence(tmp_path: Path) -> None:
    file = write_lock(tmp_path, host="elsewhere pid:[1]", pid=4)
    age(file, locks.STALE_SECONDS - 30)
    with pytest.raises(LockedError, match="taken by process 4 on elsewhere "):
        CellLock(tmp_path, "cell").__enter__()
    age(file, locks.STALE_SECONDS + 30)
    with CellLock(tmp_path, "cell"):
        pass


def test_locks_are_dated_by_the_file_system_s_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lock(tmp_path, host="elsewhere pid:[1]", pid=4)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10 * locks.STALE_SECONDS)  # ours has jumped
    with pytest.raises(LockedError, match="taken by process 4 on elsewhere "):
        CellLock(tmp_path, "cell").__enter__()


def test_a_lock_that_is_being_written_is_taken(tmp_path: Path) -> None:
    file = write_lock(tmp_path)
    file.write_text("")
    with pytest.raises(LockedError, match="taken by another process"):
        CellLock(tmp_path, "cell").__enter__()
    age(file, locks.STALE_SECONDS + 30)
    with CellLock(tmp_path, "cell"):
        pass


def test_a_holder_keeps_its_lock_young_and_stops_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.05)
    stopped: list[int] = []
    monkeypatch.setattr(locks.os, "kill", lambda pid, number: stopped.append(number))
    with CellLock(tmp_path, "cell") as mine:
        age(mine.path, 500)
        time.sleep(0.3)
        assert time.time() - mine.path.stat().st_mtime < 100
        assert not stopped
        write_lock(tmp_path, pid=4)  # another machine took over
        time.sleep(0.3)
    assert stopped == [signal.SIGTERM]
    assert json.loads(mine.path.read_text())["pid"] == 4  # and keeps it
