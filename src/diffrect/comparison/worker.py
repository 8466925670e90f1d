"""A cell in a process of its own: memory is measured per cell, and a crash ends one cell alone.

    python -m diffrect.comparison.worker JOB

JOB is what `cell.to_dict` makes, as JSON; the outcome is the last line of stdout, as JSON. A worker
whose parent has died saves its training and stops.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict
from pathlib import Path

from diffrect.comparison.cell import Outcome, Task, do_cell, from_dict, to_dict
from diffrect.comparison.matrix import Cell
from diffrect.distributed.ranks import is_launched
from diffrect.distributed.signals import stop_with_parent
from diffrect.training.train import train


def do_cell_apart(task: Task, cell: Cell) -> Outcome:
    """`do_cell` in a new process.

    Raises:
        KeyboardInterrupt: after the worker has saved its training.
    """
    job = json.dumps(to_dict(task, cell))
    command = [sys.executable, "-P", "-m", "diffrect.comparison.worker", job]
    # so that it finds the same package and the same methods of the user
    places = os.pathsep.join(path or os.curdir for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": places}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        try:
            printed, _ = worker.communicate()
        except KeyboardInterrupt:
            # Ctrl-C reaches the worker too, a signal to this process alone does not.
            worker.send_signal(signal.SIGTERM)
            worker.wait()
            raise
    outcome = read_outcome(printed, worker.returncode)
    if outcome.kind == "stopped":
        raise KeyboardInterrupt(outcome.reason)
    return outcome


def read_outcome(printed: str, code: int) -> Outcome:
    """What a worker printed last; of one that died without a word, how it died."""
    for line in reversed(printed.splitlines()):
        try:
            return Outcome(**json.loads(line))
        except (ValueError, TypeError):
            continue
    if code < 0:
        name = signal.Signals(-code).name
        memory = ", perhaps out of memory" if name == "SIGKILL" else ""
        return Outcome("failed", f"its process was ended by {name}{memory}")
    return Outcome("failed", f"its process ended with code {code}")


def main(job: str) -> None:
    """Does the cell; the first process of several reports the outcome."""
    task, cell = from_dict(json.loads(job))
    if is_launched():
        train_along(task, cell)
        return
    stop_with_parent()
    try:
        outcome = do_cell(task, cell)
    except KeyboardInterrupt as interrupt:
        outcome = Outcome("stopped", str(interrupt))
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(str(error).split())
        outcome = Outcome("failed", f"{type(error).__name__}: {reason}")
    try:
        print(json.dumps(asdict(outcome)), flush=True)
    except BrokenPipeError:  # the parent was killed; nothing is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def train_along(task: Task, cell: Cell) -> None:
    """The part of a further process of one training, which Lightning Fabric has started."""
    train(task.store, Path(task.folder) / cell.folder, cell.config, resume=True, progress=False)


if __name__ == "__main__":
    main(sys.argv[1])
