"""Train the cells of protocol P in sessions of some minutes, each of which ends with scores.

OUT is a folder of `diffrect compare`: a RUN folder per cell, and OUT/sessions.json, which says of
each session and cell the date, device, version, and the iterations that it did.
"""

import math
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diffrect.comparison.cell import CellJob, cell_state, do_cell, steps_done
from diffrect.comparison.cells import make_cells
from diffrect.comparison.cost import machine
from diffrect.comparison.estimate import CellEstimate
from diffrect.comparison.matrix import Cell
from diffrect.config import Precision, TrainConfig
from diffrect.console import count
from diffrect.distributed.signals import interrupt_on_sigterm, stop_self
from diffrect.errors import InputError
from diffrect.evaluation.evaluate import evaluate
from diffrect.json_files import read_json, write_json
from diffrect.runs.checkpoint import checkpoint_path, load_checkpoint
from diffrect.runs.names import BEST, LAST, metrics_file
from diffrect.runs.provenance import code_version
from diffrect.runs.resume import has_state

SESSIONS_FILE = "sessions.json"
SPLIT = "val"  # protocol P chooses and reports by validation
ITERATIONS, VALIDATIONS, RECTIFIES_FROM = 30_000, 150, 1_000


def paper_cells(
    methods: Sequence[str],
    labelled: Sequence[str],
    seeds: Sequence[int],
    *,
    size: int = 256,
    iterations: int = ITERATIONS,
    validate_every: int | None = None,
    precision: Precision = "32-true",
    device: str = "auto",
) -> list[Cell]:
    """Return the cells of protocol P: by seed, then by labelled patients, then by method.

    Args:
        methods: `default` and `reference`, the presets of DiffRect, or names of methods.
        labelled: numbers of labelled patients.
        seeds: seeds of the trainings.
        size: pixels; 256 in the protocol.
        iterations: length; 30,000 in the protocol, and what it counts in iterations scales.
        validate_every: iterations between validations; None for 200 of 30,000.
        precision: as of `TrainConfig`.
        device: as of `TrainConfig`.

    Raises:
        InputError: one of them is wrong.
    """
    start = {"rectify_from": max(1, round(iterations * RECTIFIES_FROM / ITERATIONS))}
    presets = {
        "default": {"preset": "default"},
        "reference": {"preset": "reference", "options": start},
    }
    config = TrainConfig(
        size=size,
        iterations=iterations,
        validate_every=validate_every or max(1, iterations // VALIDATIONS),
        precision=precision,
        device=device,
        logger="none",
        log_images=0,
    )
    cells = make_cells(
        methods=methods, labelled=labelled, seeds=seeds, config=config, variants=presets
    )
    order: dict[str | None, int] = {number: place for place, number in enumerate(labelled)}
    places = {seed: place for place, seed in enumerate(seeds)}
    last = len(order)  # of a method that has a number of its own, as default@14
    return sorted(cells, key=lambda c: (places[c.config.seed], order.get(c.config.labelled, last)))


class Clock:
    """The time of a session; `over` becomes true when the clock has asked for the stop.

    Args:
        minutes: from now on.
        reserve: seconds at the end for saving and scoring.
    """

    def __init__(self, minutes: float, reserve: float) -> None:
        self.ends = time.monotonic() + 60 * minutes - reserve
        self.over = False

    @property
    def left(self) -> float:
        """Seconds for training."""
        return self.ends - time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask this process to stop when the time is over, as SIGTERM would.

        Raises:
            KeyboardInterrupt: at the end of an iteration, once the training has saved its state.
        """
        timer = threading.Timer(max(0.0, self.left), self._stop)
        timer.daemon = True
        with interrupt_on_sigterm():
            timer.start()
            try:
                yield
            finally:
                timer.cancel()
                timer.join()  # a signal on its way is heard in here

    def _stop(self) -> None:
        self.over = True
        stop_self()


def train_session(cells: Sequence[Cell], job: CellJob, clock: Clock) -> Iterator[str]:
    """Train and score the cells that are not finished until the time is over; yield what happened.

    Raises:
        InputError: a cell has scores but nothing to resume from; or some cells failed, after the
            others.
        KeyboardInterrupt: somebody else than the clock asked for a stop; what can be scored is.
    """
    for cell in cells:
        if cell_state(Path(job.folder) / cell.folder, job) == "finished":
            yield f"{cell.folder}: is finished"
    failed = 0
    for cell in cells:
        run = Path(job.folder) / cell.folder
        if cell_state(run, job) == "finished":
            continue
        _refuse_without_state(run)
        if clock.left <= 0:
            yield f"{cell.folder}: the time is over"
            break
        failed += yield from _train_cell(cell, job, clock)
        if clock.over:
            break
    if failed:
        raise InputError(job.folder, problem=f"{count(failed, 'cell')} failed, see above")


def _train_cell(cell: Cell, job: CellJob, clock: Clock) -> Generator[str, None, bool]:
    """Train a cell until it is finished or the time is over, and score it; return if it failed."""
    run, started = Path(job.folder) / cell.folder, time.monotonic()
    entry = _facts_of_session(cell, step_of(run))
    number = _note(Path(job.folder), entry)
    interrupt: KeyboardInterrupt | None = None
    reason = ""
    try:
        with clock.running():
            reason = do_cell(job, cell).reason
    except KeyboardInterrupt as error:
        interrupt = error
    done = step_of(run)
    entry |= {"to": done, "seconds": round(time.monotonic() - started, 1)}
    _note(Path(job.folder), entry, number)
    finished = cell_state(run, job) == "finished"
    if interrupt is not None and not finished and checkpoint_path(run, BEST).is_file():
        score(run, job, cell.config.device)
    yield f"{cell.folder}: {_outcome(run, done, cell.config.iterations, reason)}"
    if interrupt is not None and not clock.over:
        raise interrupt
    return bool(reason)


def step_of(run: Path) -> int:
    """Return the iterations that a training has done, by what it would resume from."""
    path = checkpoint_path(run, LAST)
    if path.is_file():
        with suppress(InputError):  # damaged: there is one before it
            return int(load_checkpoint(path)["step"])
    return steps_done(run)


def score(run: Path, job: CellJob, device: str) -> None:
    """Write the scores per case of the best checkpoint so far."""
    evaluate(
        run,
        split=job.split,
        checkpoint=job.checkpoint,
        device=device,
        store=job.store,
        progress=False,
    )


def _outcome(run: Path, done: int, iterations: int, reason: str) -> str:
    if reason:
        return reason
    file = run / metrics_file(SPLIT)
    if not file.is_file():
        return f"iteration {done} of {iterations}, no validation yet"
    scores = read_json(file, finite=False)
    dice = 100 * scores["mean"]["dice"]
    return f"iteration {done} of {iterations}, best so far {dice:.2f} at {scores['step']}"


def _refuse_without_state(run: Path) -> None:
    """Refuse a cell of which only the scores were brought here: training would replace them."""
    if (run / metrics_file(SPLIT)).is_file() and not has_state(run):
        raise InputError(
            run,
            "a state to resume from beside its scores",
            found="none",
            hint="collect with --states and restore that, or train in another folder",
        )


def _facts_of_session(cell: Cell, step: int) -> dict[str, Any]:
    return {
        "cell": cell.folder,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": machine(),
        **asdict(code_version()),
        "from": step,
        "to": None,
        "seconds": None,
    }


def _note(folder: Path, entry: dict[str, Any], number: int | None = None) -> int:
    """Write an entry of sessions.json, a new one or that of a number; return its number."""
    file = folder / SESSIONS_FILE
    known: list[Any] = read_json(file)["sessions"] if file.is_file() else []
    known[len(known) if number is None else number :] = [entry]
    write_json(file, {"sessions": known})
    return len(known) - 1


def plan_lines(estimates: Sequence[CellEstimate], minutes: float, reserve: float) -> Iterator[str]:
    """Yield how long an iteration of each method takes, and how many sessions all of it.

    Args:
        estimates: of all cells.
        minutes: length of a session.
        reserve: seconds of each that are kept for saving and scoring.
    """
    known: dict[str, float] = {}
    for one in estimates:
        if one.minutes and one.state == "new":
            known.setdefault(one.cell.name, 60 * one.minutes / one.cell.config.iterations)
    for name, seconds in known.items():
        yield f"{name}: {seconds:.4f} s an iteration, validation included"
    total, each = sum(one.minutes for one in estimates), minutes - reserve / 60
    sessions = math.ceil(total / each) if each > 0 else 0
    yield f"{total:.0f} minutes of training, {count(sessions, 'session')} of {minutes:g} minutes"
