"""Attack diffrect with kills, spoiled and hostile inputs and senseless options, and count the ends.

    python benchmarks/attack.py --seconds 600 --seed 0 --keep wrong

Prints a table: of each kind, how many were tried, went right, were refused in one line, were
stopped by SIGTERM, and ended WRONG. Wrong is a traceback, a process that SIGTERM does not end
within 5 seconds, something lost, written or read outside, or a result that is silently another
one. Each such input is kept under --keep with its command. Exits with 1 if there is any.

The same seed makes the same inputs; `--only KIND --first N` repeats number N of a kind.
"""

import argparse
import importlib
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch

import diffrect
from attack_fixtures import Fixtures, make_fixtures, narrow_networks
from attack_hostile import HOSTILE
from attack_inputs import INPUTS, Attack, Attempt
from attack_kills import Victim, kill, victims
from attack_options import OPTIONS_KIND
from attack_sandbox import STOPPED, Outcome, Sandbox, contents
from attack_stops import STOPS, Stop

KINDS: dict[str, tuple[Attack, int]] = {**INPUTS, **HOSTILE, **OPTIONS_KIND, **STOPS}
ENDS = ("right", "refused", "stopped", "WRONG")


class Draw(random.Random):
    """Draws for input `number` of a kind."""

    def __new__(cls, *arguments: object) -> "Draw":  # noqa: D102
        return super().__new__(cls)

    def __init__(self, seed: int, kind: str, number: int) -> None:
        super().__init__(f"{seed}/{kind}/{number}")
        self.number = number


def attack(
    name: str,
    number: int,
    make: Attack,
    fixtures: Fixtures,
    sandbox: Sandbox,
    given: argparse.Namespace,
) -> str:
    """Make one input, run its command, and return how it ended.

    Args:
        name: the kind.
        number: which of the inputs of its kind.
        make: makes it.
        fixtures: what it is made from.
        sandbox: where it runs.
        given: `seed`, and `keep`, the folder for what went wrong.
    """
    place = sandbox.folder / "work"
    place.mkdir()
    attempt = make(fixtures, place, Draw(given.seed, name, number))
    before = contents(place)
    if given.keep:
        kept = given.keep / f"{name.replace(' ', '-')}-{number}"
        shutil.copytree(place, kept, symlinks=True, ignore=_no_files)
    outcome = sandbox.run(place, attempt.work, stop_after=getattr(attempt, "after", None))
    outcome.faults += changes(attempt, outcome, before, contents(place))
    if isinstance(attempt, Stop) and not outcome.faults:
        again = sandbox.run(place, attempt.again if (place / "out").exists() else attempt.work)
        if again.code != 0:
            outcome.faults = again.faults or [f"cannot be repeated: {again.err}"]
        outcome.faults += [] if outcome.faults else _checked(attempt, place)
    if outcome.code == 0 and not outcome.faults:
        outcome.faults += _checked(attempt, place)
    shutil.rmtree(place)
    if given.keep:
        if outcome.faults:
            (kept / "attack.txt").write_text(describe(name, number, attempt, outcome))
        else:
            shutil.rmtree(kept)
    if outcome.faults:
        print(f"{name} {number} ({attempt.what}): {'; '.join(outcome.faults)}", flush=True)
    return outcome.kind


def changes(
    attempt: Attempt, outcome: Outcome, before: dict[str, str], after: dict[str, str]
) -> list[str]:
    """Return what a command has changed that it should not have."""
    allowed = attempt.outputs if outcome.code in (0, *STOPPED) else attempt.kept
    found = []
    for name in sorted(before.keys() | after.keys()):
        top = name.split("/")[0]
        if before.get(name) != after.get(name) and top not in allowed:
            verb = "lost" if name not in after else "wrote" if name not in before else "changed"
            found.append(f"{verb} {name}")
    found += [f"left {name}" for name in sorted(after.keys() - before.keys()) if ".partial" in name]
    return found[:5]


def _no_files(folder: str, names: list[str]) -> list[str]:
    """Return what cannot be copied: pipes, sockets and endless files."""
    paths = [Path(folder) / name for name in names]
    return [
        path.name
        for path in paths
        if not path.is_symlink()
        and not path.is_dir()
        and (not path.is_file() or path.stat().st_size > 2**28)
    ]


