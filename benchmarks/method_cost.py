"""An iteration of every method costs at most a few times a supervised one.

    python benchmarks/method_cost.py [--size 64] [--rounds 30] [--threads 1] [--precision 32-true]
                                     [--processor-time]

Prints per method the milliseconds of an iteration, and how many supervised ones that is.

Iterations of all methods take turns, late in their schedules: BCP is past its pre-training, and
DiffRect rectifies. An iteration includes reading slices and making views. If the kinds of updates
come again every k iterations, a turn is k of them and their mean counts. The times are medians of
the wall clock or, on a CPU with `--processor-time`, of the processor time of all threads. The data
are synthetic hearts.
"""

import argparse

import torch

from diffrect.config import TrainConfig
from diffrect.methods.registry import METHODS
from phantom_store import phantom_store
from side_by_side import machine, parse, take_turns
from step_time import make_trainer, period, turn


def main() -> None:
    """Build the data, take turns and print a line per method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="32-true")
    arguments = parse(parser)
    torch.set_num_threads(arguments.threads)
    with phantom_store() as store:
        runs, periods = {}, {}
        for method in METHODS:
            config = TrainConfig(
                labelled="1",
                method=method,
                size=arguments.size,
                precision=arguments.precision,
            )
            trainer = make_trainer(store, store.path.parent, config)
            runs[method], periods[method] = turn(trainer), period(trainer)
        turns = take_turns(runs, arguments.rounds)
    times = {method: taken / periods[method] for method, taken in turns.items()}
    size = arguments.size
    print(f"{machine()}; {size} x {size}, batch 3 + 3, {arguments.precision}")
    for method, taken in sorted(times.items(), key=lambda entry: entry[1]):
        print(f"{method:14} {1000 * taken:8.1f} ms {taken / times['supervised']:6.2f}")


if __name__ == "__main__":
    main()
