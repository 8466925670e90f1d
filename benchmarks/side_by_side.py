"""Turns, medians, the device, the clock and a line about the machine; shared by the timings."""

import argparse
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """Return what the timings run on, in one line."""
    name = _processor() if DEVICE.type == "cpu" else torch.cuda.get_device_name()
    clock = "processor time, " if _clock is time.process_time else ""
    return f"{name}, {torch.get_num_threads()} threads, {clock}torch {torch.__version__}"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


_clock: Callable[[], float] = time.perf_counter


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the arguments, with a choice of the clock added."""
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="instead of wall-clock time; steadier on one thread of a machine that others use",
    )
    arguments = parser.parse_args()
    if arguments.processor_time and DEVICE.type != "cpu":
        parser.error("--processor-time: expected a CPU, a GPU's work is not in it")
    global _clock
    _clock = time.process_time if arguments.processor_time else time.perf_counter
    return arguments


def now() -> float:
    """Return what the clock says once the device has done its work."""
    synchronise()
    return _clock()


def seconds(run: Callable[[], object]) -> float:
    """Return the time of one call, until the device has done its work."""
    started = now()
    run()
    return now() - started


def take_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each, A B A B, without a first round."""
    taken: dict[str, list[float]] = {what: [] for what in runs}
    for turn in range(rounds + 1):
        for what, run in runs.items():
            one = seconds(run)
            if turn:
                taken[what].append(one)
    return {what: median(times) for what, times in taken.items()}


def typical(run: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of a call, without a first one."""
    return take_turns({"": run}, rounds)[""]


def synchronise() -> None:
    """Wait for the device; a CPU has done its work already."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
