"""A short siege of `benchmarks/attack.py`, and what it calls wrong."""

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import attack
import attack_sandbox
from attack_fixtures import EXAMPLES, Fixtures, read_scans, write_sources
from attack_inputs import Attempt
from attack_kills import before_call
from attack_sandbox import Outcome, Sandbox
from crash_matrix import fork
from diffrect.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify and /proc")
SEED = 0


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Fixtures:
    """Data sets, scans, stores, and a run from before; nothing is trained."""
    folder = tmp_path_factory.mktemp("attack")
    made = Fixtures.below(folder)
    assert fork(lambda: write_sources(made, folder / "scans")) == 0
    made.scans |= read_scans(folder / "scans")
    shutil.copytree(EXAMPLES / "run_1", made.run)
    return made


# None of these trains, because this process has, and then no fork of it can.
NUMBERS = {
    **{"scans": 10, "ssl4mis": 2, "decathlon": 2, "tables": 2, "stores, inspected": 2},
    **{"old stores": 1, "ways outside": 6, "huge claims": 4, "hostile names": 6},
}


def test_no_input_does_harm(
    fixtures: Fixtures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    siege = attack.Round(fixtures, Sandbox(tmp_path / "sandbox"), SEED)
    ends: Counter[str] = Counter()
    before = attack.contents(fixtures.decathlon.parent)
    for name, most in NUMBERS.items():
        ends += siege.attack(name, range(most))
    assert capsys.readouterr().out == ""  # it prints what went wrong
    assert ends["WRONG"] == 0
    assert ends["right"] >= 4
    assert ends["refused"] >= 15
    assert attack.contents(fixtures.decathlon.parent) == before


def test_the_same_seed_makes_the_same_input(fixtures: Fixtures, tmp_path: Path) -> None:
    made = []
    for turn in range(3):
        place = tmp_path / str(turn)
        place.mkdir()
        draw = attack.Draw(1 if turn == 2 else SEED, "scans", 5)
        made.append((attack.KINDS["scans"][0](fixtures, place, draw).what, attack.contents(place)))
    assert made[0] == made[1] != made[2]


def outcome_of(work: Callable[[], int], tmp_path: Path, **changes: float) -> Outcome:
    place = tmp_path / "sandbox" / "work"
    sandbox = Sandbox(place.parent)
    place.mkdir()
    return sandbox.run(place, work, **changes)


def refuse() -> int:
    print(f"diffrect: error: {InputError('a.nii', 'one channel', got=3)}", file=sys.stderr)
    return 2


def raw_name() -> int:
    print("diffrect: error: a\x1b[2J.nii: expected one channel", file=sys.stderr)
    return 2


def two_lines() -> int:
    print("some library: something odd", file=sys.stderr)
    return refuse()


def read_outside() -> int:
    Path("../outside/secret.raw").read_bytes()
    return 0


def write_outside() -> int:
    Path("../outside/new").write_text("a")
    return 0


def end_by_signal() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def leave_a_process() -> int:
    if os.fork() == 0:
        time.sleep(60)
    return 0


def deaf() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
    return 0


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        (lambda: 0, None),
        (refuse, None),
        (lambda: 1 // 0, "traceback: ZeroDivisionError"),
        (lambda: 2, "without an error line"),
        (lambda: 7, "exit code 7"),
        (raw_name, "raw characters"),
        (two_lines, "a line that is no error: some library"),
        (read_outside, "touched outside/secret.raw"),
        (write_outside, "touched outside/new"),
        (end_by_signal, f"exit code {-signal.SIGKILL}"),
    ],
)
def test_what_is_wrong(work: Callable[[], int], fault: str | None, tmp_path: Path) -> None:
    outcome = outcome_of(work, tmp_path)
    assert (outcome.kind == "WRONG") == (fault is not None)
    assert fault is None or fault in outcome.faults[0]


def test_what_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack_sandbox, "GRACE", 0.2)
    monkeypatch.setattr(attack_sandbox, "crowding", lambda: 1.0)
    outcome = outcome_of(deaf, tmp_path, patience=0.3)
    assert outcome.faults == ["SIGTERM does not end it within 0.2 s"]
    assert outcome_of(lambda: time.sleep(60) or 0, tmp_path / "b", patience=0.1).kind == "stopped"


def test_processes_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack_sandbox, "LAST_SECONDS", 0.2)
    assert outcome_of(leave_a_process, tmp_path).faults == ["left 1 of its processes behind"]


def test_what_may_change() -> None:
    attempt = Attempt("", lambda: 0, kept=())
    done, refused = Outcome(0, "", ""), Outcome(2, "", "")
    before = {"in": "folder", "in/a": "1"}
    assert attack.changes(attempt, done, before, {**before, "out/b": "2"}) == []
    assert attack.changes(attempt, refused, before, {**before, "out/b": "2"}) == ["wrote out/b"]
    assert attack.changes(attempt, done, before, {"in": "folder"}) == ["lost in/a"]
    assert attack.changes(attempt, done, before, {**before, "in/a": "3"}) == ["changed in/a"]
    left = attack.changes(attempt, done, before, {**before, "out/.b.partial": "2"})
    assert left == ["left out/.b.partial"]


def test_a_kill_before_a_call(tmp_path: Path) -> None:
    place = tmp_path / "place"

    def work() -> None:
        before_call(3, place)
        place.mkdir()
        (place / "a").write_text("a")
        (place / "b").write_text("b")  # the third call

    assert fork(work) is None
    assert [file.name for file in place.iterdir()] == ["a"]