def _checked(attempt: Attempt, place: Path) -> list[str]:
    try:
        return attempt.check(place)
    except Exception as error:
        return [f"the result cannot be read: {type(error).__name__}: {error}"]


def describe(name: str, number: int, attempt: Attempt, outcome: Outcome) -> str:
    """Return what to know of an input that went wrong."""
    faults = "\n".join(outcome.faults)
    return f"{name} {number}: {attempt.what}\n{faults}\nexit code {outcome.code}\n{outcome.err}"


def rounds(kinds: dict[str, tuple[Attack, int]]) -> list[str]:
    """Return the names of the kinds in the order of a round, each as often as it has its turn."""
    names = [name for name, (_, turns) in kinds.items() for _ in range(turns)]
    random.Random(0).shuffle(names)
    return names


def main() -> int:
    """Attack until the time is over, print the counts, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long to attack")
    parser.add_argument("--most", type=int, default=10**9, help="stop after so many inputs")
    parser.add_argument(
        "--kill-seconds", type=float, default=60, help="how long to kill, after that"
    )
    parser.add_argument("--kills", type=int, default=10**9, help="most kills of a command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="these kinds")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that went wrong")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import_everything()
    narrow_networks()
    folder = Path(tempfile.mkdtemp())
    try:
        return siege(folder, given)
    finally:
        shutil.rmtree(folder)


def import_everything() -> None:
    """Import all of the package now, so that forks need not."""
    for module in pkgutil.walk_packages(diffrect.__path__, "diffrect."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def siege(folder: Path, given: argparse.Namespace) -> int:
    """Run the attacks in a folder and print the table; return the exit code."""
    fixtures = make_fixtures(folder / "fixtures")
    whole = contents(folder / "fixtures")
    sandbox = Sandbox(folder / "sandbox")
    kinds = {n: k for n, k in KINDS.items() if not given.only or n in given.only}
    ends: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    numbers = dict.fromkeys(kinds, given.first)
    deadline, turns = time.monotonic() + given.seconds, 0
    while time.monotonic() < deadline and turns < given.most:
        for name in rounds(kinds):
            if time.monotonic() > deadline or turns >= given.most:
                break
            ends[name][attack(name, numbers[name], kinds[name][0], fixtures, sandbox, given)] += 1
            numbers[name] += 1
            turns += 1
    killed = kills(folder / "kills", fixtures, given) if not given.only else []
    print_table(ends)
    print_kills(killed)
    if contents(folder / "fixtures") != whole:
        print("the files that all attacks begin with have changed")
        return 1
    wrong = any(counts["WRONG"] for counts in ends.values())
    return int(wrong or any(victim.problems for victim in killed))


def kills(folder: Path, fixtures: Fixtures, given: argparse.Namespace) -> list[Victim]:
    """Kill every command that writes for its share of the time, and return the counts."""
    folder.mkdir()
    killed = victims(fixtures)
    if not given.kills:
        return []
    for victim in killed:
        kill(victim, folder, given.kill_seconds / len(killed), given.kills, given.seed)
        for problem in victim.problems:
            print(problem, flush=True)
    return killed


def print_kills(killed: list[Victim]) -> None:
    """Print how often each command was killed, and how many of its runs ended as if never."""
    if killed:
        print("\n| killed | calls | kills | runs | as if never killed |")
        print("| --- | ---: | ---: | ---: | ---: |")
    for victim in killed:
        survived = victim.runs - len(victim.problems)
        counts = (victim.calls, sum(victim.kills.values()), victim.runs, survived)
        print(f"| `{victim.name}` | {' | '.join(map(str, counts))} |")


def print_table(ends: dict[str, Counter[str]]) -> None:
    """Print how many of each kind ended how."""
    print(f"| what | tried | {' | '.join(ENDS)} |\n| --- |{' ---: |' * (len(ENDS) + 1)}")
    total: Counter[str] = Counter()
    for name, counts in ends.items():
        print(f"| {name} | {counts.total()} | {' | '.join(str(counts[e]) for e in ENDS)} |")
        total += counts
    print(f"| together | {total.total()} | {' | '.join(str(total[e]) for e in ENDS)} |")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(2)
