"""Locks: one writer at a time, over processes that work, die or are on other machines."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffrect.comparison.locks import CellLock, lock_owner
from diffrect.distributed import locks, owners
from diffrect.distributed.locks import (
    LOCK_FILE,
    Lock,
    LockedError,
    LostLockError,
    sole_command,
    sole_writer,
    sole_writer_of_file,
)
from diffrect.distributed.owners import describe_process, is_stale
from diffrect.distributed.signals import interrupt_on_sigterm
from diffrect.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from diffrect.comparison.locks import CellLock
from diffrect.distributed.locks import sole_writer
with CellLock(Path(sys.argv[1]), "cell"), sole_writer(Path(sys.argv[1]) / "run"):
    print("held", flush=True)
    time.sleep(60)
"""
RACE = """
import os, sys, time
from pathlib import Path
from diffrect.distributed.locks import LockedError, sole_writer
folder = Path(sys.argv[1])
while not (folder / "go").exists():
    time.sleep(0.001)
for number in range(40):
    try:
        with sole_writer(folder / str(number)):
            with (folder / f"{number}.took").open("a") as file:
                file.write(f"{os.getpid()} ")
            time.sleep(0.002)
            if (folder / f"{number}.took").read_text().split()[-1] != str(os.getpid()):
                print("two at a time")
    except LockedError:
        pass
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the locks of a cell and of the folder "run"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write_lock(folder: Path, **owner: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK_FILE
    file.write_text(json.dumps({**describe_process(os.getpid()), **owner}))
    return file


def elsewhere(folder: Path, **owner: object) -> Path:
    return write_lock(folder, host="elsewhere pid:[1]", pid=4, **owner)


def age(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_a_lock_is_one_process_s_and_is_left_over_when_it_is_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    said = rf"^{run}: is being written by process {holder.pid} on \S+ since 2\d\d\d-.*: -c$"
    with pytest.raises(LockedError, match=said), sole_writer(run):
        pass
    with pytest.raises(LockedError), CellLock(tmp_path, "cell"):
        pass
    assert f"taken by process {holder.pid} on " in (lock_owner(tmp_path, "cell") or "")
    with CellLock(tmp_path, "another"), sole_writer(tmp_path / "other"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (run / LOCK_FILE).exists()
    assert lock_owner(tmp_path, "cell") is None
    with sole_writer(run) as mine:
        assert json.loads(mine.path.read_text())["pid"] == os.getpid()
    with CellLock(tmp_path, "cell"):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_several_processes_never_hold_one_lock_together(tmp_path: Path) -> None:
    for number in range(0, 40, 2):  # half of the locks are left over from a dead process
        write_lock(tmp_path / str(number), started="long ago")
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    (tmp_path / "go").touch()
    assert [racer.communicate(timeout=300)[0] for racer in racers] == ["", "", ""]
    assert len(list(tmp_path.glob("*.took"))) == 40


def test_a_lock_lasts_until_the_command_ends_however_it_ends(tmp_path: Path) -> None:
    run = tmp_path / "a" / "run"

    def work(error: BaseException) -> None:
        with sole_writer(run):
            assert (run / LOCK_FILE).is_file()
            with pytest.raises(LockedError), sole_writer(run):
                pass
            raise error

    for error in (KeyboardInterrupt(), InputError("bad"), KeyError("fault")):
        with pytest.raises(type(error)):
            work(error)
        assert not (tmp_path / "a").exists()  # nothing came into it
    with sole_writer(run):
        (run / "config.yaml").touch()
    assert [path.name for path in run.iterdir()] == ["config.yaml"]


def test_a_folder_that_is_refused_is_not_touched(tmp_path: Path) -> None:
    def refuse() -> None:
        assert list(tmp_path.iterdir()) == []
        raise InputError("not this one")

    with pytest.raises(InputError, match="not this one"), sole_writer(tmp_path, refuse):
        pass
    elsewhere(tmp_path / "run")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with (
            pytest.raises(InputError, match=f"{name}: expected a folder to make, found a"),
            sole_writer(tmp_path / name),
        ):
            pass


def test_the_other_processes_of_a_command_share_the_first_one_s_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    with sole_command(tmp_path, lambda: checked.append(0)) as mine:
        assert mine is not None
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with sole_command(tmp_path, lambda: checked.append(1)) as none:
            assert none is None
        with pytest.raises(LockedError), sole_writer(tmp_path):
            pass
    assert checked == [0, 1]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_file_leaves_the_others_free(tmp_path: Path) -> None:
    with sole_writer_of_file(tmp_path / "a.json"), sole_writer_of_file(tmp_path / "b.json"):
        with (
            pytest.raises(LockedError, match=r"^\S+a\.json: is being written by"),
            sole_writer_of_file(tmp_path / "a.json"),
        ):
            pass
        assert {path.name for path in tmp_path.iterdir()} == {".a.json.lock", ".b.json.lock"}
    assert list(tmp_path.iterdir()) == []


def test_the_id_of_a_dead_process_may_be_another_s_now(tmp_path: Path) -> None:
    file = write_lock(tmp_path)
    assert not is_stale(file.read_text(), age=1e9)  # this very process
    write_lock(tmp_path, started="long ago")
    with sole_writer(tmp_path):
        pass


def test_other_machines_count_as_dead_after_a_while_of_silence(tmp_path: Path) -> None:
    file = elsewhere(tmp_path)
    age(file, owners.STALE_SECONDS - 30)
    lock = Lock(file, tmp_path)
    with pytest.raises(LockedError, match=r"by process 4 on elsewhere$"), lock:
        pass
    age(file, owners.STALE_SECONDS + 30)
    with lock:
        pass


@pytest.mark.parametrize("lives", [True, False])
def test_a_command_waits_for_a_sign_of_life_of_another_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lives: bool,
) -> None:
    file = elsewhere(tmp_path)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 5:
            age(file, 0 if lives else owners.STALE_SECONDS + 1)

    age(file, 20)
    monkeypatch.setattr(time, "sleep", wait)
    if lives:
        with pytest.raises(LockedError, match=r"by process 4 on elsewhere$"), sole_writer(tmp_path):
            pass
    else:
        with sole_writer(tmp_path):
            pass
    assert len(waited) == 5
    said = f"{tmp_path}: waits for a sign of life of process 4 on elsewhere\n"
    assert capsys.readouterr().err == said


def test_a_requeued_job_takes_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = elsewhere(tmp_path, job="77", start="0")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert not is_stale(file.read_text(), age=1)  # another step of the same start
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with sole_writer(tmp_path):
        pass
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert not is_stale(elsewhere(tmp_path, job="77", start="0").read_text(), age=1)


def test_locks_are_dated_by_the_file_system_s_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, now = elsewhere(tmp_path), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10 * owners.STALE_SECONDS)  # ours has jumped
    with pytest.raises(LockedError), Lock(file, tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[]", '{"pid": "x"}', "{", '{"pid": 99999999999}'])
def test_a_lock_that_is_being_written_is_taken(tmp_path: Path, text: str) -> None:
    file = write_lock(tmp_path)
    file.write_text(text)
    with pytest.raises(LockedError, match=r"by another process$"), Lock(file, tmp_path):
        pass
    age(file, owners.STALE_SECONDS + 30)
    with Lock(file, tmp_path):
        pass


def test_a_new_lock_is_not_taken_for_the_stale_one_before_it(tmp_path: Path) -> None:
    """As when another process was faster."""
    file = write_lock(tmp_path)
    Lock(file, tmp_path)._put_aside("the stale one")
    assert json.loads(file.read_text())["pid"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_what_a_kill_left_of_a_lock_goes(tmp_path: Path) -> None:
    (tmp_path / f"{LOCK_FILE}.00ff.partial").touch()
    with sole_writer(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def wait_until_lost(lock: Lock) -> None:
    deadline = time.monotonic() + 20
    while not lock.lost and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: elsewhere(folder), "was taken over by process 4 on elsewhere"),
        (lambda folder: (folder / LOCK_FILE).unlink(), r"its lock .diffrect.lock was removed"),
        (
            lambda folder: [(folder / LOCK_FILE).unlink(), folder.rmdir()],
            "was removed while the command was at work",
        ),
    ],
)
def test_a_command_that_loses_its_lock_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, problem: str
) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.02)
    folder = tmp_path / "run"

    def work() -> None:
        with interrupt_on_sigterm(), sole_writer(folder) as lock:
            lock.check()
            age(lock.path, 500)
            while time.time() - lock.path.stat().st_mtime > 100:
                time.sleep(0.01)  # it is touched
            spoil(folder)
            with pytest.raises(LostLockError):
                lock.check()
            while True:
                time.sleep(0.01)

    with pytest.raises(LostLockError, match=rf"^{folder}: {problem}"):
        work()
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == ([LOCK_FILE] if "taken over" in problem else [])


def test_a_program_without_a_handler_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(locks, "stop_self", lambda: 1 / 0)
    with sole_writer(tmp_path) as lock:
        lock.path.unlink()
        wait_until_lost(lock)
    assert lock.lost


def test_a_file_that_went_with_its_folder_is_no_fault_of_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def work(*, removed: bool) -> None:
        with sole_writer(folder) as lock:
            if removed:
                lock.path.unlink()
                folder.rmdir()
            (folder / "b" / "a").write_text("")

    with pytest.raises(LostLockError, match="run: was removed while the command was at work"):
        work(removed=True)
    with pytest.raises(FileNotFoundError):
        work(removed=False)


def test_a_lock_can_be_held_in_any_thread(tmp_path: Path) -> None:
    def work() -> None:
        with sole_writer(tmp_path / "run"):
            (tmp_path / "run" / "a").touch()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a"]
