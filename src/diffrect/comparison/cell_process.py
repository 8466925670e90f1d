"""A cell in a process of its own: memory is measured per cell, and a crash ends only one cell.

    python -m diffrect.comparison.cell_process JOB

JOB is the JSON of what `cell.to_dict` makes. The process prints the outcome as JSON in the last
line of stdout. If its parent dies, it saves its training and stops.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from diffrect.comparison.cell import (
    CellJob,
    Outcome,
    do_cell,
    from_dict,
    load_same_plugins,
    to_dict,
)
from diffrect.comparison.matrix import Cell
from diffrect.console import say, show_traceback, speak_plainly
from diffrect.distributed.ranks import is_launched
from diffrect.distributed.signals import stop_with_parent
from diffrect.errors import InputError
from diffrect.processes import as_parent
from diffrect.training.train import train


def do_cell_apart(job: CellJob, cell: Cell) -> Outcome:
    """Do a cell as `do_cell` does, in a new process.

    Raises:
        KeyboardInterrupt: a stop was asked for; the process has saved its training.
    """
    command = [sys.executable, "-P", "-m", "diffrect.comparison.cell_process"]
    command.append(json.dumps(to_dict(job, cell)))
    # The process must find the same package and the user's own methods.
    places = os.pathsep.join(path or os.curdir for path in sys.path)
    with as_parent():
        environment = {**os.environ, "PYTHONPATH": places}
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with started as process:
        try:
            printed, _ = process.communicate()
        except KeyboardInterrupt:
            # Ctrl-C reaches the new process too, but a signal sent only to this one does not.
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    outcome = read_outcome(printed, process.returncode)
    if outcome.kind == "stopped":
        raise KeyboardInterrupt(outcome.reason)
    return outcome


def read_outcome(printed: str, code: int) -> Outcome:
    """Return the outcome that a process printed last; if it printed none, how the process ended.

    Args:
        printed: everything that the process wrote to stdout.
        code: its exit code, negative if a signal ended it.
    """
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


def main(text: str) -> None:
    """Do the cell that a JOB describes, and print the outcome.

    A training on several devices starts this command once more for each further device; those
    processes take part in the training and print nothing.
    """
    speak_plainly()
    values = json.loads(text)
    job, cell = from_dict(values)
    if is_launched():
        load_same_plugins(values)
        train(job.store, Path(job.folder) / cell.folder, cell.config, resume=True, progress=False)
        return
    stop_with_parent()
    try:
        load_same_plugins(values)
        outcome = do_cell(job, cell)
    except InputError as error:
        outcome = Outcome("failed", str(error))
    except KeyboardInterrupt as interrupt:
        outcome = Outcome("stopped", str(interrupt))
    except Exception as error:
        show_traceback(error)
        reason = " ".join(str(error).split())
        outcome = Outcome("failed", f"{type(error).__name__}: {reason}")
    try:
        say(json.dumps(asdict(outcome)))
    except BrokenPipeError:  # the parent was killed, so nobody reads the outcome
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main(sys.argv[1])
