"""Threads that sleep while they wait, against threads that spin, on an idle and on a busy machine.

    python benchmarks/waiting_policy.py [--size 64] [--iterations 5] [--busy 0,4] [--threads 2]

Prints the seconds of a training iteration of the plain segmenter with each policy, and their ratio
to those of `sleep`, which `diffrect` chooses, for each number of programs that compute meanwhile.
Each policy has a process of its own, because OpenMP reads it when torch is imported; a policy that
takes longer than `--patience` seconds is stopped, and its ratio is a lower bound.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from diffrect.distributed.waiting import POLICY

POLICIES: dict[str, dict[str, str]] = {
    "sleep": {POLICY: "PASSIVE"},
    "spin shortly": {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"},
    "as OpenMP likes": {},
    "spin": {POLICY: "ACTIVE"},
}
WORK = """
import sys, time, torch
from diffrect.networks.unet import UNet
size, iterations, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
network, images = UNet(1, 4), torch.rand(6, 1, size, size)
for step in range(iterations + 1):
    if step == 1:
        started = time.perf_counter()
    network(images).square().mean().backward()
print((time.perf_counter() - started) / iterations)
"""
BUSY = "while True: sum(range(100_000))"


def seconds(policy: str, size: int, iterations: int, threads: int, patience: float) -> float | None:
    """Return the seconds of an iteration; None if they were not over in time.

    Args:
        policy: one of `POLICIES`.
        size: height and width of the slices.
        iterations: how many are timed, after one that is not.
        threads: that compute.
        patience: seconds for all of them.
    """
    named = {name for settings in POLICIES.values() for name in settings}
    environment = {k: v for k, v in os.environ.items() if k not in {*named, "OMP_NUM_THREADS"}}
    command = [sys.executable, "-c", WORK, *map(str, (size, iterations, threads))]
    try:
        done = subprocess.run(
            command,
            env=environment | POLICIES[policy],
            capture_output=True,
            text=True,
            check=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        return None
    return float(done.stdout)


@contextmanager
def others(number: int) -> Iterator[None]:
    """Keep cores busy with a number of programs while the context lasts."""
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def rows(found: Sequence[tuple[str, float | None]], iterations: int, patience: float) -> list[str]:
    """Return a line per policy: the seconds of an iteration, and their ratio to the first.

    Args:
        found: policy and seconds; None if they were not over in time.
        iterations: how many were timed.
        patience: seconds that they had.
    """
    first = found[0][1] or patience / iterations
    lines = []
    for policy, each in found:
        least = each or patience / (iterations + 1)
        sign = ">" if each is None else " "
        lines.append(f"{policy:16} {sign}{least:8.3f} s  {sign}{least / first:6.2f}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--busy", default="0,4", help="numbers of other programs")
    parser.add_argument("--patience", type=float, default=120.0)
    chosen = parser.parse_args()
    for number in map(int, chosen.busy.split(",")):
        load = f", {os.getloadavg()[0]:.1f} at work before" if hasattr(os, "getloadavg") else ""
        print(f"{number} other programs{load}; {chosen.threads} threads, {chosen.size} pixels")
        with others(number):
            found = [
                (p, seconds(p, chosen.size, chosen.iterations, chosen.threads, chosen.patience))
                for p in POLICIES
            ]
        print(*rows(found, chosen.iterations, chosen.patience), sep="\n", flush=True)


if __name__ == "__main__":
    main()
