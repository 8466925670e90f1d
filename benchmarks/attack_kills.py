"""SIGKILL before every call of the file system, of each command that writes.

The calls are openings, renamings, removals and synchronisations of what a command writes. A command
is killed before each of them in turn, in a mixed order, some starts of its repetition too; then it
is repeated until it is done, and has to end as if it had never been killed. `crash_matrix.py` kills
larger trainings at fewer moments, and at random ones.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from attack_fixtures import TRAINING, Fixtures
from crash_ends import file_differences, run_differences
from crash_matrix import Job, fork
from crash_moments import die
from diffrect.data.prepare import prepare
from diffrect.evaluation.evaluate import evaluate
from diffrect.inference.predict import predict
from diffrect.training.train import train

_CALLS = {
    *(
        "open",
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.chmod",
    ),
    *("os.truncate", "os.utime", "shutil.rmtree", "shutil.copyfile", "shutil.move"),
}


def before_call(number: int, place: Path, ends: Callable[[], Any] = die) -> list[int]:
    """Make this process end before call `number`, from 1, of the file system about a folder.

    Args:
        number: which call.
        place: the folder.
        ends: what happens before that call.

    Returns:
        A list whose only entry counts the calls.
    """
    count, below = [0], os.fsencode(place.name)

    def notice() -> None:
        count[0] += 1
        if count[0] == number:
            ends()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        names = [a for a in arguments if isinstance(a, str | bytes | os.PathLike)]
        # Trees are removed by names in folders that are open.
        within = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
        if event in _CALLS and (within or any(below in os.fsencode(name) for name in names)):
            notice()

    for name in ("fsync", "posix_fallocate"):
        original = getattr(os, name)

        def counted(*given: Any, original: Any = original) -> Any:
            notice()
            return original(*given)

        setattr(os, name, counted)
    sys.addaudithook(hook)
    return count


@dataclass
class Victim(Job):
    """A job to kill, with what has to be there before its first start."""

    setup: Callable[[Path], Any] = lambda place: None


def victims(fixtures: Fixtures) -> list[Victim]:
    """Return the commands to kill."""
    images = sorted((fixtures.decathlon / "imagesTr").iterdir())

    def start_prepare(place: Path, **how: bool) -> None:
        prepare(fixtures.decathlon, place, workers=1, progress=False, **how)

    def start_train(place: Path, **how: bool) -> None:
        train(fixtures.store, place, TRAINING, progress=False, **how)

    def start_predict(place: Path) -> None:
        predict(fixtures.run, place, images, device="cpu", overwrite=True, progress=False)

    def start_evaluate(place: Path) -> None:
        evaluate(place, split="val", device="cpu", progress=False)

    def copy_run(place: Path) -> None:
        shutil.copytree(fixtures.run, place)

    def copy_store(place: Path) -> None:
        shutil.copytree(fixtures.store, place)

    def spoiled_store(place: Path) -> None:
        copy_store(place)
        for file in sorted(place.rglob("*.b2nd"))[:3]:
            file.write_bytes(file.read_bytes()[:-9])

    resume, repair, overwrite = {"resume": True}, {"repair": True}, {"overwrite": True}
    files, runs = file_differences, run_differences
    return [
        Victim("prepare", {}, start_prepare, partial(start_prepare, **resume), files, 0),
        Victim("train", {}, start_train, partial(start_train, **resume), runs, 0),
        Victim("predict", {}, start_predict, start_predict, files, 0),
        Victim(
            "evaluate", {}, start_evaluate, start_evaluate, scores_differences, 0, setup=copy_run
        ),
        Victim(
            "prepare --repair",
            {},
            *(partial(start_prepare, **repair),) * 2,
            files,
            0,
            setup=spoiled_store,
        ),
        Victim(
            "prepare --overwrite",
            {},
            *(partial(start_prepare, **overwrite),) * 2,
            files,
            0,
            setup=copy_store,
        ),
        Victim(
            "train --overwrite",
            {},
            *(partial(start_train, **overwrite),) * 2,
            runs,
            0,
            setup=copy_run,
        ),
    ]


def scores_differences(run: Path, whole: Path) -> list[str]:
    """Return how the scores of a run differ from those of another, and what else is left."""
    mine, theirs = ((f / "metrics_val.json").read_text() for f in (run, whole))
    found = [] if mine.replace(str(run), str(whole)) == theirs else ["metrics_val.json differs"]
    return found + [f"{path.name} is left" for path in run.rglob(".*")]


def count_calls(job: Victim, place: Path, counts: Path) -> int:
    """Run a job to its end and return how many calls of the file system it makes.

    Raises:
        RuntimeError: it fails, and has printed why.
    """
    job.setup(place)

    def run() -> None:
        count = before_call(0, place)
        job.start(place)
        counts.write_text(str(count[0]))

    if fork(run) != 0:
        raise RuntimeError(f"{job.name} fails when it is left alone")
    return int(counts.read_text())


def kill(job: Victim, folder: Path, seconds: float, most: int, seed: int) -> None:
    """Kill a job again and again, and compare how it ends.

    Args:
        job: what to kill; its counts, calls and problems are filled in.
        folder: where to run it.
        seconds: how long.
        most: number of kills.
        seed: of the order of the calls, and of further kills.
    """
    deadline, draw = time.monotonic() + seconds, random.Random(f"{seed}/{job.name}")
    whole = folder / f"{job.name.replace(' ', '')}-whole"
    job.calls = count_calls(job, whole, folder / "calls")
    order = draw.sample(range(1, job.calls + 1), job.calls)
    while time.monotonic() < deadline and sum(job.kills.values()) < most:
        first = order[job.runs] if job.runs < job.calls else draw.randint(1, job.calls)
        further = [draw.randint(1, job.calls) for _ in range(draw.choice((0, 0, 1, 2)))]
        place = folder / whole.name.replace("whole", f"{job.runs}.")
        job.setup(place)
        wrong = _repeat(job, place, [first, *further]) or job.differences(place, whole)
        if wrong:
            job.problems.append(f"{job.name}, killed before calls {[first, *further]}: {wrong[:2]}")
        job.runs += 1
        for left in folder.glob(f"*{place.name}*"):
            shutil.rmtree(left)


def _repeat(job: Victim, place: Path, kills: list[int]) -> list[str]:
    """Start a job, kill it before each of some calls, and repeat it until it is done."""
    for attempt, call in enumerate([*kills, 0]):
        work = job.resume if attempt and place.exists() else job.start

        def run(work: Callable[[Path], Any] = work, call: int = call) -> None:
            before_call(call, place)
            work(place)

        code = fork(run)
        if code is None:
            job.kills["before a call"] = job.kills.get("before a call", 0) + 1
        elif code == 0:
            return []
        else:
            return [f"exit code {code} of start {attempt + 1}"]
    return ["it does not end"]
