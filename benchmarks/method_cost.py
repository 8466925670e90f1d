"""Time of a training iteration of every method in units of a supervised one.

    python benchmarks/method_cost.py [--size 64] [--rounds 30] [--threads 1] [--precision 32-true]

Iterations of all methods take turns, late in their schedules: BCP is past its pre-training,
DiffRect rectifies. Reading slices and making views is part of one. Medians of the processor time of
all threads. The data are synthetic hearts.
"""

import argparse
import time
from statistics import median

import torch

from diffrect.config import TrainConfig
from diffrect.methods import METHODS
from phantom_store import phantom_store
from step_time import make_trainer, period, turn


def main() -> None:
    """Builds the data, takes turns and prints a line a method."""
    parser = argparse.ArgumentParser(description="time of an iteration of every method")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with phantom_store() as store:
        runs, periods = {}, {}
        for method in METHODS:
            config = TrainConfig(
                method=method,
                size=arguments.size,
                iterations=2500,  # see step_time.STEP
                precision=arguments.precision,
            )
            trainer = make_trainer(store, store.path.parent, config)
            runs[method], periods[method] = turn(trainer), period(trainer)
            runs[method]()  # warms up
        seconds: dict[str, list[float]] = {method: [] for method in runs}
        for _ in range(arguments.rounds):
            for method, run in runs.items():
                started = time.process_time()
                run()
                seconds[method].append((time.process_time() - started) / periods[method])
    print(
        f"{arguments.size} x {arguments.size}, batch 3 + 3, {arguments.threads} threads, "
        f"{arguments.precision}, torch {torch.__version__}"
    )
    base = median(seconds["supervised"])
    for method, taken in sorted(seconds.items(), key=lambda entry: median(entry[1])):
        print(f"{method:14} {1000 * median(taken):8.1f} ms {median(taken) / base:6.2f}")


if __name__ == "__main__":
    main()
