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
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from diffrect.comparison.cell import Outcome, Task, do_cell, from_dict, to_dict
from diffrect.comparison.matrix import Cell
from diffrect.training.train import train

WATCH_SECONDS = 0.5


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
    if int(os.environ.get("LOCAL_RANK", "0")):
        train_along(task, cell)
        return
    threading.Thread(target=stop_with_parent, args=(os.getppid(),), daemon=True).start()
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


def stop_with_parent(parent: int) -> None:
    """Asks this process to stop once its parent has gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
