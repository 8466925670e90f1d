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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
        self.seed_given, self.number = seed, number


@dataclass
class Round:
    """What attacks share.

    Attributes:
        fixtures: what inputs are made from.
        sandbox: where commands run.
        seed: of all inputs.
        keep: folder for the inputs that went wrong; None keeps none.
    """

    fixtures: Fixtures
    sandbox: Sandbox
    seed: int = 0
    keep: Path | None = None

    def attack(self, name: str, numbers: Iterable[int]) -> Counter[str]:
        """Make some inputs of a kind, run their commands, and return how they ended."""
        make, _ = KINDS[name]
        made = []
        for number in numbers:
            place = self.sandbox.folder / f"{number}"
            place.mkdir()
            attempt = make(self.fixtures, place, Draw(self.seed, name, number))
            kept = None
            if self.keep:
                kept = self.keep / f"{name.replace(' ', '-')}-{number}"
                shutil.copytree(place, kept, symlinks=True, ignore=_no_files)
            made.append((f"{name} {number}", attempt, place, contents(place), kept))
        ends: Counter[str] = Counter()
        outcomes = self._outcomes([(attempt, place) for _, attempt, place, _, _ in made])
        for (title, attempt, place, before, kept), outcome in zip(made, outcomes, strict=True):
            if not outcome.faults:
                outcome.faults = changes(attempt, outcome, before, contents(place))
            if not outcome.faults and isinstance(attempt, Stop):
                outcome.faults = self._repeat(attempt, place)
            elif not outcome.faults and outcome.code == 0:
                outcome.faults = _checked(attempt, place)
            shutil.rmtree(place)
            report(title, attempt, outcome, kept)
            ends[outcome.kind] += 1
        return ends

    def _outcomes(self, jobs: list[tuple[Attempt, Path]]) -> Iterator[Outcome]:
        """Run commands in one process, those to be stopped each in its own."""
        if any(isinstance(attempt, Stop) for attempt, _ in jobs):
            for attempt, place in jobs:
                after = getattr(attempt, "after", 0.0)
                yield self.sandbox.run(place, attempt.work, after, stop=True)
        else:
            yield from self.sandbox.run_each([(place, attempt.work) for attempt, place in jobs])

    def _repeat(self, attempt: Stop, place: Path) -> list[str]:
        """Repeat a stopped command, and return what is wrong with how it ends."""
        again = self.sandbox.run(
            place, attempt.again if (place / "out" / attempt.begun).exists() else attempt.work
        )
        if again.code != 0:
            return again.faults or [f"cannot be repeated: {again.err}"]
        return again.faults or _checked(attempt, place)


def report(title: str, attempt: Attempt, outcome: Outcome, kept: Path | None) -> None:
    """Print what went wrong, and keep the input only then."""
    if outcome.faults:
        print(f"{title} ({attempt.what}): {'; '.join(outcome.faults)}", flush=True)
    if kept is not None and outcome.faults:
        faults = "\n".join(outcome.faults)
        text = f"{title}: {attempt.what}\n{faults}\nexit code {outcome.code}\n{outcome.err}"
        (kept / "attack.txt").write_text(text, errors="backslashreplace")
    elif kept is not None:
        shutil.rmtree(kept)


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
    round_ = Round(fixtures, Sandbox(folder / "sandbox"), given.seed, given.keep)
    kinds = [name for name in KINDS if not given.only or name in given.only]
    ends: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    numbers = dict.fromkeys(kinds, given.first)
    deadline, total = time.monotonic() + given.seconds, 0
    while time.monotonic() < deadline and total < given.most:
        for name in kinds:
            turns = KINDS[name][1]
            if time.monotonic() < deadline and total < given.most:
                ends[name] += round_.attack(name, range(numbers[name], numbers[name] + turns))
                numbers[name] += turns
                total += turns
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
        if not counts:
            continue
        print(f"| {name} | {counts.total()} | {' | '.join(str(counts[e]) for e in ENDS)} |")
        total += counts
    print(f"| together | {total.total()} | {' | '.join(str(total[e]) for e in ENDS)} |")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(2)
