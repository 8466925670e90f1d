"""prepare, train, predict and compare end as if never killed, however often SIGKILL hits them.

    python benchmarks/crash_matrix.py --kills 60 --folder crash

Prints a table of kills, by command and moment, and of the runs that survived. Exits with 1 if the
end of a run differs from that of the same command left alone.

Half of the kills come at random moments, half at chosen ones: in the middle of a file, between a
file and its name, in a validation, between two checkpoints. After each kill the command is started
again and resumes. Everything runs in forks of one process that has imported torch already, so a
kill costs no start.
"""

import argparse
import gzip
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from crash_ends import comparison_differences, file_differences, run_differences
from crash_moments import (
    MOMENTS,
    MOMENTS_OF_COMPARE,
    MOMENTS_OF_PREDICT,
    MOMENTS_OF_PREPARE,
)
from diffrect.comparison.report import report
from diffrect.comparison.run import compare
from diffrect.config import TrainConfig
from diffrect.data.prepare import prepare
from diffrect.inference.predict import predict
from diffrect.phantom.write import write_phantom
from diffrect.training.train import train

METHODS = ("supervised", "mean_teacher")
MOST_STARTS = 60  # of one run, before it counts as not surviving


# ---- runs ------------------------------------------------------------------------------------


@dataclass
class Job:
    """A command to kill, and how to see that it comes to the same end."""

    name: str
    moments: dict[str, Callable[[int], None]]
    start: Callable[[Path], Any]
    resume: Callable[[Path], Any]
    differences: Callable[[Path, Path], list[str]]
    calls: int
    kills: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    problems: list[str] = field(default_factory=list)


def fork(work: Callable[[], Any], kill_after: float | None = None) -> int | None:
    """Run `work` in a child; return its exit code, or None if it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def torture(job: Job, folder: Path, whole: Path, kills: int, seconds: float, seed: int) -> None:
    """Run the job again and again until it was killed `kills` times; compare every end.

    Args:
        job: what to run; its counts and problems are filled in.
        folder: where to run it.
        whole: what the same command has made that was left alone.
        kills: number of kills.
        seconds: how long that command took, for random moments.
        seed: seed of the moments.
    """
    draw = random.Random(seed)
    moments = iter(endless(list(job.moments), draw))
    while sum(job.kills.values()) < kills:
        place = folder / f"{job.name}-{job.runs}"
        to_come = min(draw.randint(1, 5), kills - sum(job.kills.values()))
        for attempt in range(MOST_STARTS):
            work = job.resume if attempt and place.exists() else job.start
            moment = next(moments) if to_come else None
            call = draw.randint(1, job.calls)
            delay = draw.uniform(0, seconds) if moment == "at random" else None

            def run(work: Any = work, place: Path = place, m: Any = moment, n: int = call) -> None:
                if m in job.moments:
                    job.moments[m](n)
                work(place)

            code = fork(run, delay)
            if code is None:
                assert moment is not None
                job.kills[moment] = job.kills.get(moment, 0) + 1
                to_come -= 1
            elif code == 0:
                break
            else:
                job.problems.append(f"{place.name}: exit code {code} after {moment}")
                break
        job.runs += 1
        job.problems += [f"{place.name}: {d}" for d in job.differences(place, whole)]
        shutil.rmtree(place, ignore_errors=True)


def endless(names: list[str], draw: random.Random) -> Iterator[str]:
    """Yield every chosen moment in turn, and a random one after each."""
    while True:
        for name in draw.sample(names, len(names)):
            yield name
            yield "at random"


# ---- the matrix ------------------------------------------------------------------------------


def jobs(folder: Path, config: TrainConfig) -> list[Job]:
    """Return the four commands to kill."""
    source, store, run = folder / "source", folder / "prepare", folder / "train"

    def start_train(place: Path, resume: bool = False) -> None:
        train(store, place, config, resume=resume, progress=False)

    def start_prepare(place: Path, resume: bool = False) -> None:
        prepare(source, place, resume=resume, progress=False)

    def start_predict(place: Path) -> None:
        predict(run, place, [folder / "images"], device="cpu", overwrite=True, progress=False)

    def start_compare(place: Path) -> None:
        compare(store, place, methods=METHODS, config=config, apart=False, progress=False)

    return [
        Job(
            "prepare",
            MOMENTS_OF_PREPARE,
            start_prepare,
            lambda place: start_prepare(place, True),
            file_differences,
            calls=12,
        ),
        Job(
            "train",
            MOMENTS,
            start_train,
            lambda place: start_train(place, True),
            run_differences,
            calls=12,
        ),
        Job("predict", MOMENTS_OF_PREDICT, start_predict, start_predict, file_differences, calls=4),
        Job(
            "compare",
            MOMENTS_OF_COMPARE,
            start_compare,
            start_compare,
            comparison_differences,
            calls=12,
        ),
    ]


def main() -> int:
    """Make a folder, run the matrix in it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="kills of train")
    parser.add_argument("--others", type=int, default=20, help="kills of each other command")
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--method", default="diffrect")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; removed afterwards")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder and str(given.folder.parent)))
    try:
        return matrix(folder, given)
    finally:
        shutil.rmtree(folder)


def matrix(folder: Path, given: argparse.Namespace) -> int:
    """Kill each command as often as asked, and print the table; return the exit code."""
    torch.set_num_threads(1)
    report.draw_plots = lambda *_: []  # they take most of the time, and are not compared
    config = TrainConfig(
        labelled="1",
        method=given.method,
        size=32,
        iterations=given.iterations,
        validate_every=2,
        batch_labelled=1,
        batch_unlabelled=1,
        device="cpu",
        options={"rectify_from": 2},
    )
    write_phantom(folder / "source", patients=6)
    images = folder / "images"
    images.mkdir()
    for file in sorted((folder / "source").rglob("*_frame01.nii.gz"))[:4]:
        (images / file.name).write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), 1))
    print("| command | kills | at | runs | survived |\n| --- | --- | --- | --- | --- |")
    failed = False
    for job in jobs(folder, config):
        whole, started = folder / job.name, time.monotonic()
        if fork(lambda job=job, whole=whole: job.start(whole)) != 0:  # type: ignore[misc]
            print(f"{job.name}: failed without a kill", file=sys.stderr)
            return 1
        seconds = time.monotonic() - started
        kills = given.kills if job.name == "train" else given.others
        torture(job, folder / "work", whole, kills, seconds, given.seed)
        for number, (moment, count) in enumerate(sorted(job.kills.items())):
            first = (job.name, str(sum(job.kills.values()))) if not number else ("", "")
            bad = len({problem.split(":")[0] for problem in job.problems})
            last = (str(job.runs), str(job.runs - bad)) if not number else ("", "")
            print(f"| {' | '.join([*first, f'{moment}: {count}', *last])} |", flush=True)
        for problem in job.problems:
            print(problem, file=sys.stderr)
        failed |= bool(job.problems)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
